"""The drift of a multiscale state: a stencil network on the coarse grid, another for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pyro_msde.data import beside
from pyro_msde.networks.equation_path import EquationPath
from pyro_msde.networks.growing import grow_from
from pyro_msde.networks.modal_path import ModalPath
from pyro_msde.protocols import LinearReadout, Places, SolvableReadout

__all__ = ["MultiscaleDrift"]


class MultiscaleDrift(nn.Module):
    """γ(z, t): one network shared by all coarse points, one for the microscale state (eq. 10).

        [γ_ζ]_j = f(ζ_{j−q}, …, ζ_{j+q}, φ_j(η)) [+ p(ζ)_j],    γ_η = g(η, ψ(ζ) [, sin t, cos t])

    φ is the identity, or φ_j(η) = η + φ*(η [, sin t, cos t] [, places of j]) with a coupling φ*
    (App. G.4). t is scaled time, in training horizons.

    Args:
        grid: Fine and coarse grid, or a graph.
        n_eta: Microscale states.
        macro: f, from channels × stencil points [+ k] + p + c + n_eta to channels numbers, where
            p and c are how many covariates and controls there are.
        micro: g, from n_eta + n_ψ [+ 2] + p + c to n_eta numbers; None if n_eta = 0.
        half_width: q.
        time_features: Give g and φ* the sine and cosine of scaled time.
        psi: ψ, from n_ζ to n_ψ numbers; None: the identity.
        places: (num_coarse, k) features of the coarse points that f takes after the stencil, such
            as their coordinates. With them f may do one thing here and another there. Where there
            is a coupling it takes them instead of f.
        coupling: φ*, from n_eta [+ 2] [+ k] to n_eta numbers; None: φ is the identity.
        path: p, linear among modes of all of ζ; None: there is none.
        equation: An equation whose right side is added to γ_ζ; None: there is none. f rests beside
            one that forecasts the data, and learns what another lacks.
    """

    places: Tensor | None

    def __init__(
        self,
        grid: Places,
        n_eta: int,
        macro: nn.Module,
        micro: nn.Module | None,
        *,
        half_width: int,
        time_features: bool = False,
        psi: nn.Module | None = None,
        places: Tensor | None = None,
        coupling: nn.Module | None = None,
        path: ModalPath | None = None,
        equation: EquationPath | None = None,
    ) -> None:
        super().__init__()
        self.grid, self.n_eta, self.half_width = grid, n_eta, half_width
        self.stencil = grid.stencil(half_width)
        self.macro, self.micro, self.psi, self.coupling = macro, micro, psi, coupling
        self.path, self.equation = path, equation
        self.awake = False
        self._weights: list[nn.Parameter] | None = None
        self._rested: tuple[list[int], bool] | None = None
        self.register_buffer("places", places, persistent=False)
        self.time_features = time_features

    def forward(self, z: Tensor, t: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Drift.

        Args:
            z: (..., segment, time, latent).
            t: (segment, time) float64, or one row for all segments.
            covariates: (segment, p) the trajectories' covariates; (segment, time, p + c) where
                there are controls, which come after them.

        Returns:
            Shaped as z.
        """
        inputs = self.inputs(z, t, covariates)
        value = self.joined({name: net(inputs[name]) for name, net in self.networks.items()}, z)
        return value + self._beside_networks(z, covariates)

    @property
    def resting(self) -> bool:
        """Whether f is left out: it adds nothing to an equation, as before it is solved for.

        `awake` keeps it.
        """
        if self.awake or self.equation is None or not self.equation.started:
            return False
        if self._weights is None:
            self._weights = list(self.macro.parameters())
        # asked for at each evaluation, while weights change only in training
        versions = [w._version for w in self._weights]
        if not versions or self._rested is None or self._rested[0] != versions:
            known = isinstance(self.macro, LinearReadout)
            rests = known and not bool(self.macro.readout().any())  # type: ignore[operator]
            self._rested = versions, rests
        return self._rested[1]

    def _along(self, z: Tensor, covariates: Tensor | None) -> Tensor:
        """What the linear path does, shaped as z; controls are last among the covariates."""
        zeta, path = self.grid.num_zeta, self.path
        count = 0 if path is None or path.forced is None else path.forced.shape[1]
        controls = beside(covariates, z)[..., -count:] if count and covariates is not None else None
        along: Tensor = path(z[..., :zeta], controls)  # type: ignore[misc]
        return nn.functional.pad(along, (0, z.shape[-1] - zeta))

    def features(self, z: Tensor, t: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
        """Features (..., p) that the networks' last weights multiply, by network."""
        networks = self._linear_networks()
        inputs = self.inputs(z, t, covariates)
        return {name: net.features(inputs[name]) for name, net in networks.items()}

    def offset(self, z: Tensor, t: Tensor, covariates: Tensor | None = None) -> Tensor | float:
        """What `forward` adds to the networks: a linear path, an equation; other physics, too."""
        return self._beside_networks(z, covariates)

    def _beside_networks(self, z: Tensor, covariates: Tensor | None) -> Tensor | float:
        total: Tensor | float = 0.0 if self.path is None else self._along(z, covariates)
        if self.equation is None or not self.equation.started:
            return total
        zeta = self.grid.num_zeta
        own = None
        if self.equation.num_inputs and covariates is not None:
            own = beside(covariates, z)
        right = self.equation(z[..., :zeta], own)
        return total + nn.functional.pad(right, (0, z.shape[-1] - zeta))

    def readout(self) -> dict[str, Tensor]:
        """Last weights by network: (feature, output), of a `LocalReadout` (point, …, …)."""
        return {name: net.readout() for name, net in self._linear_networks().items()}

    def set_readout(self, weights: Mapping[str, Tensor]) -> None:
        """Let the last weights be these, shaped as `readout` gives them.

        Raises:
            NotImplementedError: A network's cannot be set: it is no `SolvableReadout`.
        """
        for name, value in weights.items():
            network = self.networks[name]
            if not isinstance(network, SolvableReadout):
                kind = type(network).__name__
                raise NotImplementedError(f"{name}, a {kind}, is no SolvableReadout")
            network.set_readout(value)

    def _linear_networks(self) -> dict[str, LinearReadout]:
        """The networks, if their last weights are known.

        Raises:
            NotImplementedError: Those of one are not, so that this drift is no `LastLayer`.
        """
        for name, net in self.networks.items():
            if not isinstance(net, LinearReadout):
                raise NotImplementedError(f"{name}, a {type(net).__name__}, is no LinearReadout")
        return self.networks

    @property
    def networks(self) -> dict[str, Any]:
        """The networks f and g by name, "macro" and "micro"; φ* makes inputs of f.

        Without f where it rests.
        """
        both = {"macro": None if self.resting else self.macro, "micro": self.micro}
        return {name: net for name, net in both.items() if net is not None}

    def inputs(self, z: Tensor, t: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
        """What the networks get, by name: "macro" (..., num_coarse, any), "micro" (..., any)."""
        if self.resting and self.micro is None:
            return {}
        zeta, eta = z[..., : self.grid.num_zeta], z[..., self.grid.num_zeta :]
        extra = [] if covariates is None else [beside(covariates, z)]
        clock: list[Tensor] = []
        if self.time_features:
            clock = [torch.stack([t.sin(), t.cos()], -1).to(z.dtype).expand(*z.shape[:-1], 2)]
        if self.coupling is None:
            macro = self.neighbourhoods(zeta, *extra, eta)
        else:
            felt = eta[..., None, :] + self.coupling(self._at_points(eta, *clock))
            macro = torch.cat([self.neighbourhoods(zeta, *extra), felt], -1)
        if self.micro is None:
            return {"macro": macro}
        seen = zeta if self.psi is None else self.psi(zeta)
        micro = torch.cat([eta, seen, *extra, *clock], -1)
        return {"micro": micro} if self.resting else {"macro": macro, "micro": micro}

    def _at_points(self, *common: Tensor) -> Tensor:
        """What φ* gets at each coarse point, (..., num_coarse, any): common numbers, its place."""
        points = (*common[0].shape[:-1], self.grid.num_coarse)
        parts = [x[..., None, :].expand(*points, -1) for x in common]
        if self.places is not None:
            parts.append(self.places.expand(*points, -1))
        return torch.cat(parts, -1)

    def joined(self, outputs: Mapping[str, Tensor], like: Tensor | None = None) -> Tensor:
        """The drift, (..., latent), of what the networks say; zeros like states if nothing."""
        if not outputs and like is not None:
            return torch.zeros_like(like)
        if "macro" not in outputs:
            return nn.functional.pad(outputs["micro"], (self.grid.num_zeta, 0))
        macro = outputs["macro"].mT.flatten(-2)
        return torch.cat([macro, outputs["micro"]], -1) if "micro" in outputs else macro

    def split(self, values: Tensor) -> dict[str, Tensor]:
        """Inverse of `joined`."""
        macro, micro = values.split([self.grid.num_zeta, self.n_eta], -1)
        outputs = {"macro": macro.unflatten(-1, (self.grid.channels, self.grid.num_coarse)).mT}
        outputs = {} if self.resting else outputs
        return outputs if self.micro is None else {**outputs, "micro": micro}

    def stencils(self, z: Tensor) -> Tensor:
        """(..., num_coarse, channels × stencil points), channel-major, from z (..., latent)."""
        grid = self.grid
        zeta = z[..., : grid.num_zeta].unflatten(-1, (grid.channels, grid.num_coarse))
        values: Tensor = self.stencil(zeta)
        return values

    @property
    def middle(self) -> list[int]:
        """Where in its stencil a coarse point finds its own channels."""
        size, place = self.stencil.num_neighbours, self.stencil.centre
        return [channel * size + place for channel in range(self.grid.channels)]

    def neighbourhoods(self, zeta: Tensor, *common: Tensor) -> Tensor:
        """What f gets at each coarse point: the stencil's values, then what all points share.

        Args:
            zeta: (..., n_ζ).
            common: (..., any) numbers shared by the points: covariates, η.

        Returns:
            (..., num_coarse, inputs).
        """
        stencil = self.stencils(zeta)
        shared = [x[..., None, :].expand(*stencil.shape[:-1], -1) for x in common]
        if self.places is not None and self.coupling is None:
            shared.insert(0, self.places.expand(*stencil.shape[:-1], -1))
        return torch.cat([stencil, *shared], -1)

    @property
    def has_quadratic(self) -> bool:
        """Whether f has room for a quadratic polynomial."""
        return bool(self.macro.rank)

    def set_polynomial(self, linear: Tensor, quadratic: Tensor) -> None:
        """Put a polynomial of the neighbourhoods into f; see `PolynomialMLP.set_polynomial`."""
        polynomial: Any = self.macro
        polynomial.set_polynomial(linear, quadratic)

    def grow_from(self, smaller: MultiscaleDrift) -> None:
        """Go on from a drift of fewer microscale states.

        These come last among what f takes, and first among what g and φ* take. In g ψ(ζ) follows,
        which may grow as they do.
        """
        grow_from(self.macro, smaller.macro)
        grow_from(self.psi, smaller.psi)
        before, seen = smaller.n_eta, smaller.num_seen
        gaps = [(before, self.n_eta - before), (before + seen, self.num_seen - seen)]
        grow_from(self.micro, smaller.micro, gaps)
        grow_from(self.coupling, smaller.coupling, gaps[:1])
        grow_from(self.path, smaller.path)
        if self.equation is not None and smaller.equation is not None:
            self.equation.load_state_dict(smaller.equation.state_dict())

    @property
    def num_seen(self) -> int:
        """How many numbers g takes of the macroscale state, n_ψ."""
        zeta = next(self.parameters()).new_zeros(self.grid.num_zeta)
        return len(zeta if self.psi is None else self.psi(zeta))
