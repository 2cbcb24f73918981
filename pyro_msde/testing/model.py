"""Whether a model's program and what it binds to are one model, in the shapes that others need."""

from __future__ import annotations

from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions import Delta
from torch import Tensor, nn

from pyro_msde.data import SegmentBatch
from pyro_msde.inference import check_program
from pyro_msde.isolation import Isolation, place_of
from pyro_msde.protocols import BoundModel, Model
from pyro_msde.sde import noise_axes
from pyro_msde.testing.batches import random_batch, require

__all__ = ["check_model"]

_CLOSE = 1e-3  # relative, in float32


@torch.no_grad()
def check_model(model: Any, batch: SegmentBatch | None = None) -> None:
    """Try a generative model as `fit` and forecasts use it.

    The program's path and fields follow the drift, diffusion and `observe` of what `bind` returns;
    these have their shapes; binding twice at one draw of θ gives the same; `restrict` is the
    adjoint of `prolong` but for a factor.

    Args:
        model: The model, a `torch.nn.Module`.
        batch: Segments in scaled units. None: random ones.

    Raises:
        AssertionError: One of these does not hold.
    """
    require(isinstance(model, nn.Module), f"model: {type(model).__name__} is no torch.nn.Module.")
    for name in ("grid", "n_eta", "num_latent", "bind", "path_law"):
        require(hasattr(model, name), f"model: has no {name}; see pyro_msde.protocols.Model.")
    batch = random_batch(model) if batch is None else batch
    with Isolation(0, place_of(model)[1]).turn(validate=True):
        nodes = poutine.trace(model.bind).get_trace().nodes
        sites = {k: node["value"] for k, node in nodes.items() if node["type"] == "sample"}
        bound, again = model.bind(sites), model.bind(sites)
        z = torch.randn(2, *batch.times.shape, model.num_latent).to(batch.values)
        _check_bound(bound, z, batch, model)
        _check_same(bound, again, z, batch)
        _check_adjoint(bound, z[0, 0], batch.values[0])
        try:
            check_program(model, _Given(sites, z[0]), batch)
        except ValueError as error:
            raise AssertionError(str(error)) from error


class _Given:
    """A guide whose θ and path are given."""

    def __init__(self, sites: dict[str, Tensor], z: Tensor) -> None:
        self.sites, self.z = sites, z

    def __call__(self, batch: SegmentBatch) -> None:
        for name, value in self.sites.items():
            pyro.sample(name, Delta(value, event_dim=value.ndim))
        index = torch.arange(len(batch.times), device=batch.times.device)
        with pyro.plate("segments", batch.num_segments, subsample=index):
            pyro.sample("path", Delta(self.z, event_dim=2))


def _check_bound(bound: BoundModel, z: Tensor, batch: SegmentBatch, model: Model) -> None:
    C, drift = bound.diffusion, batch.inputs.driving(bound.drift)(z, batch.times)
    require(
        C.shape == (model.num_latent,) and (C > 0).all(),
        f"diffusion: {tuple(C.shape)}, least {float(C.min()):.1e}. Give ({model.num_latent},) "
        "positive numbers, the diagonal of C.",
    )
    axes = noise_axes(bound)
    if axes is not None:
        require(
            axes.shape == (model.num_latent,) * 2
            and torch.allclose(axes.mT @ axes, torch.eye(len(axes)).to(axes), atol=_CLOSE),
            f"noise_axes: {tuple(axes.shape)}, or not orthogonal. Give unit vectors in "
            f"{model.num_latent} columns, or None.",
        )
    require(
        drift.shape == z.shape and drift.dtype == z.dtype and drift.isfinite().all(),
        f"drift: {tuple(drift.shape)} {drift.dtype} of states {tuple(z.shape)} {z.dtype}, or not "
        "finite. Keep shape and dtype, with any axes to the left.",
    )
    law, shape = bound.observe(z), (*z.shape[:-1], *model.grid.field_shape)
    require(
        tuple(law.batch_shape) == shape and not law.event_shape,
        f"observe: batch {tuple(law.batch_shape)}, event {tuple(law.event_shape)}. Return a law of "
        f"single elements {shape}, without to_event.",
    )
    require(
        law.log_prob(batch.values).isfinite().all(),
        "observe: the log density of a random field is not finite.",
    )


def _check_same(bound: BoundModel, again: BoundModel, z: Tensor, batch: SegmentBatch) -> None:
    def values(of: BoundModel) -> dict[str, Tensor]:
        return {
            "drift": batch.inputs.driving(of.drift)(z, batch.times),
            "diffusion": of.diffusion,
            "observe": of.observe(z).log_prob(batch.values),
        }

    second = values(again)
    for name, value in values(bound).items():
        require(
            torch.equal(value, second[name]),
            f"bind: {name} differs from one call to the next at the same sites. Read every random "
            "value from `sites`.",
        )


def _check_adjoint(bound: BoundModel, z: Tensor, fields: Tensor) -> None:
    """⟨T_r y, ζ⟩ over ⟨y, D⁻¹ T_p ζ⟩ is one number for all y and ζ; D is one without a `gain`."""
    restrict, prolong = (getattr(bound.operators, name, None) for name in ("restrict", "prolong"))
    if restrict is None or prolong is None:
        return
    coarse = restrict(fields)
    other = torch.randn(coarse.shape).to(coarse)
    small = (coarse * other).flatten(1).sum(1)
    gain = getattr(bound.operators, "gain", None)
    adjoint = prolong(other) if gain is None else prolong(other) / gain
    large = (fields * adjoint).flatten(1).sum(1)
    factor = (small @ large) / (large @ large)
    require(
        torch.allclose(small, factor * large, rtol=_CLOSE, atol=_CLOSE * float(small.abs().max())),
        "operators: restrict is not the adjoint of prolong, whatever the factor between them.",
    )
