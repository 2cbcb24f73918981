"""What forecasts of validation trajectories are like, by which others are told that are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_msde.data import (
    Batch,
    Inputs,
    Trajectories,
    common_batches,
    evenly_spaced,
    inputs_of,
    since_first_observed,
)
from pyro_msde.forecasts import (
    Region,
    Trust,
    controls_of,
    encodable,
    matched_trajectories,
    share_outside,
    start_misfit,
    variance_over_paths,
)
from pyro_msde.interface.validation_steps import validation_step
from pyro_msde.isolation import Isolation, place_of

if TYPE_CHECKING:
    from pyro_msde.interface.fitted import Fit

__all__ = ["usual_forecasts"]

Array = NDArray[Any]

_MOST = 16  # trajectories that are forecast
_BATCHES = 4  # of lead times in common
_KEPT = 4  # of which the drift is kept
_SNAPSHOTS = 20  # of each
_DRAWS = 8  # of θ, over which the drift is averaged
_LEAST = 1e-6  # variance in scaled units, of states that are always the same


@torch.no_grad()
def usual_forecasts(fit: Fit, validation: Trajectories) -> Trust | None:
    """Misfits, spreads and errors of validation forecasts, and the drift along these trajectories.

    None where nothing of the kind is known: trajectories of single snapshots, or forecasts that are
    not finite.
    """
    validation = since_first_observed(
        matched_trajectories(fit, "validation", validation), fit.model.grid, "validation"
    )
    lasting = [k for k, t in enumerate(validation.times) if len(t) > 1]
    if not lasting:
        return None
    some = validation[[lasting[i] for i in evenly_spaced(len(lasting), _MOST)]]
    batches = sorted(common_batches(some), key=lambda batch: -len(batch.rows))[:_BATCHES]
    parts = [_measured(fit, some, batch) for batch in batches]
    variance, error = (_pooled(fit, torch.cat([p[name] for p in parts])) for name in _MEANS)
    misfit, outside = (float(torch.cat([p[name] for p in parts]).max()) for name in _LARGEST)
    longest = max(parts, key=lambda part: part["times"][0, -1] - part["times"][0, 0])
    finite = all(bool(torch.as_tensor(x).isfinite().all()) for x in (variance, error, misfit))
    if not (finite and bool(longest["rates"].isfinite().all())):
        return None
    like = longest["states"]
    return Trust(
        misfit,
        outside,
        variance.to(like),
        error.to(like),
        like,
        longest["rates"],
        longest["times"],
        longest.get("covariates"),
    )


_MEANS = ("variance", "error")
_LARGEST = ("misfit", "outside")


def _measured(fit: Fit, data: Trajectories, batch: Batch) -> dict[str, Tensor]:
    """Of trajectories with lead times in common, by what `Trust` calls it, a row for each."""
    chosen = evenly_spaced(len(batch.times), _SNAPSHOTS + 1)
    times, count = batch.times[chosen], len(batch.rows)
    fields = np.stack([data.values[k][chosen] for k in batch.rows])
    given = None if data.covariates is None else data.covariates[batch.rows]
    fc = fit.predict(
        fields[:, 0],
        times,
        t0=batch.start,
        num_samples=16,
        covariates=given,
        **controls_of(data, batch),
        max_step=validation_step(fit),
    )
    clock = np.expand_dims(batch.start, -1) + (times - times[0])
    clock = np.broadcast_to(clock, (count, len(times)))
    dtype, device = place_of(fit.model)
    inputs = inputs_of(data[batch.rows], fit.scaling)
    inputs = inputs.to(torch.empty(0, dtype=dtype, device=device))
    along = _encoded(fit, fields, clock, inputs)
    paths = fc.paths[..., 1:, :].to(along.states)
    miss = (paths.mean((0, 1)) - along.states[:, 1:]).square()
    seen = along.seen[:, 1:, None]
    found = {
        "misfit": along.misfit,
        "variance": variance_over_paths(paths),
        "error": miss.where(seen, 0).sum(1) / seen.sum(1).clamp(min=1),
        "outside": torch.zeros(count),
        "states": along.states[:_KEPT],
        "rates": along.rates[:_KEPT],
        "times": along.times[:_KEPT],
    }
    region = fit.adjustment("region")
    if isinstance(region, Region):
        found["outside"] = share_outside(paths, region.box.to(paths))
    covariates = inputs.at(along.times)
    if covariates is not None:
        found["covariates"] = covariates[:_KEPT]
    return found


class _Along(NamedTuple):
    """Encoded trajectories.

    Attributes:
        states: (row, time, latent).
        rates: Shaped alike, the drift there.
        times: (row, time) float64, in scaled units.
        seen: (row, time) whether anything of a snapshot was observed.
        misfit: (row,) of the first snapshots.
    """

    states: Tensor
    rates: Tensor
    times: Tensor
    seen: Tensor
    misfit: Tensor


def _encoded(fit: Fit, fields: Array, clock: Array, inputs: Inputs) -> _Along:
    """Of fields (row, time, *field) at times (row, time), in the user's units."""
    rows, num_times = clock.shape
    model, device = fit.model, place_of(fit.model)[1]
    given = torch.as_tensor(fields).flatten(0, 1).to(device=device, dtype=torch.float64)
    given = given if fit.has_channel else given[:, None]
    scaled, observed = encodable(model, fit.scaling, given, clock.ravel())
    t = torch.as_tensor(clock / fit.scaling.time, device=device)
    beside = inputs.of_fields(t)
    each = None if beside is None else beside.expand(-1, num_times, -1).flatten(0, 1)
    first = slice(None, None, num_times)
    known = {}
    if observed is not None:
        known["observed"] = fit.scaling.with_never_observed(observed, model.grid.padding)
    rates = []
    with Isolation(0, device).turn():
        bound = model.bind(fit.guide.read_theta())
        flat = fit.guide.encode(scaled, bound, each, **known)[0]
        law = bound.observe(flat[first])
        for _ in range(1 if fit.has_point_theta else _DRAWS):
            drift = model.bind(fit.guide.read_theta()).drift
            rates.append(drift(flat[None, :, None], t.reshape(-1, 1), covariates=each))
    shape = (rows, num_times, -1)
    seen = torch.ones(rows, num_times, dtype=torch.bool, device=device)
    if observed is not None:
        seen = observed.flatten(1).any(1).reshape(rows, num_times)
    misfit = start_misfit(law, scaled[first], None if observed is None else observed[first])
    return _Along(flat.reshape(shape), torch.stack(rates).mean(0).reshape(shape), t, seen, misfit)


def _pooled(fit: Fit, each: Tensor) -> Tensor:
    """(latent,) means over rows (row, latent); all coarse points of a channel have one."""
    mean, grid = each.mean(0), fit.model.grid
    for channel in range(grid.num_zeta // grid.num_coarse):  # one for modes, which mix them
        points = slice(channel * grid.num_coarse, (channel + 1) * grid.num_coarse)
        mean[points] = mean[points].mean()
    return mean.clamp(min=_LEAST)
