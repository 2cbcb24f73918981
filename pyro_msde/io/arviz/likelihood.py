"""Log likelihoods of observed snapshots, with their latent states drawn from the guide.

    log p(y_i | z_i),      z_i ~ q(z|t_i) given the snapshots around t_i, y_i among them

These are draws of a posterior that has seen y_i, which is what leave-one-out by importance sampling
asks for. Forecasts (`pyro_msde.io.arviz.fields`) have not: the log of their mean density is a
score of held-out data as it stands, and must not be reweighted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyro_msde.data import Trajectories, cut, picks_by_segment, segments_of
from pyro_msde.forecasts import Mixture
from pyro_msde.io.arviz.fields import densities, densities_at
from pyro_msde.io.arviz.frame import Frame, Variable
from pyro_msde.io.arviz.parameters import Draws
from pyro_msde.io.arviz.snapshots import Selection
from pyro_msde.protocols import FittedModel, FreeNodes, Guide
from pyro_msde.sde import sample_moments

__all__ = ["knows_new_data", "smoothed_likelihood"]

Array = NDArray[Any]

_CHUNK = 2**22  # numbers decoded at once


def knows_new_data(guide: Guide) -> bool:
    """Whether the guide has marginals of paths, of other trajectories than it was made for too.

    Forecasts only ask a guide to encode, and so one of a `Fit` made by hand may do no more.
    """
    return hasattr(guide, "path_marginals") and not isinstance(guide, FreeNodes)


def smoothed_likelihood(
    fit: FittedModel, chosen: Selection, draws: Draws, frame: Frame
) -> dict[str, Variable]:
    """Log likelihoods `<field>` of snapshots and `<field>_probes` of values at the probes.

    Their noise follows torch's seed. NaN is put where a trajectory has no more snapshots, or where
    it has but one, as the guide interpolates between snapshots.

    Args:
        fit: The `Fit`, whose guide has `path_marginals`.
        chosen: Trajectories, and the snapshots asked for.
        draws: Of θ.
        frame: Axes at the picked snapshots.
    """
    out: dict[str, Array] = {}
    for k, index in enumerate(chosen.index):
        fields = chosen.test.values[k]
        for where, places, law in _laws(fit, chosen.test, k, index, draws):
            truth = torch.as_tensor(fields[None, index[places]])
            for name, value in densities_at(law, truth, frame).items():
                if name not in out:
                    shape = (draws.count, *chosen.shape, *value.shape[3:])
                    out[name] = np.full(shape, np.nan)
                out[name][where, k, places] = value[:, 0]
    return densities(out, frame)


@torch.no_grad()
def _laws(
    fit: FittedModel, test: Trajectories, k: int, index: Array, draws: Draws
) -> Iterator[tuple[slice, Array, Mixture]]:
    """Place among the draws, places in `index`, and the fields' law there given draws of z."""
    times = test.times[k]
    how = cut(fit, times)
    if how is None:
        return
    segments = segments_of(fit, test, k, how)
    like = torch.empty(0, dtype=torch.float64)
    seen = fit.scaling.seen
    scale = seen.field_scale(like, fit.model.grid.ndim)
    reference = seen.reference_at(times, like)
    mask = None if fit.model.grid.mask is None else torch.tensor(fit.model.grid.mask)
    for start, places in picks_by_segment(len(times), how, index).items():
        batch = segments.gather([(0, start)])
        at = segments.times[0][index[places]][None].to(batch.times.device)
        for theta, _, where in draws:
            moments = fit.guide.path_marginals(batch, theta).moments(at)
            step = max(1, _CHUNK // (draws.repeats * batch.values[0, 0].numel()))
            for i in range(0, len(places), step):
                part = slice(i, i + step)
                mean, cov = moments.mean[:, part], moments.cov[:, part]
                # from torch's generator of the CPU, wherever the model is
                noise = torch.randn(draws.repeats, *mean.shape).to(mean)
                z = sample_moments(mean, cov, noise, moments.axes)
                law = Mixture(
                    part,
                    [theta.observe(z)],
                    scale,
                    fit.has_channel,
                    None if not seen.reference else reference[places[part] % len(reference)],
                    mask,
                    fit.model.grid.padding,
                    fit.scaling.link,
                )
                yield where, places[part], law
