"""A fit's forecasts beside simple ones, by lead time: errors, skill, CRPS, coverage.

Sums are over trajectories and places, of observed values only. With climatology c learned from the
training data (a mean, or a mean cycle), weights w, truth y and forecast mean m,

    rmse = √(Σ w (m − y)² / Σ w),    nrmse = √(Σ w (m − y)² / Σ w (y − c)²),    skill = 1 − nrmse²,
    anomaly_correlation = Σ w (m − c)(y − c) / √(Σ w (m − c)² Σ w (y − c)²)

(Wilks 2019, ch. 9). Climatology's skill is 0; it has no anomaly correlation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from pyro_msde.baselines import Baseline, Climatology, FittedBaseline, simple_baselines
from pyro_msde.checks import check_kind, check_seed, check_whole
from pyro_msde.data import (
    Metadata,
    TimeUnits,
    Trajectories,
    check_trajectories,
    duration_units,
    matched,
    period_in,
    since_first_observed,
    to_numpy,
)
from pyro_msde.forecasts import Forecast
from pyro_msde.protocols import FittedModel
from pyro_msde.scores.areas import area_weights
from pyro_msde.scores.lead_places import batches, lead_places
from pyro_msde.scores.predictive import spread_over, to_array
from pyro_msde.scores.proper_scores import fair_crps, opposites_of
from pyro_msde.scores.tally import Tally

__all__ = ["compare"]

Array = NDArray[Any]

LEVEL = 0.9  # of the interval whose coverage is counted
_FIT = "fit"


def compare(
    fit: FittedModel,
    test: Trajectories,
    train: Trajectories,
    validation: Trajectories | None = None,
    *,
    baselines: Sequence[Baseline] | None = None,
    leads: Any = None,
    period: Any = None,
    weights: Any = None,
    num_samples: int = 64,
    seed: int = 0,
) -> xr.Dataset:
    """Score a fit's forecasts of test trajectories beside those of simple baselines.

    All forecast each test trajectory from its first snapshot, or from the first of which something
    was observed, as validation does; lead times count from there. The baselines learn from the
    training trajectories, which a fit does not keep; on validation trajectories they choose what
    they have to choose, and measure how far they err. Of several channels each is scored by itself.

    Args:
        fit: The fit, or an `Ensemble`.
        test: Trajectories that neither the fit nor the baselines have seen; windows of a long
            record may overlap and be of any lengths. What is NaN, or off the model's mask, is not
            scored.
        train: Those that the fit has learned from.
        validation: Others; None: the baselines choose on the last quarter of the training data.
        baselines: Of `pyro_msde.baselines`; None: persistence, climatology, damped persistence and
            the linear inverse model.
        leads: (lead,) times since the first snapshot, in the data's unit, or durations; each
            trajectory's snapshot nearest to it counts, if it is at most half a typical step off.
            None: all if there are at most 50, else 50 of them; where those of trajectories differ,
            the ones that most have.
        period: Of the mean cycle, as of `pyro_msde.Cycle`, such as "1 year"; None: that of the
            fit's reference, if it is a cycle, and else climatology is a mean.
        weights: Of places in means: areas, broadcast to fields; "coslat" or an xarray DataArray, as
            for `pyro_msde.nrmse`; None: all equal.
        num_samples: Paths of each forecast of the fit.
        seed: Of these.

    Returns:
        Dimensions `forecaster` ("fit" and the baselines' names), `lead`, and `channel` if the data
        have several: rmse (in the data's units), nrmse and skill (against climatology),
        anomaly_correlation, crps, coverage (of the central 90 % interval), and without forecaster
        `observed`, how many values were scored. `channel` has names where the data give any; a
        coordinate `units` is along it where these differ.

    Raises:
        ValueError: Trajectories of other grids or units than the fit's; test trajectories without a
            second snapshot or without one at the leads; weights, a period, leads or baselines that
            are none.
    """
    check_kind("fit", fit, ("forecast", "predict"), "what pyro_msde.fit gave")
    num_samples = check_whole("num_samples", num_samples, 2)
    seed = check_seed("seed", seed)
    model: Any = getattr(fit, "fits", (fit,))[0]  # of an ensemble
    test = since_first_observed(_checked(model, "test", test), model.model.grid, "test")
    train = _checked(model, "train", train)
    validation = None if validation is None else _checked(model, "validation", validation)
    if isinstance(weights, str | xr.DataArray):
        known = Metadata.of(test)
        weights = area_weights(weights, test.field_shape, model.model.grid.ndim, known)
    cycle = model.scaling.reference.period
    if period is not None:
        cycle = period_in(train.time_units, period, "period")
    places, spaced = lead_places(test, None if leads is None else _leads(test, leads))
    several = bool(model.has_channel) and test.field_shape[0] > 1
    climatology = Climatology(cycle).fit(train, validation, weights=weights)
    areas, balanced = _weights(climatology, weights, test.field_shape if several else None)
    opponents = {
        b.name: b.fit(train, validation, weights=balanced)
        for b in (simple_baselines(cycle) if baselines is None else _opponents(baselines))
    }
    mask = model.model.grid.mask
    areas = areas if mask is None else areas * mask.reshape(areas.shape)
    tally = Tally((_FIT, *opponents), spaced, areas)
    for some, chosen, slots in batches(test, places):
        clock, t0 = some.times[0][chosen], float(some.times[0][0])
        y0 = np.stack([v[0] for v in some.values])
        y = np.stack([v[chosen] for v in some.values]).astype(np.float64)
        usual = climatology.forecast(y0, clock - t0, t0).mean
        tally.add_truth(slots, y, usual)
        for name, opponent in opponents.items():
            fc = opponent.forecast(y0, clock - t0, t0)
            scores = {"mean": fc.mean, "crps": fc.crps(y), "covered": fc.covers(y, LEVEL)}
            tally.add(name, slots, y, usual, **scores)
        own = fit.forecast(some, clock, num_samples=num_samples, seed=seed)
        for where, scores in _scored(own, y, seed):
            tally.add(_FIT, slots[where], y[:, where], usual[:, where], **scores)
    table = tally.dataset(units=_units(test), level=LEVEL)
    return _named(table, test) if several else table


def _scored(fc: Forecast, y: Array, seed: int) -> Iterator[tuple[slice, dict[str, Array]]]:
    """Mean, CRPS and whether the interval covers, (batch, chunk, *field), chunk after chunk."""
    generator = torch.Generator().manual_seed(seed)
    for window in fc.mixtures():
        at = torch.as_tensor(np.nan_to_num(y[:, window.where], nan=0.0))
        draws = window.sample(generator)
        probability = spread_over(window.cdf(at), window.atoms(at), window.where.start)
        yield (
            window.where,
            {
                "mean": to_array(window.mean),
                "crps": to_array(fair_crps(draws, at.to(draws), opposites_of(window))),
                "covered": to_array((probability - 0.5).abs()) <= LEVEL / 2,
            },
        )


def _checked(fit: Any, name: str, data: Any) -> Trajectories:
    """Trajectories of the fit's grid, in its units."""
    check_trajectories(name, fit.model, data)
    grid = fit.model.grid
    expected = (*((grid.channels,) if fit.has_channel else ()), *grid.data_shape)
    if data.field_shape != expected:
        raise ValueError(
            f"{name}: fields {data.field_shape}, but those of the fit are {expected}. Pass data "
            "of its grid."
        )
    return matched(fit.metadata, name, data)


def _opponents(baselines: Any) -> Sequence[Baseline]:
    check_kind("baselines", baselines, Sequence, "a list of pyro_msde.baselines")
    for k, one in enumerate(baselines):
        check_kind(f"baselines[{k}]", one, ("name", "fit"), "one of pyro_msde.baselines, made")
    names = [_FIT, *(one.name for one in baselines)]
    if len(set(names)) < len(names):
        raise ValueError(f"baselines: names {names[1:]}. Pass one of each, none of them 'fit'.")
    return list(baselines)


def _leads(data: Trajectories, given: Any) -> Array:
    """Positive times in the data's unit.

    Raises:
        ValueError: They are none.
    """
    numbers = TimeUnits(duration_units(data.units.get("time"))).numbers(given, "leads")
    if numbers.ndim > 1 or not numbers.size or not ((numbers > 0) & np.isfinite(numbers)).all():
        raise ValueError(f"leads: {given!r}. Pass positive times in the data's unit.")
    return numbers


def _weights(
    climatology: FittedBaseline, weights: Any, fields: tuple[int, ...] | None
) -> tuple[Array, Any]:
    """(channel, place) areas, and weights by which channels of any units weigh alike.

    Args:
        climatology: Whose spread tells the size of anomalies.
        weights: The user's.
        fields: Shape of fields of several channels; None: there is one.
    """
    shape = climatology.field_shape
    full = np.ones(shape) if weights is None else to_numpy(weights, "weights").astype(np.float64)
    areas = np.broadcast_to(full, shape).reshape(1 if fields is None else fields[0], -1)
    if fields is None:
        return areas, weights
    var = climatology.spread.pattern.reshape(areas.shape)
    size = (areas * var).sum(1, keepdims=True) / areas.sum(1, keepdims=True)
    return areas, (areas / np.where(size > 0, size, 1.0)).reshape(shape)


def _units(test: Trajectories) -> dict[str, str]:
    """Of field and time, where the data give them."""
    known = {"field": test.units.get(test.name), "time": duration_units(test.units.get("time"))}
    return {name: str(unit) for name, unit in known.items() if unit}


def _named(table: xr.Dataset, test: Trajectories) -> xr.Dataset:
    """The table with names of channels and their units, where the data give them."""
    own = test.units.get(test.name)
    along = test.coords.get(test.dims[0], ()) if test.dims else ()
    names = list(test.channel_names or along)
    units = [str(test.units.get(name, own) or "") for name in test.channel_names or ()]
    table = table.assign_coords(channel=names) if names else table
    if len(set(units)) > 1:
        return table.assign_coords(units=("channel", units))
    for score in ("rmse", "crps"):
        table[score].attrs |= {"units": units[0]} if any(units) else {}
    return table
