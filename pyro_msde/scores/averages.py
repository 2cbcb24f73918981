"""Means over trajectories and their standard errors, of what is not NaN.

Points and times of a trajectory err together; trajectories are independent.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pyro_msde.scores.predictive import Array

__all__ = ["mean_and_error", "mean_of", "root_ratio", "skill_of"]

Pair = tuple[Array, Array]


def mean_of(x: Array, axes: int | tuple[int, ...] | None = None) -> Array:
    """Over what is not NaN; NaN where all is."""
    seen = ~np.isnan(x)
    if seen.all():
        return np.asarray(x.mean(axes))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(seen, x, 0.0).sum(axes) / seen.sum(axes))


def mean_and_error(x: Array) -> Pair:
    """Mean over the first axis and its standard error, NaN for one."""
    return _of_what_there_is(_mean_and_error, x)


def root_ratio(over: Array, under: Array) -> Pair:
    """Root of the ratio of means over the first axis, and the jackknife's standard error."""
    return _of_what_there_is(_root_ratio, over, under)


def skill_of(error: Array, of_reference: Array) -> Pair:
    """One less the ratio of means over the first axis, and the jackknife's standard error."""
    return _of_what_there_is(_skill, error, of_reference)


def _mean_and_error(x: Array) -> Pair:
    error = x.std(0, ddof=1) / np.sqrt(len(x)) if len(x) > 1 else np.full(x.shape[1:], np.nan)
    return x.mean(0), error


def _root_ratio(over: Array, under: Array) -> Pair:
    return _jackknifed(lambda a, b: np.sqrt(a / b), over, under)


def _skill(error: Array, of_reference: Array) -> Pair:
    return _jackknifed(lambda a, b: 1 - a / b, error, of_reference)


def _jackknifed(function: Callable[[Array, Array], Array], over: Array, under: Array) -> Pair:
    """A function of two means over the first axis, and its standard error."""
    n = len(over)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = function(over.mean(0), under.mean(0))
        if n == 1:
            return whole, np.full_like(whole, np.nan)
        left = function(*((x.sum(0) - x) / (n - 1) for x in (over, under)))
        return whole, np.sqrt((n - 1) * np.var(left, axis=0))


def _of_what_there_is(function: Callable[..., Pair], *arrays: Array) -> Pair:
    """A function of arrays along their first axis, of each column's entries that are not NaN."""
    if not any(np.isnan(x).any() for x in arrays):
        return function(*arrays)
    columns = np.stack([x.reshape(len(x), -1) for x in arrays])
    found = np.full((2, columns.shape[2]), np.nan)
    for j, column in enumerate(np.moveaxis(columns, 2, 0)):
        there = ~np.isnan(column).any(0)
        if there.any():
            found[:, j] = function(*column[:, there])
    mean, error = found.reshape(2, *arrays[0].shape[1:])
    return mean, error
