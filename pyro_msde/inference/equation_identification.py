"""The equation of training data, by the weak form on the fine grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_msde.data import Segments
from pyro_msde.equations import (
    Evidence,
    Names,
    NormalEquations,
    Selected,
    TestFunctions,
    identities,
    inclusion,
    least_squares,
    leave_one_out,
    selected,
    weak_form,
    written,
)
from pyro_msde.grid import Grid
from pyro_msde.networks import EquationPath

__all__ = [
    "Identified",
    "evidence_of",
    "identified",
    "natural_time",
    "supports",
    "weak_form_groups",
]

_PARTS = (6, 12)  # of an axis, that half a test function takes
_FEWEST_POINTS = 5  # of half a test function
_TIMES = (1.0, 4.0)  # in which a state changes by its own size, likewise
_FEWEST_SNAPSHOTS = 6
_FEWEST_GROUPS = 5
_BLOCKS = 5  # of time, of fewer trajectories
_MOST_TRAJECTORIES, _MOST_VALUES = 40, 2**27  # that an equation is identified from
_RESAMPLES = 50


def supports(grid: Grid, segments: Segments) -> Iterator[TestFunctions]:
    """Test functions to try, of no two alike."""
    shortest = min(len(t) for t in segments.times)
    natural = natural_time(segments)
    seen = set()
    for part in _PARTS:
        widths = tuple(max(_FEWEST_POINTS, n // part) for n in grid.data_shape)
        if any(2 * w >= n for w, n in zip(widths, grid.data_shape, strict=True)):
            continue
        for times in _TIMES:
            half = round(times * natural)
            half = min(max(half, _FEWEST_SNAPSHOTS), (shortest - 1) // 4)
            if half >= 2 and (widths, half) not in seen:
                seen.add((widths, half))
                yield TestFunctions(widths, half)


def natural_time(segments: Segments) -> float:
    """Snapshots in which fields change by half of their size, on average."""
    y = segments.values[0]
    at = torch.linspace(0, len(y) - 1, min(len(y), 33)).long().unique()
    size = float(y[at].double().square().mean())
    lag = 1
    while lag < len(y) // 2:
        first = at[at + lag < len(y)]
        change = float((y[first + lag].double() - y[first].double()).square().mean())
        if change > 0.25 * size:
            break
        lag *= 2
    return float(lag)


@dataclass(frozen=True)
class Identified:
    """An equation in scaled units, and what it was selected from.

    Attributes:
        coefficients: (channel, term).
        directions: (group, channel, term), by how much leaving out each group moves them.
        groups: Equations of each trajectory, or of a fifth of the times of each of a few.
        selected: Of each channel.
        identities: Between terms.
    """

    coefficients: Tensor
    directions: Tensor
    groups: Sequence[NormalEquations]
    selected: Sequence[Selected]
    identities: Sequence[tuple[int, int, int]]

    def inclusion(self) -> Tensor:
        """(channel, term) shares of resamples of the groups whose equation has a term."""
        each = [
            inclusion(self.groups, channel, chosen, draws=_RESAMPLES, identities=self.identities)
            for channel, chosen in enumerate(self.selected)
        ]
        return torch.as_tensor(np.stack(each))


def identified(
    path: EquationPath, grid: Grid, segments: Segments, tests: TestFunctions
) -> Identified | None:
    """What these test functions say; None: there is too little data."""
    groups = weak_form_groups(path, grid, segments, tests)
    counts = [group.count for group in groups if group.count]
    if len(counts) < 2 or sum(counts) < 4 * len(path.terms):
        return None
    coefficients = torch.zeros(grid.channels, len(path.terms), dtype=torch.float64)
    directions = torch.zeros(len(groups), *coefficients.shape, dtype=torch.float64)
    each, same = [], identities(path.terms)
    for channel in range(grid.channels):
        equation = selected(groups, channel, identities=same)
        terms = list(equation.terms)
        coefficients[channel, terms] = torch.as_tensor(equation.coefficients)
        moved = leave_one_out(groups, channel, terms)
        directions[:, channel, terms] = torch.as_tensor(moved)
        each.append(equation)
    if not bool(coefficients.isfinite().all() and directions.isfinite().all()):
        return None
    return Identified(coefficients, directions, groups, each, same)


def weak_form_groups(
    path: EquationPath, grid: Grid, segments: Segments, tests: TestFunctions
) -> list[NormalEquations]:
    """Equations of each trajectory, or of a fifth of the times of each of a few.

    Every fifth group, from any on, is of other trajectories, or of other times, than the rest.
    """
    inner = tuple(
        slice(before, before + n)
        for (before, _), n in zip(grid.padding, grid.data_shape, strict=True)
    )
    spacing = [
        along.length / (n if along.kind == "ring" else n - 1 + 2 * along.wall) / along.length
        for along, n in zip(path.waves, grid.shape, strict=True)
    ]
    count = len(segments.values)
    most = min(count, _MOST_TRAJECTORIES)
    size = max(len(t) for t in segments.times) * grid.channels * grid.num_points
    most = min(most, max(_FEWEST_GROUPS, _MOST_VALUES // size))
    some = np.unique(np.linspace(0, count - 1, most).astype(int))
    parts = 1 if len(some) >= _FEWEST_GROUPS else _BLOCKS
    p, c = len(path.terms), grid.channels
    nothing = NormalEquations(np.zeros((p, p)), np.zeros((p, c)), np.zeros(c))
    groups = [nothing] * (parts * len(some))  # one without test functions keeps its place
    for place, k in enumerate(some.tolist()):
        fields = _Whole(segments.values[k], path, inner)
        covariates: list[Any] = []
        if segments.covariates is not None:
            covariates += segments.covariates[k].tolist()
        if segments.controls is not None:
            mean, size = path.controls.double().cpu().numpy().T
            covariates += list((mean + size * segments.controls[k].double().cpu().numpy()).T)
        blocks = list(
            weak_form(
                fields,
                segments.times[k].cpu().numpy(),
                spacing,
                grid.periodic,
                path.terms,
                tests,
                covariates=covariates,
                statics=path.fine_statics,
                observed=fields.observed,
            )
        )
        for n, block in enumerate(blocks):
            groups[parts * place + n * parts // len(blocks)] += block
    return groups


def evidence_of(
    path: EquationPath,
    grid: Grid,
    segments: Segments,
    channel: int,
    names: Names,
    library: bool,
) -> Evidence:
    """What data say of a channel's coefficients, with the test functions that agree best with it.

    Args:
        path: With an equation.
        grid: Of the data.
        segments: These, in scaled units.
        channel: Number of the field.
        names: Of fields, axes and covariates.
        library: Of all terms of the library, not only of those that the equation has.

    Raises:
        ValueError: Too few data.
    """
    values = path.coefficients[channel].double().cpu().numpy()
    kept = np.flatnonzero(values).tolist()
    best: Sequence[NormalEquations] | None = None
    least = np.inf
    for tests in supports(grid, segments):
        groups = weak_form_groups(path, grid, segments, tests)
        if sum(group.count > 0 for group in groups) < 2:
            continue
        away = least_squares(reduce(add, groups), channel, kept) / values[kept] - 1
        if (size := float(np.abs(away).max())) < least:
            best, least = groups, size
    if best is None:
        raise ValueError("train: too few snapshots for test functions. Pass longer trajectories.")
    columns = list(range(len(path.terms))) if library else kept
    return Evidence.of(
        best,
        channel,
        field=names.fields[channel],
        terms=[written(path.terms[k], names) for k in columns],
        columns=columns,
        kept=kept,
        units=path.factors()[channel, columns].numpy(),
    )


class _Whole:
    """Fields of a trajectory with their reference, in units of their scales; sliced along time."""

    def __init__(self, values: Any, path: EquationPath, inner: tuple[slice, ...]) -> None:
        self.values, self.inner = values, (slice(None), slice(None), *inner)
        observed = getattr(values, "observed", None)
        self.observed = None if observed is None else observed[self.inner].cpu().numpy()
        self.reference = path.fine_reference

    def __getitem__(self, span: slice) -> np.ndarray:
        fields = self.values[span].double().cpu().numpy()[self.inner]
        return np.asarray(fields + self.reference)
