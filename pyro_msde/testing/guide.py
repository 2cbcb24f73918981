"""Whether a guide's marginals, draws and encoder agree with each other and with the model."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from pyro_msde.data import SegmentBatch
from pyro_msde.inference import MultiscaleELBO, check_roles
from pyro_msde.isolation import Isolation, place_of
from pyro_msde.sde import GaussianMarginals
from pyro_msde.testing.batches import random_batch, require

__all__ = ["check_guide"]

_STEP = 1e-4  # of finite differences, in segments
_SLOPE = 1e-4  # their error beside the largest rate, in float64
_DRAWS = 2000
_MISSING = 0.7  # of the values, where the encoder is to be less certain
_STANDARD_ERRORS = 6.0


def check_guide(model: Any, guide: Any, batch: SegmentBatch | None = None) -> None:
    """Try a guide of the path, and of θ where the model has priors, as `fit` and forecasts use it.

    Sites are the model's; the plate leaves the path's marginals what they are, so that Pyro finds
    their divergence from the model's path; the loss has gradients; time derivatives are those of
    the moments; draws have these moments; `encode` has their shape; dtypes are the fields'.

    Args:
        model: The generative model.
        guide: Its guide, a `torch.nn.Module`.
        batch: Segments in scaled units. None: random ones.

    Raises:
        AssertionError: One of these does not hold.
    """
    try:
        check_roles(model, guide)
    except ValueError as error:
        raise AssertionError(str(error)) from error
    batch = random_batch(model) if batch is None else batch
    with Isolation(0, place_of(model)[1]).turn(validate=True):
        _check_program(model, guide, batch)
        _check_slopes(model, guide, batch)
        with torch.no_grad():
            bound = model.bind(guide.read_theta())
            q = guide.path_marginals(batch, bound)
            _check_draws(q, batch, model.num_latent)
            rows = batch.inputs.of_fields(batch.times)
            mean, var = guide.encode(batch.values, bound, rows)
        shapes = (mean.shape, (*mean.shape, model.num_latent))
        require(
            mean.shape == q.mean.shape and mean.dtype == q.mean.dtype and var.shape in shapes,
            f"encode: mean {tuple(mean.shape)} {mean.dtype} and variance {tuple(var.shape)}, where "
            f"marginals at the nodes are {tuple(q.mean.shape)} {q.mean.dtype}. Give q(z|y) of each "
            "field, the variance shaped alike or a covariance.",
        )
        with torch.no_grad():
            _check_gaps(guide, batch, bound, rows, var)


def _check_gaps(guide: Any, batch: SegmentBatch, bound: Any, rows: Any, var: Tensor) -> None:
    """Of fields with gaps the variance is no smaller; forecasts start from them with `observed`."""
    observed = torch.rand(batch.values.shape, device=batch.values.device) > _MISSING
    try:
        _, gappy = guide.encode(batch.values, bound, rows, observed=observed)
    except TypeError as error:
        raise AssertionError(
            f"encode: {error}. Take `observed`, where fields were observed, or None."
        ) from error
    dense = var.ndim > batch.times.ndim + 1
    sizes = [v.diagonal(dim1=-2, dim2=-1) if dense else v for v in (var, gappy)]
    require(
        gappy.shape == var.shape and (sizes[1] >= sizes[0] * (1 - 1e-5)).all(),
        "encode: variance of fields with gaps is smaller than without, or of another shape.",
    )


def _check_program(model: Any, guide: Any, batch: SegmentBatch) -> None:
    try:
        fn = poutine.trace(guide).get_trace(batch).nodes.get("path", {}).get("fn")
    except ValueError as error:  # `bind` wants a site that the guide lacks
        raise AssertionError(str(error)) from error
    require(
        isinstance(fn, GaussianMarginals),
        f"guide: its site `path` is under {type(fn).__name__}. Sample `path` from path_marginals, "
        "in a plate `segments`.",
    )
    elbo = MultiscaleELBO(num_nodes=8)
    guide.zero_grad()
    try:
        loss = elbo.differentiable_loss(model, guide, batch)
    except ValueError as error:  # sites of one that the other lacks
        raise AssertionError(str(error)) from error
    loss.backward()
    require(loss.isfinite() and elbo.terms["drift_residual"] > 0, "guide: the ELBO is not finite.")
    require(
        fn.mean.requires_grad and fn.variance.requires_grad,
        "path_marginals: mean or variance has no gradient. Leave out detach and no_grad.",
    )
    for name, p in guide.named_parameters():
        finite = p.grad is None or p.grad.isfinite().all()
        require(finite, f"guide: the ELBO's gradient by {name} is not finite.")
    guide.zero_grad()
    model.zero_grad()


@torch.no_grad()
def _check_slopes(model: Any, guide: Any, batch: SegmentBatch) -> None:
    """mean_dot and cov_dot against central differences, in float64 copies of both modules."""
    model, guide = (part.double() for part in copy.deepcopy((model, guide)))
    values = batch.values.double()
    double = replace(batch, values=values, inputs=batch.inputs.to(values))
    q = guide.path_marginals(double, model.bind(guide.read_theta()))
    start, end = batch.times[:, :1], batch.times[:, -1:]
    at = start + (end - start) * torch.tensor([0.12, 0.37, 0.61, 0.88]).to(start)
    h = _STEP * (end - start)
    before, here, after = (q.moments(t) for t in (at - h, at, at + h))
    for name in ("mean", "cov"):
        rate = getattr(here, f"{name}_dot").double()
        change = getattr(after, name).double() - getattr(before, name).double()
        width = (2 * h).reshape(-1, *(1,) * (rate.ndim - 1))
        off = float((rate - change / width).abs().max() / rate.abs().max().clamp(min=1.0))
        require(off < _SLOPE, f"path_marginals: {name}_dot is not the derivative of {name}.")


def _check_draws(q: GaussianMarginals, batch: SegmentBatch, num_latent: int) -> None:
    shape = (*batch.times.shape, num_latent)
    require(
        q.mean.shape == shape and q.mean.dtype == batch.values.dtype,
        f"path_marginals: mean {tuple(q.mean.shape)} {q.mean.dtype}. Give {shape} in the fields' "
        f"{batch.values.dtype}.",
    )
    require((q.variance > 0).all(), "path_marginals: a variance is not positive.")
    draws, sd = q.rsample((_DRAWS,)), q.variance.sqrt()
    mean_off = ((draws.mean(0) - q.mean) / sd).abs().max() * _DRAWS**0.5
    var_off = (draws.var(0) / q.variance - 1).abs().max() * (_DRAWS / 2) ** 0.5
    require(
        mean_off < _STANDARD_ERRORS and var_off < _STANDARD_ERRORS,
        f"path_marginals: draws miss the mean by {float(mean_off):.1f} standard errors, the "
        f"variance by {float(var_off):.1f}.",
    )
