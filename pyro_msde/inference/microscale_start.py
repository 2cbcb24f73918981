"""A start for microscale states and their drift: principal components, and regressions on them.

The encoder starts at the first n_η principal components of the fine scale, each of size one, the
decoder at the linear function of them that comes nearest to what the macroscale leaves, and the
microscale drift at a linear regression in weak form on them, ψ(ζ), covariates and controls. The
macroscale drift is then regressed as without microscale states, with η among its inputs. Where ψ
is a linear map to fewer numbers, it starts at the leading principal components of ζ: as many
random ones tell less of how η goes on.

Where paths are noisy the regression finds nothing, and the microscale drift starts as a linear
inverse model of η (`pyro_msde.inference.linear_inverse`).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from pyro_msde.data import Segments
from pyro_msde.inference.linear_inverse_choice import linear_inverse_model
from pyro_msde.inference.linear_start import observed_record, set_diffusion
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
    innermost,
    principal_components,
)
from pyro_msde.priors import part_of, starting_values
from pyro_msde.protocols import Guide, Model

__all__ = ["start_linear_microscale", "start_microscale"]

_AT_ONCE = 64  # snapshots
_MOST_SNAPSHOTS = 1000  # from which components of ζ are taken
_LEAST = 1e-3  # of a field's size, that ζ is taken to have: it may be nothing


@torch.no_grad()
def start_microscale(model: Model, guide: Guide, segments: Segments) -> bool:
    """Start encoder, decoder and both drifts where the data have them, if that forecasts well.

    Args:
        model: Model with n_η > 0, whose decoder has been given its components.
        guide: Its guide, whose encoder has been given its components.
        segments: Training data in scaled units.

    Returns:
        Whether anything was done: not for networks of other kinds or that have been trained, nor
        where one has a prior, nor, but for ψ, where the start forecasts training data badly
        (`start_macroscale_drift`).
    """
    parts = _parts(model, guide)
    if parts is None:
        return False
    encoder, decoder, drift = parts
    before = [deepcopy(module.state_dict()) for module in parts]
    _quiet(*parts)
    zetas, etas = _lead(model, encoder, decoder, segments)
    _look(drift, zetas)
    _regress(drift, segments, zetas, etas)
    if start_macroscale_drift(model, segments, etas):
        return True
    for module, weights in zip(parts, before, strict=True):
        module.load_state_dict(weights)
    _look(drift, zetas)
    return False


@torch.no_grad()
def start_linear_microscale(model: Model, guide: Guide, segments: Segments) -> bool:
    """Start encoder and decoder likewise, the microscale drift and its C by the lags of η.

    Arguments as of `start_microscale`.

    Returns:
        Whether that was done: not for networks of other kinds or that have been trained, nor where
        one has a prior.
    """
    parts = _parts(model, guide)
    if parts is None:
        return False
    encoder, decoder, drift = parts
    _quiet(*parts)
    zetas, etas = _lead(model, encoder, decoder, segments)
    _look(drift, zetas)
    records = [
        observed_record(times, values, eta.double().cpu().numpy())
        for times, values, eta in zip(segments.times, segments.values, etas, strict=True)
    ]
    found = linear_inverse_model(records)
    if found is None:
        return True
    net = drift.networks["micro"]
    A, mean = (torch.as_tensor(x).to(net.linear.weight) for x in (found.generator, found.mean))
    net.set_polynomial(A, A.new_zeros(len(A), len(A), len(A)))
    net.network[-1].bias.copy_(-A @ mean)
    set_diffusion(model, found, model.grid.num_zeta)
    return True


def _parts(
    model: Model, guide: Guide
) -> tuple[PrincipalEncoder, PrincipalDecoder, MultiscaleDrift] | None:
    """Encoder, decoder and drift, if all are of the known kinds and none was trained."""
    part, dynamics = part_of(model, "decoder"), part_of(model, "drift")
    if part is None or part.is_random or dynamics is None or dynamics.is_random:
        return None
    encoder, decoder, drift = getattr(guide, "encoder", None), part._modules["net"], drift_of(model)
    if not (isinstance(encoder, PrincipalEncoder) and isinstance(decoder, PrincipalDecoder)):
        return None
    if not isinstance(drift, MultiscaleDrift) or drift.coupling is not None or drift.time_features:
        return None
    nets = _networks(encoder, decoder, drift)
    if not all(isinstance(net, PolynomialMLP) and not net.has_polynomial for net in nets):
        return None
    return encoder, decoder, drift


def _networks(
    encoder: PrincipalEncoder, decoder: PrincipalDecoder, drift: MultiscaleDrift
) -> list[Any]:
    """Those that a start is put into."""
    return [encoder.head, decoder.first, *map(innermost, drift.networks.values())]


def _quiet(encoder: PrincipalEncoder, decoder: PrincipalDecoder, drift: MultiscaleDrift) -> None:
    """Let networks say nothing, so that their polynomials are all there is."""
    for net in _networks(encoder, decoder, drift):
        for last in net.network[-1].parameters():
            nn.init.zeros_(last)


def _lead(
    model: Model, encoder: PrincipalEncoder, decoder: PrincipalDecoder, segments: Segments
) -> tuple[list[Tensor], list[Tensor]]:
    """Set encoder and decoder; ζ (time, n_ζ) and η (time, n_η) of each trajectory."""
    count = min(model.n_eta, len(encoder.weights))
    encoder.head.linear.weight.zero_()[:count, :count] = torch.eye(count)
    bound = model.bind(starting_values(model))
    operators = bound.operators
    # the field's mean is T_p ζ + S_η/(S_ζ + S_η) D(η)
    weight: Tensor = 1 + bound.var_eta / bound.var_zeta  # type: ignore[attr-defined]
    found: tuple[list[Tensor], list[Tensor], list[Tensor]] = [], [], []
    for values in segments.values:
        parts: list[list[Tensor]] = [[], [], []]
        for start in range(0, len(values), _AT_ONCE):
            y = values[start : start + _AT_ONCE].to(encoder.weights)
            smooth = operators.smooth(y)
            coarse = operators.sample(smooth)
            left = y - operators.prolong(coarse)
            seen = (y - smooth).flatten(1) @ encoder.modes.mT * encoder.weights
            parts[0].append(model.grid.flatten(coarse))
            parts[1].append(nn.functional.pad(seen[:, :count], (0, model.n_eta - count)))
            parts[2].append((weight * left).flatten(1) @ decoder.modes.mT / decoder.weights)
        for whole, chunks in zip(found, parts, strict=True):
            whole.append(torch.cat(chunks))
    zetas, etas, goals = found
    x, y = torch.cat(etas).double(), torch.cat(goals).double()
    linear = torch.linalg.lstsq(x.cpu(), y.cpu(), driver="gelsd").solution
    decoder.first.linear.weight.copy_(linear.mT)
    return zetas, etas


def _look(drift: MultiscaleDrift, zetas: Sequence[Tensor]) -> None:
    """Let a linear ψ be the leading components of ζ, in units of the first one's size."""
    if not isinstance(drift.psi, nn.Linear):
        return
    every = -(-sum(map(len, zetas)) // _MOST_SNAPSHOTS)
    states = torch.cat([zeta[::every] for zeta in zetas])
    modes, sizes, _ = principal_components(states, drift.psi.out_features)
    drift.psi.weight.copy_(modes / sizes[0].clamp(min=_LEAST))


def _regress(
    drift: MultiscaleDrift, segments: Segments, zetas: Sequence[Tensor], etas: Sequence[Tensor]
) -> None:
    """Set the microscale drift to a linear function of what it sees."""
    inputs = []
    for k, both in enumerate(zip(zetas, etas, strict=True)):
        z, clock = torch.cat(both, -1)[None], segments.times[k][None].to(etas[k].device)
        beside = segments.inputs(k).to(z).at(clock)
        inputs.append(drift.inputs(z, clock, beside)["micro"][0])
    fits = weak_form_regression(
        segments.times,
        [eta[:, None] for eta in etas],
        [x[:, None] for x in inputs],
        num_windows=window_counts(segments.times)[-1],
        quadratic=False,
    )
    best = next(fits, None)
    if best is not None:
        drift.networks["micro"].set_polynomial(*best)
