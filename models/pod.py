"""Latent SDE of POD coefficients, for fields whose modes are global, as climatologists' EOFs are.

    dz = γ(z) dt + L dβ,        y(t) | z(t) ~ N(s Φ z, Σ_y),        encoder mean z = Φ⁺ y / s

Φ (point, r) are the training snapshots' POD modes, fixed, and the number s makes the root mean
square of the leading coefficient one. There is no grid, no kernel and no microscale: the drift, a
linear and a quadratic path beside a network, takes all coefficients. It starts from a regression in
weak form, as ours does, where that forecasts; else, where paths are noisy, from a linear inverse
model, which is what climatologists use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyro_msde.baselines import pod_basis
from pyro_msde.checks import check_whole
from pyro_msde.data import (
    Cycle,
    Inputs,
    Metadata,
    Scaling,
    Trajectories,
    beside,
    in_order,
    inputs_of,
    reference_of,
)
from pyro_msde.grid import Grid
from pyro_msde.inference import (
    LinearInverse,
    is_smooth,
    linear_inverse_model,
    set_diffusion,
    weak_form_regression,
)
from pyro_msde.isolation import Isolation
from pyro_msde.models.from_data import has_channel_axis
from pyro_msde.models.general import Multiscale
from pyro_msde.networks import NoiseAxes, PolynomialMLP
from pyro_msde.priors import LogVariance
from pyro_msde.runs import check_size, register
from pyro_msde.scores import area_weights
from pyro_msde.sde import integrate

__all__ = ["ModalDrift", "ModalGrid", "ModalOperators", "PODModel", "pod_sde"]

_MOST_PRODUCTS = 512  # rank of the quadratic path
_TOLERANCE = 0.5  # relative to no change at all
_LEADING = (2, 4, 8, 16, 32)  # coefficients in a quadratic start, if not all
_MOST_QUADRATIC = 69  # the normal matrix of more would not fit
_WINDOWS = 100  # of time, in that regression
_LEAST_AREA = 1e-6  # of the mean one
_STEP = 1 / 200  # of the horizon, in forecasts of polynomials of a few modes


def pod_sde(
    data: Trajectories,
    modes: int,
    *,
    weights: Any = None,
    width: int = 128,
    start: bool = True,
    reference: Any = "channel",
    seed: int = 0,
) -> PODModel:
    """Model of fields by their first POD coefficients.

    Where coefficients are noisy, their drift starts as a linear inverse model of all of `data`:
    validation data for `fit` must be others, and none are held out.

    Several channels are one field, each in units of its root mean square. Points that are never
    observed, such as those within a solid, are left out.

    Args:
        data: Training trajectories, those that the model will be fitted to, since Φ and s come
            from them. The first axis of their fields is that of channels where they say so, as for
            `multiscale.like`.
        modes: Their number, r.
        weights: Areas that points stand for, by which modes are orthogonal and encoded: "coslat",
            an array or a DataArray, as of the scores (`pyro_msde.compare`). None: all alike.
        width: Width of the drift network's two hidden layers.
        start: Start the drift's linear and quadratic paths from a regression on the coefficients.
        reference: What `fit` will be told to subtract, since Φ and s are those of anomalies, of
            fields as they are: `fit` refuses a `link` for it.
        seed: Of the initial weights.

    Raises:
        ValueError: More modes than snapshots or points; a snapshot that lacks what others have;
            areas without sense.
    """
    has_channel = has_channel_axis(data)
    channels = data.field_shape[0] if has_channel else 1
    shape = data.field_shape[int(has_channel) :]
    fields = data.fields(channels, shape)
    if isinstance(reference, Cycle):
        reference = reference.in_units(data.time_units)
    reference = in_order("reference", reference, Metadata.of(data), data.field_shape)
    subtracted = reference_of(reference, fields, data.times, (True,) * channels)
    scaling = Scaling.of(
        fields,
        data.horizon,
        data.covariates,
        controls=data.controls,
        reference=subtracted,
        times=data.times,
    )
    roots = _roots(data, weights, len(shape)).reshape(-1, *shape)
    anomalies = Trajectories(
        data.times,
        [
            (_scaled(f, t, scaling) * roots).astype(f.dtype)
            for f, t in zip(fields, data.times, strict=True)
        ],
        missing=data.missing,
    )
    basis = pod_basis(anomalies, modes)
    never = scaling.never_observed
    states = [
        np.nan_to_num(v).reshape(len(v), -1) @ basis.astype(v.dtype) for v in anomalies.values
    ]
    size = float(np.sqrt(np.mean(np.concatenate([z[:, 0] for z in states]) ** 2, dtype=np.float64)))
    model = _blank(
        shape,
        modes,
        channels=channels,
        mask=None if never is None else ~never.numpy(),
        num_covariates=len(data.covariate_names),
        num_controls=len(data.control_names),
        width=width,
        seed=seed,
    )
    kernel: Any = model.kernel._modules["net"]
    kernel.modes.copy_(torch.as_tensor(basis))
    kernel.size.fill_(size)
    kernel.roots.copy_(torch.tensor(roots).expand(channels, *shape).flatten())
    if start:
        clocks = [torch.as_tensor(t / scaling.time) for t in data.times]
        rows = inputs_of(data, scaling)
        found = [torch.as_tensor(z / size) for z in states]
        drift: Any = model.drift._modules["net"]
        if drift.start(clocks, found, rows) >= _TOLERANCE:
            law = drift.start_linear(clocks, found, rows)
            if law is not None:
                set_diffusion(model, law, 0)
    return model


@register("pod_sde")
def _blank(
    shape: Sequence[int],
    modes: int,
    *,
    channels: int = 1,
    mask: Any = None,
    num_covariates: int = 0,
    num_controls: int = 0,
    width: int = 128,
    seed: int = 0,
) -> PODModel:
    """The model before its modes are known."""
    modes, width = check_whole("modes", modes, 1), check_whole("width", width, 1)
    num_controls = check_whole("num_controls", num_controls, 0)
    inputs = modes + check_whole("num_covariates", num_covariates, 0) + num_controls
    grid = ModalGrid(shape, modes, channels=channels, mask=mask)
    points = channels * math.prod(grid.shape)
    for name, count in (("modes", modes * points), ("width", width * max(width, inputs))):
        check_size(name, count)
    rank = min(modes * inputs, _MOST_PRODUCTS)
    check_size("modes", rank * inputs)
    with Isolation(seed).turn():
        drift = ModalDrift(PolynomialMLP([inputs, width, width, modes], rank, reluctant=True))
    described = grid.to_dict()
    config = {
        "case": "pod_sde",
        "shape": described["shape"],
        "modes": modes,
        "channels": channels,
        "num_covariates": num_covariates,
        "width": width,
        **({"num_controls": num_controls} if num_controls else {}),
        **({"mask": described["mask"]} if "mask" in described else {}),
    }
    return PODModel(
        grid,
        0,
        kernel=_Modes(points, modes),
        drift=drift,
        diffusion=LogVariance((modes,), 0.1),
        var_zeta=LogVariance(grid.field_shape, 0.01),
        num_covariates=num_covariates,
        num_controls=num_controls,
        noise_axes=NoiseAxes(modes),
        config=config,
    )


def _roots(data: Trajectories, weights: Any, ndim: int) -> Any:
    """Roots of the areas (*field) that points stand for, their mean square one."""
    if weights is None:
        return np.ones(data.field_shape)
    areas = area_weights(weights, data.field_shape, ndim, Metadata.of(data))
    return np.sqrt(np.maximum(areas / areas.mean(), _LEAST_AREA))


class PODModel(Multiscale):
    """`Multiscale` whose macroscale state are POD coefficients; see `pod_sde`."""

    takes_link = False  # whose logarithms would have other modes

    def make_operators(self, kernel: Any) -> Any:
        """Projection on the modes that stand for a kernel."""
        basis, size, roots = kernel
        return ModalOperators(basis, size, self.grid.field_shape, roots)


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
        modes: (point, rank) orthonormal columns Φ', the modes times the roots of points' areas.
        size: s, a number.
        shape: (channel, *space) of fields.
        roots: (point,) of areas.
    """

    def __init__(self, modes: Tensor, size: Tensor, shape: tuple[int, ...], roots: Tensor) -> None:
        self.modes, self.size, self.shape, self.roots = modes, size, shape, roots

    def restrict(self, y: Tensor) -> Tensor:
        """Coefficients (..., rank) of fields (..., channel, *space), Φ'ᵀ √w y / s."""
        return (y.flatten(-len(self.shape)) * self.roots) @ self.modes / self.size

    def prolong(self, zeta: Tensor) -> Tensor:
        """Fields s Φ' z / √w, (..., channel, *space), from (..., rank)."""
        flat = (zeta * self.size) @ self.modes.mT / self.roots
        return flat.unflatten(-1, self.shape)


class ModalDrift(nn.Module):
    """γ(z) from all coefficients, the trajectory's covariates and controls; else autonomous.

    Args:
        network: From rank, covariates and controls to rank numbers.
    """

    def __init__(self, network: PolynomialMLP) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor, t: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Drift, shaped as z (..., segment, time, rank); covariates as `beside` takes them."""
        value: Tensor = self.network(_inputs(z, covariates))
        return value

    @property
    def has_start(self) -> bool:
        """Whether a regression has been put into it."""
        return bool(self.network.has_polynomial)

    @torch.no_grad()
    def start(self, times: Sequence[Tensor], modes: Sequence[Tensor], inputs: Inputs) -> float:
        """Put a weak-form regression of the coefficients in the linear and quadratic paths.

        Of all coefficients linearly, or of the leading ones quadratically, more and more shrunk: a
        quadratic fit of many may blow up. Kept is what forecasts the training trajectories best
        from their first snapshots, if it is clearly better than no change.

        Args:
            times: Per trajectory (time,).
            modes: Per trajectory (time, rank) coefficients.
            inputs: Covariates and controls of the trajectories.

        Returns:
            Root mean square error of those forecasts, relative to the trajectories' change.
        """
        best, weights = _TOLERANCE, self.network.state_dict()
        weights = {k: v.clone() for k, v in weights.items()}
        rank = modes[0].shape[1]
        rows = [
            z.new_zeros(len(z), 0)
            if (now := inputs.row(k).of_fields(t[None])) is None
            else now[0].expand(len(z), -1).to(z)
            for k, (t, z) in enumerate(zip(times, modes, strict=True))
        ]
        counts = {q for q in (*_LEADING, rank) if q <= min(rank, _MOST_QUADRATIC)}
        options = [(rank, False), *((q, True) for q in sorted(counts))]
        for leading, quadratic in options:
            seen = [
                torch.cat([p, z[:, :leading]], -1)[:, None]
                for p, z in zip(rows, modes, strict=True)
            ]
            fits = weak_form_regression(
                times,
                [z[:, None] for z in modes],
                seen,
                num_windows=_WINDOWS,
                quadratic=quadratic,
            )
            for fit in fits:
                self.network.set_polynomial(*fit)
                error = self._relative_error(times, modes, inputs)
                if error < best:
                    best = error
                    weights = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(weights)
        return best

    @torch.no_grad()
    def start_linear(
        self, times: Sequence[Tensor], modes: Sequence[Tensor], inputs: Inputs
    ) -> LinearInverse | None:
        """Put a linear inverse model in the linear path, where paths are noisy.

        Args:
            times: Per trajectory (time,).
            modes: Per trajectory (time, rank) coefficients.
            inputs: Covariates and controls of the trajectories.

        Returns:
            That model; None: nothing was done.
        """
        records = []
        for k, (t, z) in enumerate(zip(times, modes, strict=True)):
            now = (
                None
                if inputs.controls is None
                else replace(inputs, covariates=None).row(k).at(t[None])
            )
            u = z.new_zeros(len(z), 0) if now is None else now[0]
            records.append((t.numpy(), z.double().numpy(), u.double().numpy()))
        found = None if is_smooth([z for _, z, _ in records]) else linear_inverse_model(records)
        if found is None:
            return None
        layers: Any = self.network.network
        A, rank = torch.as_tensor(found.generator), modes[0].shape[1]
        linear = A.new_zeros(rank, layers[0].in_features)
        linear[:, -rank:] = A
        forced = torch.as_tensor(found.modes.T @ found.B)  # controls are before the coefficients
        linear[:, linear.shape[1] - rank - forced.shape[1] : linear.shape[1] - rank] = forced
        self.network.set_polynomial(linear, linear.new_zeros(rank, *[linear.shape[1]] * 2))
        layers[-1].bias.copy_(-A @ torch.as_tensor(found.mean))
        return found

    def _relative_error(
        self, times: Sequence[Tensor], modes: Sequence[Tensor], inputs: Inputs
    ) -> float:
        """Root mean square error of forecasts over that of no change at all."""
        shortest = min(21, *(len(t) for t in times))
        at = [torch.linspace(0, len(t) - 1, shortest).long() for t in times]
        clock = torch.stack([t[i] for t, i in zip(times, at, strict=True)])
        truth = torch.stack([z[i] for z, i in zip(modes, at, strict=True)]).float()
        start = truth[None, :, 0]
        path = integrate(
            inputs.to(truth).driving(self),
            torch.zeros_like(truth[0, 0]),
            start,
            clock,
            max_step=_STEP,
            generator=torch.Generator(),
        )[0]
        error = (path - truth).square().sum() / (truth - truth[:, :1]).square().sum()
        return float(error.sqrt()) if error.isfinite() else math.inf


def _inputs(z: Tensor, covariates: Tensor | None) -> Tensor:
    """Covariates and controls, then the coefficients z (..., row, time, rank)."""
    if covariates is None:
        return z
    return torch.cat([beside(covariates, z).to(z), z], -1)


class _Modes(nn.Module):
    """Φ', s and the roots of areas, in the place of a smoothing kernel; not trained."""

    modes: Tensor
    size: Tensor
    roots: Tensor

    def __init__(self, points: int, rank: int) -> None:
        super().__init__()
        self.register_buffer("modes", torch.zeros(points, rank))
        self.register_buffer("size", torch.ones(()))
        self.register_buffer("roots", torch.ones(points))

    def forward(self) -> tuple[Tensor, Tensor, Tensor]:
        """(point, rank), a number, and (point,)."""
        return self.modes, self.size, self.roots
