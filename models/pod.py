"""Latent SDE of POD coefficients: the multiscale model's opponent, learned by the same ELBO.

    dz = γ(z) dt + L dβ,        y(t) | z(t) ~ N(s Φ z, Σ_y),        encoder mean z = Φᵀ y / s

Φ (point, r) are the training snapshots' POD modes, fixed, and s one number that makes the root mean
square of the leading coefficient one. There is no grid, no kernel and no microscale: the drift, a
linear and a quadratic path beside a network, takes all coefficients, and starts as ours does from a
regression in weak form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pyro.nn import pyro_method
from torch import Tensor, nn

from pyro_msde.baselines import pod_basis
from pyro_msde.grid import Grid
from pyro_msde.models.general import Multiscale, Theta
from pyro_msde.networks import PolynomialMLP
from pyro_msde.parts import LogVariance
from pyro_msde.scaling import Scaling
from pyro_msde.sde import integrate
from pyro_msde.trajectories import Trajectories
from pyro_msde.warm_start import weak_form_regression

__all__ = ["ModalGrid", "ModalOperators", "PODModel", "pod"]

_MOST_PRODUCTS = 512  # rank of the quadratic path
_TOLERANCE = 0.5  # relative to no change at all
_MOST_INPUTS = 88  # beyond it the regression leaves the quadratic part out, as ours does


def pod(
    train: Trajectories,
    rank: int,
    *,
    width: int = 128,
    start: bool = True,
    seed: int = 0,
) -> PODModel:
    """Model of scalar fields by their first POD coefficients.

    Args:
        train: Training trajectories, fields (*space) without a channel axis; those that the model
            will be fitted to, since Φ and s come from them.
        rank: Number of modes, r.
        width: Width of the drift network's two hidden layers.
        start: Start the drift's linear and quadratic paths from a regression on the coefficients.
        seed: Of the initial weights.

    Raises:
        ValueError: More modes than snapshots or points.
    """
    basis = pod_basis(train, rank)
    own = train.parameters
    scaling = Scaling.of(train.fields(1, train.field_shape), train.horizon, own)
    modes = [(v.reshape(len(v), -1) @ basis.astype(v.dtype)) for v in train.values]
    leading = np.concatenate([z[:, 0] for z in modes])
    size = float(np.sqrt(np.mean(np.square(leading, dtype=np.float64)))) / scaling.channels[0]
    num_parameters = 0 if own is None else own.shape[1]
    grid = ModalGrid(train.field_shape, rank)
    inputs = rank + num_parameters
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drift = ModalDrift(
            PolynomialMLP(
                [inputs, width, width, rank], min(rank * inputs, _MOST_PRODUCTS), reluctant=True
            )
        )
    if start:
        drift.start(
            [torch.as_tensor(t / scaling.time) for t in train.times],
            [torch.as_tensor(z / (scaling.channels[0] * size)) for z in modes],
            None if own is None else scaling.scaled_parameters(torch.as_tensor(own)),
        )
    return PODModel(
        grid,
        0,
        kernel=_Modes(torch.as_tensor(basis * size).float(), size),
        drift=drift,
        diffusion=LogVariance((rank,), 0.1),
        var_zeta=LogVariance(grid.field_shape, 0.01),
        num_parameters=num_parameters,
    )


class PODModel(Multiscale):
    """`Multiscale` whose macroscale state are POD coefficients; see `pod`."""

    @pyro_method
    def read_parameters(self, theta: Mapping[str, Tensor] | None = None) -> Theta:
        """As `Multiscale.read_parameters`, with modes for the operators."""
        modes: Any = self.kernel.read(theta)
        operators: Any = ModalOperators(modes(), modes.size, self.grid.shape)
        drift, diffusion = self.drift.read(theta), self.diffusion.read(theta)()
        return Theta(operators, drift, diffusion, None, self.var_zeta.read(theta)(), None)


class ModalGrid(Grid):
    """The observations' grid, with coefficients of modes instead of coarse points."""

    def __init__(self, shape: Sequence[int], rank: int) -> None:
        super().__init__(shape, (1,) * len(shape))
        object.__setattr__(self, "rank", rank)

    @property
    def num_coarse(self) -> int:
        """Number of modes, which are latent states as coarse points are."""
        return int(self.__dict__["rank"])

    def flatten(self, coarse_field: Tensor) -> Tensor:
        """The coefficients (..., rank) as they are."""
        return coarse_field

    def unflatten(self, zeta: Tensor) -> Tensor:
        """The coefficients (..., rank) as they are."""
        return zeta


class ModalOperators:
    """Projection on modes, with the names that guide and model use.

    Args:
        modes: (point, rank) orthogonal columns s Φ.
        size: s, their length.
        shape: Points per axis.
    """

    def __init__(self, modes: Tensor, size: float, shape: tuple[int, ...]) -> None:
        self.modes, self.size, self.shape = modes, size, shape

    def smooth(self, y: Tensor) -> Tensor:
        """Φ Φᵀ y, (..., 1, *space)."""
        return self.prolong(self.sample(y))

    def sample(self, smoothed: Tensor) -> Tensor:
        """Φᵀ y / s, (..., rank), from (..., 1, *space)."""
        return smoothed.flatten(-len(self.shape) - 1) @ self.modes / self.size**2

    def prolong(self, zeta: Tensor) -> Tensor:
        """s Φ z, (..., 1, *space), from (..., rank)."""
        return (zeta @ self.modes.mT).unflatten(-1, (1, *self.shape))


class ModalDrift(nn.Module):
    """γ(z) from all coefficients and the trajectory's parameters; autonomous.

    Args:
        network: From rank + num_parameters to rank numbers.
    """

    def __init__(self, network: PolynomialMLP) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor, t: Tensor, parameters: Tensor | None = None) -> Tensor:
        """Drift, shaped as z (..., segment, time, rank); parameters (segment, p)."""
        if parameters is not None:
            z = torch.cat([z, parameters[:, None, :].expand(*z.shape[:-1], -1)], -1)
        value: Tensor = self.network(z)
        return value

    @torch.no_grad()
    def start(
        self, times: Sequence[Tensor], modes: Sequence[Tensor], parameters: Tensor | None = None
    ) -> bool:
        """Put a weak-form regression of the coefficients in the linear and quadratic paths.

        A quadratic one if its forecasts of the training trajectories from their first snapshots are
        closer than those that do not move, else a linear one on the same terms, else none: a
        quadratic fit of many coefficients may blow up.

        Args:
            times: Per trajectory (time,).
            modes: Per trajectory (time, rank) coefficients.
            parameters: (trajectory, p).

        Returns:
            Whether anything was done.
        """
        own = modes[0].new_zeros(len(modes), 0) if parameters is None else parameters.to(modes[0])
        inputs = [
            torch.cat([z, p.expand(len(z), -1)], -1)[:, None]
            for z, p in zip(modes, own, strict=True)
        ]
        before = {k: v.clone() for k, v in self.network.state_dict().items()}
        for quadratic in (True, False):
            if quadratic and inputs[0].shape[-1] > _MOST_INPUTS:
                continue
            found = weak_form_regression(
                times, [z[:, None] for z in modes], inputs, num_windows=20, quadratic=quadratic
            )
            if found is not None:
                self.network.set_polynomial(*(x.float() for x in found))
                if self._relative_error(times, modes, own) < _TOLERANCE:
                    return True
        self.network.load_state_dict(before)
        return False

    def _relative_error(
        self, times: Sequence[Tensor], modes: Sequence[Tensor], parameters: Tensor
    ) -> float:
        """Root mean square error of forecasts over that of no change at all."""
        error = change = 0.0
        for t, z, p in zip(times, modes, parameters, strict=True):
            at = torch.linspace(0, len(t) - 1, min(21, len(t))).long()

            def drift(x: Tensor, _: Tensor, p: Tensor = p) -> Tensor:
                return self.network.polynomial(torch.cat([x, p.expand(*x.shape[:-1], -1)], -1))

            path = integrate(
                drift, torch.zeros_like(z[0]), z[None, :1], t[at][None], max_step=1 / 500
            )
            error += float((path[0, 0] - z[at]).square().sum())
            change += float((z[0] - z[at]).square().sum())
        return (error / change) ** 0.5 if np.isfinite(error) else np.inf


class _Modes(nn.Module):
    """The modes, in the place of a smoothing kernel; not trained."""

    modes: Tensor

    def __init__(self, modes: Tensor, size: float) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("modes", modes)

    def forward(self) -> Tensor:
        """(point, rank)."""
        return self.modes
