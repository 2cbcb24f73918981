"""Posterior predictive (Ilersich & Nair 2025, App. F): a mixture over sampled paths.

    p(y) = (1/N) Σ_i p(y|z_i),     p(y|z) = N(T_p ζ + Σ_y S_η D(η), Σ_y) unless the model says else

given what the initial field leaves of itself (`pyro_msde/forecasts/residual_memory.py`).

Fields are decoded from the latent paths in chunks of time, and kept only if all of them fit in a
gigabyte, so that memory does not grow with the samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pyro_msde.checks import check_level, check_seed
from pyro_msde.data import Metadata, Scaling, to_numpy
from pyro_msde.forecasts.forecast_dataset import forecast_dataset
from pyro_msde.forecasts.mixtures import Mixture
from pyro_msde.forecasts.residual_memory import Residual
from pyro_msde.memory import memory_kept
from pyro_msde.protocols import BoundModel, Model
from pyro_msde.renaming import renamed_attribute

__all__ = ["Forecast"]

_CHUNK = 2**22  # numbers decoded at once
_KEEP = 2**30  # bytes of decoded fields that are kept rather than decoded again


@dataclass(frozen=True, repr=False)
class Forecast:
    """Predictive distribution of fields at given times. All results are detached, on the CPU.

    Shapes are (time, *field) for a single initial field and (batch, time, *field) for a batch of
    them, written (…, time, *field) below; field has a channel axis if the initial field had one.

    Attributes:
        times: (time,) float64, in the data's units; since `starts` where there are such.
        paths: (draw of θ, sample, batch, time, latent) latent paths in scaled units.
        batched: Whether a batch of initial fields was given.
        has_channel: Whether fields carry a channel axis.
        theta: The model at each draw of θ.
        signs: (batch,) each, why it may not be trusted, 1 being the limit: "start", the initial
            field is unlike what the model can encode; "outside", states are beyond the training
            data's; "spread", paths differ more than those of validation; "drift", the drift is not
            the one that was learned. The last two are missing from runs of earlier versions.
        sites: Values of the guide's sites at each draw of θ; empty where it is a point.
        metadata: Names, positions and units of the data of the fit; None: not known.
        reference: (batch or 1, time or 1, channel, *space) float64, the reference in the user's
            units, which results have added to them and are float64 then; axes of space may have
            length one. None: nothing was subtracted.
        starts: (batch,) times of the initial fields, where they differ; None: `times` hold for all.
        history: How many snapshots were given of each, the last of them the initial field.
        residual: What initial fields leave of themselves in later ones; None: nothing.
        coefficients: (θ, channel, term) of the drift's equation, in scaled units, at each draw;
            None: they are not random.
        opposites: (sample,) which of all paths, those of the first draw of θ first, has the
            opposite noise of each, itself if none has; None: all are independent.

    Where the grid has no field, on land or in a solid body, all results are NaN.
    """

    times: np.ndarray
    paths: Tensor
    batched: bool
    has_channel: bool
    model: Model
    theta: Sequence[BoundModel]
    scaling: Scaling
    signs: Mapping[str, Tensor] = field(default_factory=dict)
    sites: Sequence[Mapping[str, Tensor]] = ()
    metadata: Metadata | None = None
    reference: Tensor | None = None
    starts: np.ndarray | None = None
    history: int = 1
    residual: Residual | None = None
    coefficients: Tensor | None = None
    opposites: Tensor | None = None
    _cache: dict[str, Tensor] = field(default_factory=dict)
    _kept: list[Mixture] = field(default_factory=list)

    @property
    def valid_times(self) -> np.ndarray:
        """(time,) `times`, or (batch, time) where initial fields are of different times."""
        return self.times if self.starts is None else self.starts[:, None] + self.times

    @property
    def dates(self) -> np.ndarray | None:
        """`valid_times` as dates, where the data of the fit have dates; None elsewhere.

        numpy's datetime64 in the Gregorian calendar, cftime's objects in others; shaped alike.
        """
        units = None if self.metadata is None else self.metadata.time_units
        return None if units is None else units.dates(self.valid_times)

    @property
    def num_samples(self) -> int:
        """Draws of θ times paths for each."""
        return self.paths.shape[0] * self.paths.shape[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """(…, time, *field): the shape of the moments, without decoding anything."""
        grid = self.model.grid
        field_shape = (grid.channels, *grid.data_shape) if self.has_channel else grid.data_shape
        batch = (self.paths.shape[2],) if self.batched else ()
        return (*batch, len(self.times), *field_shape)

    @property
    def grid(self) -> Any:
        """The model's `Grid`, or its `SensorGraph`."""
        return self.model.grid

    @property
    def mask(self) -> Tensor | None:
        """(*field) bool, True where there is a field; None: everywhere."""
        mask = self.model.grid.mask
        if mask is None:
            return None
        return torch.tensor(mask if self.has_channel else mask[0])

    @property
    def reference_field(self) -> Tensor | None:
        """`reference` in the layout of `mean`, against which it broadcasts; None: nothing."""
        if self.reference is None:
            return None
        reference = self.reference if self.has_channel else self.reference.squeeze(2)
        return reference if self.batched else reference[0]

    @property
    def latent(self) -> Tensor:
        """(sample, …, time, latent): macroscale in the fields' units, then the microscale.

        Modes of several channels have no units: their coefficients are scaled ones. Of fields with
        a link it is in the units of what the model sees.
        """
        z = self.paths.flatten(0, 1).clone()
        grid = self.model.grid
        per_state = torch.tensor(self.scaling.seen.channels, dtype=z.dtype)
        if grid.num_zeta == len(per_state) * grid.num_coarse:
            z[..., : grid.num_zeta] *= per_state.repeat_interleave(grid.num_coarse)
        return z if self.batched else z[:, 0]

    @property
    def diverged(self) -> Tensor:
        """(…) in [0, 1]: above one half, a forecast is not to be trusted.

        It is then likely to err by over three times what validation forecasts do. It is s/(1 + s)
        of the largest sign s in `signs`, and 1 if a path is not finite; docs/trust.md says how
        often it is wrong.
        """
        finite = self.paths.isfinite().flatten(3).all(-1).all(1).all(0)
        ratios = [sign.nan_to_num(torch.inf) for sign in self.signs.values()]
        shares = [(~finite).double(), *(1 - 1 / (1 + ratio) for ratio in ratios)]
        doubt = torch.stack(shares).amax(0)
        return doubt if self.batched else doubt[0]

    @property
    def mean(self) -> Tensor:
        """(…, time, *field), eq. (33)."""
        mean = self._moment("mean")
        if self.scaling.link is not None:  # of fields themselves
            return mean
        mean, reference = mean * self._scale(mean.dtype), self.reference_field
        return mean if reference is None else mean + reference

    @property
    def sd(self) -> Tensor:
        """(…, time, *field), root of `var`."""
        parts = [self._moment(name) for name in ("reconstruction", "propagated", "parameter")]
        return sum(parts[1:], parts[0]).sqrt() * self._scale(parts[0].dtype)

    @property
    def var(self) -> Tensor:
        """(…, time, *field), eq. (34): the sum of its three parts. float64, as these."""
        return self.reconstruction_var + self.propagated_var + self.parameter_var

    @property
    def reconstruction_var(self) -> Tensor:
        """(…, time, *field) float64, Σ_y averaged over θ."""
        return self._variance("reconstruction")

    @property
    def propagated_var(self) -> Tensor:
        """(…, time, *field) float64, of the initial state and of the latent noise."""
        return self._variance("propagated")

    @property
    def parameter_var(self) -> Tensor:
        """(…, time, *field) float64, of θ; zero for a point estimate."""
        return self._variance("parameter")

    def cdf(self, values: Any) -> Tensor:
        """Predictive distribution function at `values`, both (…, time, *field): the PIT.

        Raises:
            ValueError: Values of another shape, or NaN.
        """
        given = to_numpy(values, "values")
        if np.isnan(given).any():
            raise ValueError(f"values: NaN, {int(np.isnan(given).sum())} in all. Fill them.")
        target = self._as_batch(torch.as_tensor(given))
        parts = ((w.where, {"cdf": w.cdf(target[:, w.where])}) for w in self.mixtures())
        return self._collected(parts)["cdf"]

    def atoms(self, values: Any) -> Tensor | None:
        """Whether each value (…, time, *field) has a probability of its own; None: none has any.

        Zero has, where the fit has a link with an offset. There `cdf` jumps.
        """
        if self.scaling.link is None:
            return None
        target = self._as_batch(torch.as_tensor(to_numpy(values, "values")))
        ours = target if self.has_channel else target.unsqueeze(2)
        found = self.scaling.link.has_mass(ours)
        found = found if self.has_channel else found.squeeze(2)
        return found if self.batched else found[0]

    def quantile(self, level: float) -> Tensor:
        """Quantile of the mixture at each point, (…, time, *field).

        Raises:
            ValueError: `level` is not one number inside (0, 1).
        """
        check_level("level", level)
        parts = ((w.where, {"quantile": w.quantile(level)}) for w in self.mixtures())
        return self._collected(parts)["quantile"]

    def to_xarray(self, quantiles: Sequence[float] = ()) -> xr.Dataset:
        """Mean, standard deviation and the parts of the variance, named and in units as the data.

        Of a field u these are `u_mean`, `u_sd`, `u_reconstruction_var`, `u_propagated_var`,
        `u_parameter_var` and `u_quantile`, (trajectory, time, *field) for a batch, (time, *field)
        for one initial field. Channels with names have such variables each, without an axis of
        channels. Positions are those of the data or else of the grid, and times are dates where the
        data had dates. `to_netcdf` of the Dataset writes a file that follows CF.

        Args:
            quantiles: Levels of `u_quantile` (quantile, …), inside (0, 1); none: it is left out.

        Raises:
            ValueError: A level outside (0, 1).
        """
        return forecast_dataset(self, quantiles)

    def chunks(self, seed: int = 0) -> Iterator[tuple[slice, Tensor]]:
        """Predictive draws (sample, …, chunk of time, *field), with the chunk's place in time."""
        generator = torch.Generator().manual_seed(check_seed("seed", seed))
        for window in self.mixtures():
            draws = window.sample(generator)
            yield window.where, draws if self.batched else draws[:, 0]

    def mixtures(self, *, keep: bool = True) -> Iterator[Mixture]:
        """Mixtures over θ and paths, chunk after chunk of time, with a batch axis in any case.

        Args:
            keep: Hold the fields for the next time, if they are small.
        """
        grid = self.model.grid
        numbers = self.paths[..., 0].numel() * grid.channels * grid.num_points
        if not self._kept and (not keep or numbers * self.paths.element_size() > _KEEP):
            yield from self._decode()
            return
        if not self._kept:
            self._kept[:] = list(self._decode())  # at once: other threads may look
        yield from self._kept

    windows = renamed_attribute("windows", "mixtures")

    def _variance(self, name: str) -> Tensor:
        """In the user's units, whose squares float32 may not hold."""
        return self._moment(name).double() * self._scale(torch.float64).square()

    def _scale(self, dtype: torch.dtype) -> Tensor:
        """Of the moments' units in the user's, broadcast to fields."""
        grid = self.model.grid
        if self.scaling.link is not None:
            return torch.ones((), dtype=dtype)
        scale = self.scaling.field_scale(torch.empty(0, dtype=dtype), grid.ndim)
        return scale if self.has_channel else scale.squeeze(0)

    def _moment(self, name: str) -> Tensor:
        """(…, time, *field) in the units of the mixtures' moments."""
        if not self._cache:
            self._cache.update(self._collected((w.where, w.moments) for w in self.mixtures()))
        return self._cache[name]

    @torch.no_grad()
    def _decode(self) -> Iterator[Mixture]:
        grid = self.model.grid
        per_time = self.num_samples * self.paths.shape[2] * grid.channels * grid.num_points
        size = max(1, _CHUNK // per_time)
        seen, link = self.scaling.seen, self.scaling.link
        scale = seen.field_scale(torch.empty(0, dtype=torch.float64), grid.ndim)
        mask = None if grid.mask is None else torch.tensor(grid.mask)
        residual = self.residual
        left: dict[int, Tensor] = {}  # y₀ − μ_y of each draw's paths, if there is room for all
        room = per_time * self.paths.element_size() <= _KEEP
        for start in range(0, len(self.times), size):
            window = slice(start, min(start + size, len(self.times)))
            laws = [
                bound.observe(z[:, :, window].to(bound.diffusion.device))
                for bound, z in zip(self.theta, self.paths, strict=True)
            ]
            if residual is not None:
                for k, bound in enumerate(self.theta):
                    away = left[k] if k in left else residual.of(bound, k)
                    laws[k] = residual.given(laws[k], k, away, window)
                    if room:
                        left[k] = away
            reference = self.reference
            if link is not None:
                clock = np.atleast_2d(self.valid_times)[:, window]
                reference = seen.reference_at(clock, scale) if seen.reference else None
            elif reference is not None and reference.shape[1] > 1:
                reference = reference[:, window]
            yield Mixture(
                window,
                laws,
                scale,
                self.has_channel,
                reference,
                mask,
                grid.padding,
                link,
                self.opposites,
            )

    def _as_batch(self, values: Tensor) -> Tensor:
        """(batch, time, *field) from the user's layout."""
        expected = self.shape
        if tuple(values.shape) != expected:
            raise ValueError(f"values: shape {tuple(values.shape)}; the forecast is {expected}.")
        return values if self.batched else values[None]

    @memory_kept()
    def _collected(self, parts: Iterable[tuple[slice, dict[str, Tensor]]]) -> dict[str, Tensor]:
        """The user's layout from (batch, chunk, *field) of each window of time.

        Into arrays made beforehand: small ones kept from each window, between the large ones that
        it frees, would let memory grow by these.
        """
        whole: dict[str, Tensor] = {}
        for where, part in parts:
            for name, value in part.items():
                if name not in whole:
                    shape = (value.shape[0], len(self.times), *value.shape[2:])
                    whole[name] = value.new_empty(shape)
                whole[name][:, where] = value
        return whole if self.batched else {name: value[0] for name, value in whole.items()}

    def __repr__(self) -> str:
        """Shapes."""
        batch = f"{self.paths.shape[2]} initial fields, " if self.batched else ""
        return (
            f"Forecast({batch}{len(self.times)} times in [{self.times[0]:g}, {self.times[-1]:g}], "
            f"{self.num_samples} samples)"
        )
