"""Posterior predictive (Ilersich & Nair 2025, App. F): a mixture of Gaussians over sampled paths.

    μ_{y,i} = T_p ζ_i + Σ_y S_η D(η_i),     p(y) = (1/N) Σ_i N(μ_{y,i}, Σ_y)

    mean (33) = average of μ_{y,i};   variance (34) = Σ_y (reconstruction) + SampleVar{μ_{y,i}}

The sample variance is split by the law of total variance into what differs between draws of θ
(parameter) and the rest (propagated). Fields are decoded from the latent paths in chunks of time,
and kept only if all of them fit in a gigabyte, so that memory does not grow with the samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_msde.mixture import Mixture, decoded
from pyro_msde.scaling import Scaling

__all__ = ["Forecast"]

_CHUNK = 2**22  # numbers decoded at once
_KEEP = 2**30  # bytes of decoded fields that are kept rather than decoded again


@dataclass(frozen=True, repr=False)
class Forecast:
    """Predictive distribution of fields at given times. All results are detached, on the CPU.

    Shapes are (time, *field) for a single initial field and (batch, time, *field) for a batch of
    them, written (…, time, *field) below; field has a channel axis if the initial field had one.

    Attributes:
        times: (time,) float64.
        paths: (draw of θ, sample, batch, time, latent) latent paths in scaled units.
        batched: Whether a batch of initial fields was given.
        has_channel: Whether fields carry a channel axis.
        region: (draw of θ, 2, batch, latent) box in which the drift was learned; None: not known.
        sites: The values of the sites `<part>.theta` at each draw of θ.
    """

    times: np.ndarray
    paths: Tensor
    batched: bool
    has_channel: bool
    model: Any
    theta: Sequence[Any]
    scaling: Scaling
    region: Tensor | None = None
    sites: Sequence[Mapping[str, Tensor]] = ()
    _cache: dict[str, Tensor] = field(default_factory=dict)
    _kept: list[tuple[slice, Mixture]] = field(default_factory=list)

    @property
    def num_samples(self) -> int:
        """Draws of θ times paths for each."""
        return self.paths.shape[0] * self.paths.shape[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """(…, time, *field): the shape of the moments, without decoding anything."""
        grid = self.model.grid
        field_shape = grid.field_shape if self.has_channel else grid.shape
        batch = (self.paths.shape[2],) if self.batched else ()
        return (*batch, len(self.times), *field_shape)

    @property
    def latent(self) -> Tensor:
        """(sample, …, time, latent): macroscale in the fields' units, then the microscale."""
        z = self.paths.flatten(0, 1).clone()
        grid = self.model.grid
        per_state = torch.tensor(self.scaling.channels, dtype=z.dtype)
        z[..., : grid.num_zeta] *= per_state.repeat_interleave(grid.num_coarse)
        return z if self.batched else z[:, 0]

    @property
    def diverged(self) -> Tensor:
        """(…) share of latent paths that leave the region where the drift was learned.

        They are held at its edge, and are no forecast. Paths that are not finite count too. Fewer
        steps of training, or a larger `beta`, keep paths together.
        """
        strayed = ~self.paths.isfinite()
        if self.region is not None:
            low, high = self.region.movedim(1, 0)[:, :, None, :, None]
            strayed |= (self.paths < low) | (self.paths > high)
        share = strayed.flatten(3).any(-1).double().mean((0, 1))
        return share if self.batched else share[0]

    @property
    def mean(self) -> Tensor:
        """(…, time, *field), eq. (33)."""
        return self._moment("mean")

    @property
    def var(self) -> Tensor:
        """(…, time, *field), eq. (34): the sum of its three parts."""
        return self.reconstruction_var + self.propagated_var + self.parameter_var

    @property
    def sd(self) -> Tensor:
        """(…, time, *field), root of `var`."""
        return self.var.sqrt()

    @property
    def reconstruction_var(self) -> Tensor:
        """(…, time, *field), Σ_y averaged over θ."""
        return self._moment("reconstruction")

    @property
    def propagated_var(self) -> Tensor:
        """(…, time, *field), of the initial state and of the latent noise."""
        return self._moment("propagated")

    @property
    def parameter_var(self) -> Tensor:
        """(…, time, *field), of θ; zero for a point estimate."""
        return self._moment("parameter")

    def cdf(self, values: Any) -> Tensor:
        """Predictive distribution function at `values`, both (…, time, *field): the PIT."""
        target = self._as_fields(torch.as_tensor(np.asarray(values)))
        out = torch.empty_like(target)
        for window, law in self._kept_mixtures():
            out[:, window] = law.cdf(target[:, window])
        return self._as_output(out)

    def quantile(self, level: float) -> Tensor:
        """Quantile of the mixture at each point, (…, time, *field), by bisection.

        Raises:
            ValueError: `level` is not inside (0, 1).
        """
        if not 0 < level < 1:
            raise ValueError(f"level={level}: give a number inside (0, 1), such as 0.95.")
        parts = [law.quantile(level) for _, law in self._kept_mixtures()]
        return self._as_output(torch.cat(parts, 1))

    def chunks(self, seed: int = 0) -> Iterator[tuple[slice, Tensor]]:
        """Predictive draws (sample, …, chunk of time, *field), with the chunk's place in time."""
        generator = torch.Generator().manual_seed(seed)
        for window, law in self._kept_mixtures():
            draws = law.draws(generator)
            if not self.has_channel:
                draws = draws.squeeze(3)
            yield window, draws if self.batched else draws[:, 0]

    def mixtures(self) -> Iterator[tuple[slice, Mixture]]:
        """The fields' law by chunks of time, with the chunk's place: several statistics, one pass.

        Fields keep their axes of batch and channel. Nothing is kept, so memory is that of a chunk;
        what other methods have kept is not decoded again.
        """
        yield from self._kept or self._mixtures()

    def _moment(self, name: str) -> Tensor:
        if not self._cache:
            self._cache.update(self._moments())
        return self._cache[name]

    def _moments(self) -> dict[str, Tensor]:
        parts: dict[str, list[Tensor]] = {}
        for _, law in self._kept_mixtures():
            for name, value in law.moments().items():
                parts.setdefault(name, []).append(value)
        return {k: self._as_output(torch.cat(v, 1)) for k, v in parts.items()}

    def _kept_mixtures(self) -> Iterator[tuple[slice, Mixture]]:
        """As `mixtures`, kept for the next time if they are small."""
        grid = self.model.grid
        numbers = self.paths[..., 0].numel() * grid.channels * grid.num_points
        if not self._kept and numbers * self.paths.element_size() <= _KEEP:
            self._kept.extend(self._mixtures())
        yield from self.mixtures()

    def _mixtures(self) -> Iterator[tuple[slice, Mixture]]:
        grid = self.model.grid
        per_time = self.num_samples * self.paths.shape[2] * grid.channels * grid.num_points
        size = max(1, _CHUNK // per_time)
        for start in range(0, len(self.times), size):
            window = slice(start, start + size)
            yield window, decoded(self.model, self.theta, self.paths[:, :, :, window], self.scaling)

    def _as_fields(self, values: Tensor) -> Tensor:
        """(batch, time, channel, *space) from the user's layout."""
        expected = self.shape
        if tuple(values.shape) != expected:
            raise ValueError(f"values: shape {tuple(values.shape)}; the forecast is {expected}.")
        values = values.to(self.paths.dtype)
        if not self.batched:
            values = values[None]
        return values if self.has_channel else values[:, :, None]

    def _as_output(self, fields: Tensor) -> Tensor:
        """The user's layout from (batch, time, channel, *space)."""
        if not self.has_channel:
            fields = fields.squeeze(2)
        return fields if self.batched else fields[0]

    def __repr__(self) -> str:
        """Shapes."""
        batch = f"{self.paths.shape[2]} initial fields, " if self.batched else ""
        return (
            f"Forecast({batch}{len(self.times)} times in [{self.times[0]:g}, {self.times[-1]:g}], "
            f"{self.num_samples} samples)"
        )
