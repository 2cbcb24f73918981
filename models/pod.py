"""Latent SDE of POD coefficients: the multiscale model's opponent, learned by the same ELBO.

    dz = γ(z) dt + L dβ,        y(t) | z(t) ~ N(s Φ z, Σ_y),        encoder mean z = Φᵀ y / s

Φ (point, r) are the training snapshots' POD modes, fixed, and the number s makes the root mean
square of the leading coefficient one. There is no grid, no kernel and no microscale: the drift, a
linear and a quadratic path beside a network, takes all coefficients, and starts from a regression
in weak form, as ours does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyro_msde.baselines import pod_basis
from pyro_msde.data import Metadata, Scaling, Trajectories, in_order, reference_of
from pyro_msde.grid import Grid
from pyro_msde.inference import weak_form_regression
from pyro_msde.isolation import Isolation
from pyro_msde.models.from_data import has_channel_axis
from pyro_msde.models.general import Multiscale
from pyro_msde.networks import PolynomialMLP
from pyro_msde.priors import LogVariance
from pyro_msde.sde import integrate

__all__ = ["ModalGrid", "ModalOperators", "PODModel", "pod"]

_MOST_PRODUCTS = 512  # rank of the quadratic path
_TOLERANCE = 0.5  # relative to no change at all
_LEADING = (2, 4, 8, 16, 32)  # coefficients in a quadratic start, if not all
_MOST_QUADRATIC = 69  # the normal matrix of more would not fit
_WINDOWS = 100  # of time, in that regression
_STEP = 1 / 200  # of the horizon, in forecasts of polynomials of a few modes


def pod(
    train: Trajectories,
    rank: int,
    *,
    width: int = 128,
    start: bool = True,
    reference: Any = "channel",
    seed: int = 0,
) -> PODModel:
    """Model of fields by their first POD coefficients.

    Several channels are one field, each in units of its root mean square. Points that are never
    observed, such as those within a solid, are left out.

    Args:
        train: Training trajectories, those that the model will be fitted to, since Φ and s come
            from them. The first axis of their fields is that of channels where they say so, as for
            `multiscale.like`.
        rank: Number of modes, r.
        width: Width of the drift network's two hidden layers.
        start: Start the drift's linear and quadratic paths from a regression on the coefficients.
        reference: What `fit` will be told to subtract, since Φ and s are those of anomalies.
        seed: Of the initial weights.

    Raises:
        ValueError: More modes than snapshots or points; a snapshot that lacks what others have.
    """
    has_channel = has_channel_axis(train)
    channels = train.field_shape[0] if has_channel else 1
    shape = train.field_shape[int(has_channel) :]
    fields = train.fields(channels, shape)
    reference = in_order("reference", reference, Metadata.of(train), train.field_shape)
    subtracted = reference_of(reference, fields, train.times, (True,) * channels)
    scaling = Scaling.of(
        fields, train.horizon, train.covariates, reference=subtracted, times=train.times
    )
    anomalies = Trajectories(
        train.times,
        [_scaled(f, t, scaling) for f, t in zip(fields, train.times, strict=True)],
        missing=train.missing,
    )
    basis = pod_basis(anomalies, rank)
    never = scaling.never_observed
    modes = [np.nan_to_num(v).reshape(len(v), -1) @ basis.astype(v.dtype) for v in anomalies.values]
    size = float(np.sqrt(np.mean(np.concatenate([z[:, 0] for z in modes]) ** 2, dtype=np.float64)))
    num_covariates = 0 if train.covariates is None else train.covariates.shape[1]
    grid = ModalGrid(shape, rank, channels=channels, mask=None if never is None else ~never.numpy())
    inputs = rank + num_covariates
    with Isolation(seed).turn():
        drift = ModalDrift(
            PolynomialMLP(
                [inputs, width, width, rank], min(rank * inputs, _MOST_PRODUCTS), reluctant=True
            )
        )
    if start:
        drift.start(
            [torch.as_tensor(t / scaling.time) for t in train.times],
            [torch.as_tensor(z / size) for z in modes],
            None
            if train.covariates is None
            else scaling.scaled_covariates(torch.as_tensor(train.covariates)),
        )
    return PODModel(
        grid,
        0,
        kernel=_Modes(torch.as_tensor(basis).float(), torch.tensor(size)),
        drift=drift,
        diffusion=LogVariance((rank,), 0.1),
        var_zeta=LogVariance(grid.field_shape, 0.01),
        num_covariates=num_covariates,
    )


class PODModel(Multiscale):
    """`Multiscale` whose macroscale state are POD coefficients; see `pod`."""

    def make_operators(self, kernel: Any) -> Any:
        """Projection on the modes (basis, size) that stand for a kernel."""
        basis, size = kernel
        return ModalOperators(basis, size, self.grid.field_shape)


class ModalGrid(Grid):
    """The observations' grid, with coefficients of modes instead of coarse points.

    Arguments as of `Grid`, but the rank.
    """

    def __init__(
        self, shape: Sequence[int], rank: int, *, channels: int = 1, mask: Any = None
    ) -> None:
        super().__init__(shape, (1,) * len(shape), channels=channels, mask=mask)
        self.__dict__["rank"] = rank

    @property
    def num_coarse(self) -> int:
        """Number of modes, which are latent states as coarse points are."""
        return int(self.__dict__["rank"])

    @property
    def num_zeta(self) -> int:
        """The same: modes have all channels."""
        return self.num_coarse

    def flatten(self, coarse_field: Tensor) -> Tensor:
        """The coefficients (..., rank) as they are."""
        return coarse_field

    def unflatten(self, zeta: Tensor) -> Tensor:
        """The coefficients (..., rank) as they are."""
        return zeta

    def filled(self, fields: Tensor, observed: Tensor) -> Tensor:
        """Fields (..., channel, *space) with zero in their gaps: modes are zero without a field."""
        return fields.where(observed, 0)

    def unseen_states(self, observed: Tensor, dtype: torch.dtype) -> Tensor:
        """(..., rank + 1): each coefficient keeps the share of points that were not observed."""
        exists = torch.ones(self.field_shape) if self.mask is None else torch.tensor(self.mask)
        exists = exists.to(observed.device, dtype)
        lacking = (exists * ~observed).flatten(-1 - self.ndim).sum(-1, keepdim=True) / exists.sum()
        return lacking.expand(*lacking.shape[:-1], self.num_zeta + 1).clone()


def _scaled(fields: Any, times: Any, scaling: Scaling) -> Any:
    """Anomalies (time, channel, *space) in scaled units, of the fields' dtype."""
    return scaling.to_scaled(torch.as_tensor(fields), times).numpy().astype(fields.dtype)


class ModalOperators:
    """Projection on modes, with the names that guide and model use.

    Args:
        modes: (point, rank) orthonormal columns Φ.
        size: s, a number.
        shape: (channel, *space) of fields.
    """

    def __init__(self, modes: Tensor, size: Tensor, shape: tuple[int, ...]) -> None:
        self.modes, self.size, self.shape = modes, size, shape

    def restrict(self, y: Tensor) -> Tensor:
        """Coefficients Φᵀ y / s, (..., rank), from (..., channel, *space)."""
        return y.flatten(-len(self.shape)) @ self.modes / self.size

    def prolong(self, zeta: Tensor) -> Tensor:
        """Fields s Φ z, (..., channel, *space), from (..., rank)."""
        return ((zeta * self.size) @ self.modes.mT).unflatten(-1, self.shape)


class ModalDrift(nn.Module):
    """γ(z) from all coefficients and the trajectory's covariates; autonomous.

    Args:
        network: From rank + num_covariates to rank numbers.
    """

    def __init__(self, network: PolynomialMLP) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor, t: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Drift, shaped as z (..., segment, time, rank); covariates (segment, p)."""
        value: Tensor = self.network(_inputs(z, covariates))
        return value

    @torch.no_grad()
    def start(
        self, times: Sequence[Tensor], modes: Sequence[Tensor], covariates: Tensor | None = None
    ) -> float:
        """Put a weak-form regression of the coefficients in the linear and quadratic paths.

        Of all coefficients linearly, or of the leading ones quadratically, more and more shrunk: a
        quadratic fit of many may blow up. Kept is what forecasts the training trajectories best
        from their first snapshots, if it is clearly better than no change.

        Args:
            times: Per trajectory (time,).
            modes: Per trajectory (time, rank) coefficients.
            covariates: (trajectory, p).

        Returns:
            Root mean square error of those forecasts, relative to the trajectories' change.
        """
        best, weights = _TOLERANCE, self.network.state_dict()
        weights = {k: v.clone() for k, v in weights.items()}
        rank = modes[0].shape[1]
        none = modes[0].new_zeros(len(modes), 0)
        rows = none if covariates is None else covariates.to(none)
        counts = {q for q in (*_LEADING, rank) if q <= min(rank, _MOST_QUADRATIC)}
        options = [(rank, False), *((q, True) for q in sorted(counts))]
        for leading, quadratic in options:
            inputs = [
                torch.cat([p.expand(len(z), -1), z[:, :leading]], -1)[:, None]
                for p, z in zip(rows, modes, strict=True)
            ]
            fits = weak_form_regression(
                times,
                [z[:, None] for z in modes],
                inputs,
                num_windows=_WINDOWS,
                quadratic=quadratic,
            )
            for fit in fits:
                self.network.set_polynomial(*fit)
                error = self._relative_error(times, modes, covariates)
                if error < best:
                    best = error
                    weights = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(weights)
        return best

    def _relative_error(
        self, times: Sequence[Tensor], modes: Sequence[Tensor], covariates: Tensor | None
    ) -> float:
        """Root mean square error of forecasts over that of no change at all."""
        shortest = min(21, *(len(t) for t in times))
        at = [torch.linspace(0, len(t) - 1, shortest).long() for t in times]
        clock = torch.stack([t[i] for t, i in zip(times, at, strict=True)])
        truth = torch.stack([z[i] for z, i in zip(modes, at, strict=True)]).float()
        drift = partial(self, covariates=covariates)
        start = truth[None, :, 0]
        path = integrate(
            drift,
            torch.zeros_like(truth[0, 0]),
            start,
            clock,
            max_step=_STEP,
            generator=torch.Generator(),
        )[0]
        error = (path - truth).square().sum() / (truth - truth[:, :1]).square().sum()
        return float(error.sqrt()) if error.isfinite() else math.inf


def _inputs(z: Tensor, covariates: Tensor | None) -> Tensor:
    """Covariates (row, p), then the coefficients z (..., row, time, rank)."""
    if covariates is None:
        return z
    return torch.cat([covariates[:, None, :].expand(*z.shape[:-1], -1).to(z), z], -1)


class _Modes(nn.Module):
    """Φ and s, in the place of a smoothing kernel; not trained."""

    modes: Tensor
    size: Tensor

    def __init__(self, modes: Tensor, size: Tensor) -> None:
        super().__init__()
        self.register_buffer("modes", modes)
        self.register_buffer("size", size)

    def forward(self) -> tuple[Tensor, Tensor]:
        """(point, rank) and a number."""
        return self.modes, self.size
