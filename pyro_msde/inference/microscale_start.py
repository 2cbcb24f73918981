"""A start for microscale states and their drift: principal components, and regressions on them.

The encoder starts at the first n_η principal components of the fine scale, each of size one, the
decoder at the linear function of them that comes nearest to what the macroscale leaves, and the
microscale drift at a linear regression in weak form on them, ψ(ζ) and the covariates. The
macroscale drift is then regressed as without microscale states, with η among its inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from pyro_msde.data import Segments
from pyro_msde.inference.weak_form_start import (
    start_macroscale_drift,
    weak_form_regression,
    window_counts,
)
from pyro_msde.networks import (
    MultiscaleDrift,
    PolynomialMLP,
    PrincipalDecoder,
    PrincipalEncoder,
    drift_of,
)
from pyro_msde.priors import part_of, starting_values
from pyro_msde.protocols import Guide, Model

__all__ = ["start_microscale"]

_AT_ONCE = 64  # snapshots


@torch.no_grad()
def start_microscale(model: Model, guide: Guide, segments: Segments) -> bool:
    """Start encoder, decoder and both drifts where the data have them, if that forecasts well.

    Args:
        model: Model with n_η > 0, whose decoder has been given its components.
        guide: Its guide, whose encoder has been given its components.
        segments: Training data in scaled units.

    Returns:
        Whether anything was done: not for networks of other kinds or that have been trained, nor
        where one has a prior, nor where the start forecasts training data badly
        (`start_macroscale_drift`).
    """
    part, dynamics = part_of(model, "decoder"), part_of(model, "drift")
    if part is None or part.is_random or dynamics is None or dynamics.is_random:
        return False
    encoder, decoder, drift = getattr(guide, "encoder", None), part._modules["net"], drift_of(model)
    if not (isinstance(encoder, PrincipalEncoder) and isinstance(decoder, PrincipalDecoder)):
        return False
    if not isinstance(drift, MultiscaleDrift) or drift.coupling is not None or drift.time_features:
        return False
    nets = [encoder.head, decoder.first, *drift.networks.values()]
    if not all(isinstance(net, PolynomialMLP) and not net.has_polynomial for net in nets):
        return False
    before = [deepcopy(module.state_dict()) for module in (encoder, decoder, drift)]
    for net in nets:
        for last in net.network[-1].parameters():
            nn.init.zeros_(last)
    etas = _lead(model, encoder, decoder, segments)
    _regress(drift, model, segments, etas)
    if start_macroscale_drift(model, segments, etas):
        return True
    for module, weights in zip((encoder, decoder, drift), before, strict=True):
        module.load_state_dict(weights)
    return False


def _lead(
    model: Model, encoder: PrincipalEncoder, decoder: PrincipalDecoder, segments: Segments
) -> list[Tensor]:
    """Set encoder and decoder; the microscale states (time, n_eta) of each trajectory."""
    count = min(model.n_eta, len(encoder.weights))
    encoder.head.linear.weight.zero_()[:count, :count] = torch.eye(count)
    bound = model.bind(starting_values(model))
    operators = bound.operators
    # the field's mean is T_p ζ + S_η/(S_ζ + S_η) D(η)
    weight: Tensor = 1 + bound.var_eta / bound.var_zeta  # type: ignore[attr-defined]
    etas, goals = [], []
    for values in segments.values:
        parts: list[list[Tensor]] = [[], []]
        for start in range(0, len(values), _AT_ONCE):
            y = values[start : start + _AT_ONCE].to(encoder.weights)
            smooth = operators.smooth(y)
            left = y - operators.prolong(operators.sample(smooth))
            seen = (y - smooth).flatten(1) @ encoder.modes.mT * encoder.weights
            parts[0].append(nn.functional.pad(seen[:, :count], (0, model.n_eta - count)))
            parts[1].append((weight * left).flatten(1) @ decoder.modes.mT / decoder.weights)
        etas.append(torch.cat(parts[0]))
        goals.append(torch.cat(parts[1]))
    x, y = torch.cat(etas).double(), torch.cat(goals).double()
    found = torch.linalg.lstsq(x.cpu(), y.cpu(), driver="gelsd").solution
    decoder.first.linear.weight.copy_(found.mT)
    return etas


def _regress(
    drift: MultiscaleDrift, model: Model, segments: Segments, etas: Sequence[Tensor]
) -> None:
    """Set the microscale drift to a linear function of what it sees."""
    operators, like = model.bind(starting_values(model)).operators, etas[0]
    inputs: list[Tensor] = []
    for k, eta in enumerate(etas):
        zeta = model.grid.flatten(operators.restrict(segments.values[k][:].to(like)))
        fixed: Any = (
            None if segments.covariates is None else segments.covariates[k : k + 1].to(like)
        )
        z = torch.cat([zeta, eta], -1)[None]
        inputs.append(drift.inputs(z, segments.times[k][None], fixed)["micro"][0])
    fits = weak_form_regression(
        segments.times,
        [eta[:, None] for eta in etas],
        [x[:, None] for x in inputs],
        num_windows=window_counts(segments.times)[-1],
        quadratic=False,
    )
    for linear, quadratic in fits:
        drift.networks["micro"].set_polynomial(linear, quadratic)
        return
