"""What the drift owes to parts of the training data: its parameter uncertainty, by the jackknife.

A drift is linear in its last weights, γ = φ(z) W + what has no such weights (`LastLayer`). Along
the guide's marginals it misses the linear drift of `GaussianMarginals` by r. With sums over part k
of n and the integral over its time H_k = Σ E φᵀφ, g_k = Σ E φᵀ r, and H = Σ_k H_k, least squares
without part k moves W by

    d_k = (H − H_k + λ diag H / n)⁻¹ (g − g_k),  and  V = (n − 1)/n Σ_k (d_k − d̄)(d_k − d̄)ᵀ

is the jackknife's covariance of W (Efron & Stein 1981, doi:10.1214/aos/1176345462). Parts are whole
trajectories, which are independent while their points are not; of more than a hundred, that many
groups (Kott, The Delete-a-Group Jackknife, J. Off. Stat. 17, 2001); of a single trajectory, blocks
of time that are long against its memory (Künsch 1989, doi:10.1214/aos/1176347265;
`pyro_msde.data.time_blocks`). Draws W + Σ_k ε_k (d_k − d̄) √((n − 1)/n), ε_k ~ N(0, 1), have that
covariance. Where many parts say what the drift is, φ d_k is small; beyond them it grows as the
features do, and so does the spread of forecasts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from pyro_msde.checks import check_number
from pyro_msde.inference.finishing import EncodedSegments
from pyro_msde.isolation import Isolation
from pyro_msde.networks import (
    MultiscaleDrift,
    drift_of,
    offers,
    read_out,
    read_out_changed,
)
from pyro_msde.protocols import LastLayer, Model
from pyro_msde.runs import register_adjustment
from pyro_msde.sde import Dynamics, in_opposite_pairs, linear_drift, noise_axes, sample_moments

__all__ = [
    "Jackknife",
    "JackknifeStep",
    "leave_one_out",
    "normal_equations",
    "with_last_weights_changed",
]

_LEAST = 1e-10  # of a feature's mean square, of the largest one's
_MOST_GROUPS = 100  # of trajectories that are left out together, so that memory stays bounded


@register_adjustment
@dataclass(frozen=True)
class Jackknife:
    """Directions in which the drift's last weights are uncertain; the first `Adjustment` of a fit.

    Attributes:
        directions: (part, feature, output) by network, "macro" and "micro":
            √((n − 1)/n) (d_k − d̄).
        scale: Multiple of them in forecasts; `Fit.calibrated` may choose one above 1.
    """

    name: ClassVar[str] = "jackknife"
    is_random: ClassVar[bool] = True

    directions: Mapping[str, Tensor]
    scale: float = 1.0

    def apply(self, dynamics: Dynamics) -> Dynamics:
        """Give the paths of each draw of θ last weights of their own.

        Raises:
            ValueError: The drift is no network any more.
        """
        if not isinstance(dynamics.drift, LastLayer):
            raise ValueError(
                "adjustments: the jackknife changes weights of the drift's networks, and comes "
                "before whatever replaces the drift. Put it first."
            )
        draws, share = dynamics.draws, len(dynamics.start) // len(dynamics.draws)
        changes = {
            name: d[draws.start : draws.stop].to(dynamics.start).repeat_interleave(share, 0)
            for name, d in self.draws(dynamics.num_draws, dynamics.generator).items()
        }
        drift: Any = dynamics.drift
        return replace(dynamics, drift=with_last_weights_changed(drift, changes))

    def to_dict(self) -> Mapping[str, Any]:
        """The directions, and the scale if it is not 1."""
        scale = {} if self.scale == 1 else {"scale": self.scale}
        return {**self.directions, **scale}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], model: Model) -> Jackknife:
        """What `to_dict` gave.

        Raises:
            ValueError: Directions of another drift, or not finite; a scale that is no number.
        """
        saved = dict(saved)
        scale = saved.pop("scale", 1.0)
        if not offers(model, LastLayer):
            raise ValueError("jackknife: the model's drift has no last weights to which it belongs")
        drift = drift_of(model)
        weights = _all_last_weights(drift)
        if getattr(drift, "equation", None) is not None and "macro" not in saved:
            weights.pop("macro", None)  # it rested beside the equation
        if not saved or saved.keys() != weights.keys():
            raise ValueError(f"jackknife: of {sorted(saved)}, not of {sorted(weights)}")
        if not all(isinstance(d, Tensor) for d in saved.values()):
            raise ValueError("jackknife: holds what is no tensor")
        size = saved[next(iter(weights))].shape[:1]
        for name, weight in weights.items():
            wanted = (*size, *weight.shape[-2:])
            if saved[name].shape != wanted or not saved[name].numel():
                raise ValueError(f"jackknife.{name}: {tuple(saved[name].shape)}, not {wanted}")
            if not saved[name].is_floating_point():
                raise ValueError(f"jackknife.{name}: {saved[name].dtype}")
            if not bool(saved[name].isfinite().all()):
                raise ValueError(f"jackknife.{name}: not finite")
        return cls(saved, check_number("jackknife.scale", scale))

    def draws(self, count: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """So many changes of the weights, (count, feature, output) by network.

        They come in opposite pairs, which leave the mean forecast alone to first order; the last
        of an odd number is by itself. From a generator of the CPU; None: torch's own.
        """
        n = len(next(iter(self.directions.values())))
        half = torch.randn((count + 1) // 2, n, dtype=torch.float64, generator=generator)
        epsilon = in_opposite_pairs(half, count)
        return {
            name: torch.einsum("ik,kpo->ipo", self.scale * epsilon.to(d), d)
            for name, d in self.directions.items()
        }

    def __repr__(self) -> str:
        """Sizes."""
        sizes = (f"{name} {tuple(d.shape)}" for name, d in self.directions.items())
        scale = "" if self.scale == 1 else f" × {self.scale:.3g}"
        return f"Jackknife({', '.join(sizes)}){scale}"


class JackknifeStep:
    """Sums over each part of the training data, from which leaving one out gives the `Jackknife`.

    Args:
        isolation: Random state of the quadrature.
        blocks: Times (block − 1,) between blocks of the one trajectory, in scaled units; None:
            there are several trajectories.
        ridge: λ > 0: what holds each weight in place beside the others' data, in average parts.
        num_nodes: Quadrature nodes a segment, with a pair of opposite draws at each.
    """

    changes_weights: ClassVar[bool] = False

    def __init__(
        self,
        isolation: Isolation,
        blocks: Tensor | None,
        *,
        ridge: float = 1.0,
        num_nodes: int = 64,
    ) -> None:
        self.isolation, self.blocks = isolation, blocks
        self.ridge, self.num_nodes = ridge, num_nodes
        self.sums: dict[int, dict[str, list[Tensor]]] = {}

    @torch.no_grad()
    def add(self, part: EncodedSegments) -> None:
        """Add to the sums of the segments' parts; the model's drift is a `LastLayer`."""
        drift = cast(LastLayer, part.bound.drift)
        with self.isolation.turn():
            times, weights = part.batch.quadrature.evenly().draw(self.num_nodes)
            moments = part.marginals.moments(times)
            noise = torch.randn_like(moments.mean)
        z = sample_moments(moments.mean, moments.cov, torch.stack([noise, -noise]), moments.axes)
        missed_drift = linear_drift(moments, z, part.bound.diffusion, noise_axes(part.bound))
        inputs = part.batch.inputs.at(times)
        missed = drift.split(missed_drift - part.bound.drift(z, times, covariates=inputs))
        share = 0.5 * part.share * weights.double()  # of the pair of draws
        features, owners = drift.features(z, times, inputs), self._owners(part, times)
        for owner in owners.unique().tolist():
            total, mine = self.sums.setdefault(owner, {}), owners == owner
            for name, phi in features.items():
                both = normal_equations(phi[:, mine], missed[name][:, mine], share[mine])
                before = total.get(name, [torch.zeros_like(x) for x in both])
                total[name] = [a + b for a, b in zip(before, both, strict=True)]

    def _owners(self, part: EncodedSegments, times: Tensor) -> Tensor:
        """Number of the part that each time (segment, time) belongs to."""
        if self.blocks is None:
            return torch.full(times.shape, part.trajectory % _MOST_GROUPS, device=times.device)
        return torch.bucketize(times, self.blocks.to(times))

    def end(self) -> Jackknife:
        """What leaving out each part would do."""
        directions = {}
        for name in next(iter(self.sums.values())):
            H, g = (torch.stack([s[name][i] for s in self.sums.values()]) for i in (0, 1))
            directions[name] = leave_one_out(H, g, self.ridge)
        return Jackknife(directions)


def with_last_weights_changed(
    drift: LastLayer, changes: Mapping[str, Tensor]
) -> Callable[..., Tensor]:
    """The drift with other last weights for each path.

    Args:
        drift: γ(z, t, covariates).
        changes: Of the weights by network, (sample, feature, output).

    Returns:
        γ(z, t, covariates) of z (sample, row, time, latent).
    """
    if type(drift) is MultiscaleDrift:  # its networks need not make all of their features
        return partial(_with_networks_changed, drift, changes)
    shared, local = {}, {}  # where each point has weights of its own they are read out apart
    for name, W in drift.readout().items():
        is_local = W.ndim > 2
        shared[name] = changes[name] if is_local else W + changes[name]
        if is_local:
            local[name] = W

    def changed(z: Tensor, t: Tensor, covariates: Tensor | None = None) -> Tensor:
        outputs = {}
        for name, phi in drift.features(z, t, covariates).items():
            W = shared[name]
            outputs[name] = phi @ W.reshape(len(W), *(1,) * (phi.ndim - 3), *W.shape[1:])
            if name in local:
                outputs[name] = outputs[name] + read_out(phi, local[name])
        return drift.joined(outputs) + drift.offset(z, t, covariates)

    return changed


def _with_networks_changed(
    drift: MultiscaleDrift,
    changes: Mapping[str, Tensor],
    z: Tensor,
    t: Tensor,
    covariates: Tensor | None = None,
) -> Tensor:
    networks, inputs = drift.networks, drift.inputs(z, t, covariates)
    value = drift.joined(
        {name: read_out_changed(networks[name], x, changes[name]) for name, x in inputs.items()}
    )
    return value + drift.offset(z, t, covariates)


def _all_last_weights(drift: Any) -> dict[str, Tensor]:
    """Those of networks that rest, too, as they may do before weights are loaded."""
    rests = hasattr(drift, "awake")
    before = rests and drift.awake
    try:
        if rests:
            drift.awake = True
        found: dict[str, Tensor] = drift.readout()
        return found
    finally:
        if rests:
            drift.awake = before


def normal_equations(features: Tensor, missed: Tensor, share: Tensor) -> list[Tensor]:
    """Weighted sums of φᵀφ and φᵀr of one network, in float64.

    Args:
        features: φ (pair, *time, ..., p), such as (pair, segment, time, ..., p).
        missed: r (pair, *time, ..., output).
        share: Weights (*time).
    """
    phi = features.double()
    ones = (1,) * (phi.ndim - share.ndim - 1)  # of places, if any, and features
    weighted = (share.reshape(*share.shape, *ones) * phi).flatten(0, -2)
    return [weighted.mT @ phi.flatten(0, -2), weighted.mT @ missed.double().flatten(0, -2)]


def leave_one_out(H: Tensor, g: Tensor, ridge: float) -> Tensor:
    """From (part, p, p) and (part, p, o) to the directions (part, p, o)."""
    total = H.sum(0)
    # what hardly shows in the data, such as a unit that is off, is held as if it did: its weight
    # would be anything, and forecasts that leave the data turn such units on
    sizes = total.diagonal()
    held = ridge * sizes.clamp(min=_LEAST * float(sizes.max())) / len(H)
    held = held + torch.finfo(total.dtype).tiny
    without = torch.linalg.solve(total - H + torch.diag(held), g.sum(0) - g)
    n = len(H)
    spread: Tensor = (without - without.mean(0)) * ((n - 1) / n) ** 0.5
    return spread
