"""A partial differential equation as a drift of the macroscale state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from scipy.signal import resample
from torch import Tensor, nn

from pyro_msde.equations import MOST_TERMS, Term
from pyro_msde.grid import AxisWaves
from pyro_msde.networks.linear_part import LinearPart
from pyro_msde.protocols import Places

__all__ = ["EquationPath"]


class EquationPath(nn.Module):
    """Σ_k c_k ∂^α_k (∏ u^p_k) of the field that the macroscale state stands for.

    The field is that of the coarse points' waves (`pyro_msde.grid.AxisWaves`), with the smoothing
    of κ undone and the reference added back; products are taken without aliasing, and the result is
    smoothed as the state is. Coefficients are in scaled units: those of fields in units of their
    scales, lengths of an axis' length, time of the training horizon. They are zero until they are
    set.

    Args:
        grid: With waves along all axes.
        waves: These.
        terms: That the equation may have.
        kernel: Points of κ along each axis.
        num_covariates: Of the trajectories.
        num_controls: Likewise.
        num_statics: Static fields that terms may have.
        axes: Letters of the axes, in words; None: x, y, z.
    """

    coefficients: Tensor
    directions: Tensor
    inclusion: Tensor
    reference: Tensor
    units: Tensor
    controls: Tensor
    statics: Tensor

    def __init__(
        self,
        grid: Places,
        waves: Sequence[AxisWaves],
        terms: Sequence[Term],
        kernel: Sequence[int],
        num_covariates: int = 0,
        num_controls: int = 0,
        num_statics: int = 0,
        axes: str | None = None,
    ) -> None:
        super().__init__()
        self.axes = axes
        self.grid, self.waves, self.terms = grid, tuple(waves), tuple(terms)
        self.num_covariates, self.num_controls = num_covariates, num_controls
        self.num_statics = num_statics
        dense = [along.dense for along in self.waves]
        self.register_buffer("statics", torch.zeros(num_statics, *dense))
        self.register_buffer("controls", torch.tensor([[0.0, 1.0]] * num_controls).reshape(-1, 2))
        count = grid.channels + 1 + num_covariates
        self.register_buffer("coefficients", torch.zeros(grid.channels, len(self.terms)))
        rank = min(len(self.terms), MOST_TERMS) * grid.channels
        self.register_buffer("directions", torch.zeros(rank, grid.channels, len(self.terms)))
        self.register_buffer("inclusion", torch.zeros(grid.channels, len(self.terms)))
        self.register_buffer("reference", torch.zeros(grid.channels, *grid.coarse))
        self.register_buffer("units", torch.ones(count, dtype=torch.float64))
        for axis, size in enumerate(kernel):
            line = torch.arange(size, dtype=torch.float64) == size // 2
            self.register_buffer(f"line_{axis}", line.double())
        self._made: tuple[Any, ...] | None = None
        self._started: bool | None = None
        self.fine_reference: Any = 0.0  # only while a fit starts, as are
        self.fine_statics: Any = None
        self.change: Tensor | None = None  # of each path's coefficients
        self.given: Tensor | None = None  # (channel, term) in the user's units, if it is known

    @property
    def fixed(self) -> tuple[str, ...]:
        """Buffers, which no prior is put on."""
        own = "coefficients", "directions", "inclusion", "reference", "units", "controls", "statics"
        return (*own, *(f"line_{k}" for k in range(3)))

    @property
    def sd(self) -> Tensor:
        """(channel, term) standard errors of the coefficients, in scaled units."""
        return self.directions.square().sum(0).sqrt()

    @property
    def started(self) -> bool:
        """Whether it has any term."""
        if self._started is None:
            self._started = bool(self.coefficients.any())
        return self._started

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self._forget()
        return super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._forget()
        super()._load_from_state_dict(*args, **kwargs)

    def _forget(self) -> None:
        """What was made of other coefficients."""
        self._made = self._started = None

    @property
    def num_inputs(self) -> int:
        """Covariates and controls."""
        return self.num_covariates + self.num_controls

    @torch.no_grad()
    def measure_in(
        self,
        channels: Sequence[float],
        time: float,
        covariates: Sequence[float],
        controls: Sequence[tuple[float, float]] = (),
    ) -> None:
        """Let scaled units be these, in the user's: of fields, of time and of covariates.

        Of controls, whose coefficients are in the user's units, they are mean and size.
        """
        self._forget()
        if len(controls):
            self.controls.copy_(torch.tensor(controls, dtype=torch.float64))
        self.units.copy_(torch.tensor([*channels, time, *covariates], dtype=torch.float64))
        if self.given is not None:
            self.set(self.given * self.factors())

    @torch.no_grad()
    def see_statics(self, fields: Any) -> None:
        """Let static fields be these, (s, *space) of the data's points, in the user's units."""
        self._forget()
        self.fine_statics = fields = np.asarray(fields, dtype=np.float64)
        for axis, along in enumerate(self.waves, start=1):
            fields = resample(fields, along.dense, axis=axis)
        self.statics.copy_(torch.as_tensor(fields))

    @torch.no_grad()
    def see_through(self, kernel: Tensor, reference: Tensor | None, fine: Any = 0.0) -> None:
        """Let the state be a field smoothed by a kernel, less its reference.

        Args:
            kernel: κ (channel, *kernel), a product of functions of each axis, the same for each
                channel; what it is beyond that is not undone.
            reference: T_r r / scale, (channel, *coarse); None: there is none.
            fine: r / scale, (channel, *space) of the data's points.
        """
        self.fine_reference = fine
        self._forget()
        mean = kernel.double().mean(0)
        for axis, line in enumerate(self._lines()):
            others = [d for d in range(mean.ndim) if d != axis]
            along = mean.sum(others) if others else mean
            line.copy_(along / along.sum() if axis else along)  # the size of κ counts once
        self.reference.zero_()
        if reference is not None:
            self.reference.copy_(reference)

    @torch.no_grad()
    def set(
        self,
        coefficients: Tensor,
        directions: Tensor | None = None,
        inclusion: Tensor | None = None,
    ) -> None:
        """Let the coefficients be these in scaled units, (channel, term).

        Args:
            coefficients: The values.
            directions: (any, channel, term) whose products with themselves add up to their
                covariance; None: they are known.
            inclusion: (channel, term) how sure it is that a term is there; None: it is known.
        """
        self._forget()
        self.coefficients.copy_(coefficients)
        self.directions.zero_()
        self.inclusion.zero_()
        if directions is not None:  # as few as have the same covariance
            _, size, axes = torch.linalg.svd(directions.double().flatten(1), full_matrices=False)
            rank = min(len(self.directions), len(size))
            few = size[:rank, None] * axes[:rank]
            self.directions[:rank] = few.reshape(-1, *coefficients.shape).to(self.directions)
        if inclusion is not None:
            self.inclusion.copy_(inclusion)

    def changed_by(self, change: Tensor) -> EquationPath:
        """One with other coefficients, for each path of states (path, ...).

        Args:
            change: (path, channel, term), in scaled units; one row for all paths.
        """
        other = copy(self)
        other._forget()
        if len(change) == 1:
            coefficients = self.coefficients + change[0].to(self.coefficients)
            other._buffers = {**self._buffers, "coefficients": coefficients}
        else:
            other.change = change
        return other

    def factors(self) -> Tensor:
        """(channel, term) float64: a coefficient in scaled units over that in the user's."""
        units = self.units.cpu()
        channels = self.grid.channels
        scale, time, covariates = units[:channels], units[channels], units[channels + 1 :]
        found = torch.ones(channels, len(self.terms), dtype=torch.float64)
        for k, term in enumerate(self.terms):
            size = time * torch.prod(scale ** torch.tensor(term.powers, dtype=torch.float64))
            for along, order in zip(self.waves, term.derivative, strict=True):
                size = size / (along.direction * along.length) ** order
            for channel, axis in term.slopes:
                along = self.waves[axis]
                size = size * scale[channel] / (along.direction * along.length)
            if term.covariate is not None and term.covariate < self.num_covariates:
                size = size * covariates[term.covariate]
            found[:, k] = size / scale
        return found

    def forward(self, zeta: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Drift, shaped as ζ (..., n_ζ), at covariates and controls (..., p + c) if any.

        With coefficients for each path ζ is (path, ..., n_ζ), or (1, ..., n_ζ).
        """
        linear, products, dense = self._parts(zeta)
        w = self.grid.unflatten(zeta) + self.reference
        count = len(w) if self.change is None else max(len(w), len(self.change))
        total = w.new_zeros(count, *w.shape[1:])
        known: dict[Any, Tensor] = {}
        at: list[Tensor] | None = None
        slopes: dict[tuple[int, int], Tensor] = {}
        for factors, channel, covariate, rows, term in (*linear, *products):
            if factors not in known:
                powers, static, sloped = factors
                if sum(powers) == 1 and static is None and not sloped:
                    known[factors] = w.select(-self.grid.ndim - 1, powers.index(1))
                else:
                    if at is None:
                        up = _along(w, [both[0] for both in dense])
                        at = list(up.unbind(-self.grid.ndim - 1))
                    product = _product(at, powers)
                    for slope in sloped:
                        if slope not in slopes:
                            c, axis = slope
                            ways = [both[k == axis] for k, both in enumerate(dense)]
                            slopes[slope] = _along(w.select(-self.grid.ndim - 1, c), ways)
                        product = product * slopes[slope]
                    known[factors] = product if static is None else product * self.statics[static]
            part = _along(known[factors], rows)
            if self.change is not None:
                weight = self.coefficients[channel, term] + self.change[:, channel, term]
                part = part * weight.to(part).reshape(-1, *(1,) * (part.ndim - 1))
            if covariate is not None and covariates is not None:
                value = self._input(covariates, covariate)
                part = part * value[(..., *(None,) * self.grid.ndim)]
            total.select(-self.grid.ndim - 1, channel).add_(part)
        return self.grid.flatten(total)

    def _input(self, inputs: Tensor, k: int) -> Tensor:
        """A covariate in scaled units, or a control in the user's, (...)."""
        value = inputs[..., k]
        if k < self.num_covariates:
            return value
        mean, size = self.controls[k - self.num_covariates].to(value)
        return mean + size * value

    def _parts(self, like: Tensor) -> tuple[list[Any], list[Any], list[list[Tensor]]]:
        """Terms that are linear and others, as matrices along axes; and those to finer points.

        The last are of values and of slopes, for each axis.
        """
        key = like.dtype, like.device
        if self._made is None or self._made[0] != key:
            self._made = key, *self._matrices(like)
        return self._made[1:]

    def _matrices(self, like: Tensor) -> tuple[list[Any], list[Any], list[list[Tensor]]]:
        lines = [line.double().cpu().numpy() for line in self._lines()]
        finer = [along.refined(line) for along, line in zip(self.waves, lines, strict=True)]
        groups: dict[tuple[Any, ...], list[np.ndarray]] = {}
        values = self.coefficients.double().cpu().numpy()
        for channel, k in np.argwhere(values):
            term = self.terms[k]
            rows = []
            for axis, (along, order) in enumerate(zip(self.waves, term.derivative, strict=True)):
                even = term.is_even(axis, along.kind == "odd")
                row = along.derivative(order, lines[axis], even) * along.length**order
                rows.append(row @ finer[axis] if _is_linear(term) else row)
            if self.change is None:
                rows[0] = rows[0] * values[channel, k]
            alone = len(rows) > 1 or self.change is not None
            key = term.factors, int(channel), term.covariate, int(k) if alone else None
            if key in groups:  # in one dimension derivatives of a product add up
                rows[0] = rows[0] + groups[key][0]
            groups[key] = rows
        alike = {term.factors for term in self.terms if _is_linear(term)}
        made = [
            (*which, [torch.as_tensor(row).to(like) for row in rows], k)
            for (*which, k), rows in groups.items()
        ]
        linear = [part for part in made if part[0] in alike]
        others = [part for part in made if part[0] not in alike]
        steep = [
            along.refined(line, 1) * along.length
            for along, line in zip(self.waves, lines, strict=True)
        ]
        return (
            linear,
            others,
            [
                [torch.as_tensor(row).to(like) for row in both]
                for both in zip(finer, steep, strict=True)
            ],
        )

    def _lines(self) -> Iterable[Tensor]:
        return (getattr(self, f"line_{axis}") for axis in range(len(self.waves)))

    def rates(self, covariates: Tensor | None = None) -> Tensor:
        """(..., channel, *waves) by which waves of the linear part grow, complex128.

        Linear about the mean of the reference, as a field that is carried along by a large one
        differs little from it. Of each channel's own terms, and of such derivatives only as leave
        a wave as it is: on axes with walls those of even order. Covariates are (..., p). On rings
        waves are those of the fast Fourier transform, of the last axis half of them; the shortest
        of an even number, which has no sign, neither grows nor decays.
        """
        numbers = [self._wavenumbers(axis) for axis in range(len(self.waves))]
        shape = tuple(map(len, numbers))
        lead = () if covariates is None else covariates.shape[:-1]
        found = torch.zeros(*lead, self.grid.channels, *shape, dtype=torch.complex128)
        values = self.coefficients.double().cpu()
        gain = float(next(iter(self._lines())).double().sum()) or 1.0
        mean = (self.reference.double().flatten(1).mean(1) / gain).tolist()
        for channel, k in values.nonzero().tolist():
            term = self.terms[k]
            bounded = (
                along.kind != "ring" and order % 2
                for along, order in zip(self.waves, term.derivative, strict=True)
            )
            varies = term.covariate is not None and term.covariate >= self.num_covariates
            if not term.powers[channel] or any(bounded) or varies:
                continue
            if term.static is not None or term.slopes:
                continue
            slope = float(term.powers[channel])  # of the product by the channel, at the mean
            for other, power in enumerate(term.powers):
                slope *= mean[other] ** (power - (other == channel))
            factor = torch.ones((), dtype=torch.complex128)
            for number, along, order in zip(numbers, self.waves, term.derivative, strict=True):
                factor = factor[..., None] * torch.as_tensor((1j * number * along.length) ** order)
            size: Any = values[channel, k] * slope
            if term.covariate is not None and covariates is not None:
                size = size * covariates[..., term.covariate].double().cpu()
                size = size[(..., *(None,) * len(shape))]
            found[(..., channel, *(slice(None),) * len(shape))] += size * factor
        for axis, number in enumerate(numbers):
            lost = torch.as_tensor(np.isnan(number))
            mask = lost.reshape([-1 if k == axis else 1 for k in range(len(shape))])
            found = found.where(~mask, 0)
        return found

    def _wavenumbers(self, axis: int) -> np.ndarray:
        """Angular, in the order of the transform; NaN: no derivative is known of such a wave."""
        along, n = self.waves[axis], self.grid.coarse[axis]
        if along.kind != "ring":
            return along.wavenumbers
        last = axis == len(self.waves) - 1
        k = np.fft.rfftfreq(n, 1 / n) if last else np.fft.fftfreq(n, 1 / n)
        k = np.where(2 * np.abs(k) == n, np.nan, k)
        return np.asarray(2 * np.pi / along.length * k)

    def linear_part(self, covariates: Tensor | None, like: Tensor) -> LinearPart:
        """The linear part at covariates (row, p), for states like a tensor (..., latent)."""
        complexes = torch.complex(like.new_empty(0), like.new_empty(0)).dtype
        rates = self.rates(covariates)
        rates = (rates if covariates is not None else rates[None]).to(like.device, complexes)
        zeta, ndim, coarse = self.grid.num_zeta, len(self.waves), self.grid.coarse
        walls = [axis for axis, along in enumerate(self.waves) if along.kind != "ring"]
        rings = [axis - ndim for axis in range(ndim) if axis not in walls]
        synthesis = {axis: self.waves[axis].synthesis(np.ones(1)) for axis in walls}
        back = {axis - ndim: torch.as_tensor(w).to(like) for axis, w in synthesis.items()}
        forth = {
            axis - ndim: torch.as_tensor(np.linalg.inv(w)).to(like) for axis, w in synthesis.items()
        }
        half = rings[-1:] == [-1]  # a real transform, where the last axis is a ring

        def to_waves(z: Tensor) -> Tensor:
            field = self.grid.unflatten(z[..., :zeta])
            for axis, matrix in forth.items():
                field = torch.movedim(torch.movedim(field, axis, -1) @ matrix.mT, -1, axis)
            if not rings:
                return field.to(complexes)
            found: Tensor = (torch.fft.rfftn if half else torch.fft.fftn)(field, dim=rings)
            return found

        def from_waves(amplitudes: Tensor) -> Tensor:
            if half:
                sizes = [coarse[axis] for axis in rings]
                field = torch.fft.irfftn(amplitudes, s=sizes, dim=rings)
            else:
                field = torch.fft.ifftn(amplitudes, dim=rings).real if rings else amplitudes.real
            for axis, matrix in back.items():
                field = torch.movedim(torch.movedim(field, axis, -1) @ matrix.mT, -1, axis)
            fields = self.grid.flatten(field)
            return nn.functional.pad(fields, (0, like.shape[-1] - zeta))

        return LinearPart(rates, to_waves, from_waves)


def _is_linear(term: Term) -> bool:
    """Whether it is a derivative of one field, and nothing else."""
    return term.degree == 1 and term.static is None and not term.slopes


def _product(fields: Sequence[Tensor], powers: Sequence[int]) -> Tensor:
    found: Tensor | None = None
    for field, power in zip(fields, powers, strict=True):
        for _ in range(power):
            found = field if found is None else found * field
    return torch.ones_like(fields[0]) if found is None else found


def _along(field: Tensor, rows: Sequence[Tensor]) -> Tensor:
    """Matrices (out, in) along the last axes, one for each."""
    ndim = len(rows)
    for axis, matrix in enumerate(rows):
        if axis == ndim - 1:
            field = field @ matrix.mT
        else:
            field = torch.movedim(
                torch.movedim(field, axis - ndim, -1) @ matrix.mT, -1, axis - ndim
            )
    return field
