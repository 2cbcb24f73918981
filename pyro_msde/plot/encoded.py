"""Fields as a trained model sees them: the encoder's mean of z, and each scale's part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_msde.data import Link, TimeUnits, cropped
from pyro_msde.forecasts import controls_of_fields, encodable, initial_fields, scaled_covariates
from pyro_msde.isolation import Isolation
from pyro_msde.priors import private
from pyro_msde.protocols import FittedModel, Model

__all__ = ["Encoded", "Scales"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Scales:
    """Fields and their parts, each (field, channel, *space) in the user's units.

    They are NaN where the grid has no field.

    Attributes:
        field: y.
        macro: T_p ζ, and the fit's reference.
        total: T_p ζ + Σ_y S_η D(η), and the reference.
    """

    field: Array
    macro: Array
    total: Array


@dataclass(frozen=True)
class Encoded:
    """Fields, the encoder's mean of their z, and the draw of θ that this was made with.

    Attributes:
        fields: (field, channel, *space) float64 in the user's units, NaN in gaps.
        scaled: The same in scaled units, less the fit's reference, as the model sees them: with the
            padding, gaps filled in.
        unit: Scaled units in the user's, (channel, 1, …).
        reference: What was subtracted, in the user's units, broadcast against the fields.
        z: (field, latent) in scaled units.
        theta: The model at that draw of θ.
        covariates: (field, p + c) in scaled units, with controls; None: there are none.
        link: Through which the model sees fields; `unit` and `reference` are of what it makes of
            them then. None: as they are.
    """

    model: Model
    fields: Tensor
    scaled: Tensor
    unit: Tensor
    reference: Tensor
    z: Tensor
    theta: Any
    covariates: Tensor | None
    link: Link | None = None

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        fit: FittedModel,
        y: Any,
        *,
        covariates: Any = None,
        controls: Any = None,
        times: Any = None,
        single: bool = False,
    ) -> Encoded:
        """Encode.

        Args:
            fit: The `Fit`. Of a posterior over θ one draw is taken.
            y: One field or a batch of them, as `fit.predict` takes them.
            covariates: As for `fit.predict`.
            controls: (field, c) or (c,) at the fields' times, if the trajectories had controls.
            times: (field,) of the fields, which a mean cycle asks for.
            single: Refuse a batch.

        Raises:
            ValueError: Fields of another grid or not finite, a batch where one is wanted, or no
                times where the fit's reference is a mean cycle.
        """
        fields, batched = initial_fields(fit, y, "y")
        if single and batched:
            raise ValueError(f"y: {len(fields)} fields. Pass one.")
        both = (
            scaled_covariates(fit, covariates, len(fields)),
            controls_of_fields(fit, controls, len(fields)),
        )
        given = [x for x in both if x is not None]
        inputs = torch.cat(given, 1) if given else None
        seen = fit.scaling.seen
        unit = seen.field_scale(fields, fit.model.grid.ndim)
        clock = _clock(fit, times, len(fields))
        with Isolation(0, fields.device).turn():
            theta = private(fit.model.bind(fit.guide.read_theta()))
            scaled, observed = encodable(fit.model, fit.scaling, fields, clock)
            gaps = {} if observed is None else {"observed": observed}
            z, _ = fit.guide.encode(scaled, theta, inputs, **gaps)
        if observed is not None:
            fields = fields.where(cropped(observed, fit.model.grid.padding), torch.nan)
        reference, link = seen.reference_at(clock, fields), fit.scaling.link
        return cls(fit.model, fields, scaled, unit, reference, z, theta, inputs, link)

    def in_units(self, scaled: Tensor) -> Tensor:
        """Scaled fields (field, channel, *space), or at coarse points, in the user's units.

        Fields on the model's grid lose the padding.
        """
        reference, grid = self.reference, self.model.grid
        if scaled.shape[2:] != grid.coarse:
            return self._of_link(cropped(scaled, grid.padding) * self.unit + reference)
        for axis, index in enumerate(grid.coarse_index, start=2):
            if reference.ndim and reference.shape[axis] > 1:
                inside = torch.as_tensor(index.clip(0, reference.shape[axis] - 1))
                reference = reference.index_select(axis, inside.to(scaled.device))
        return self._of_link(scaled * self.unit + reference)

    def _of_link(self, seen: Tensor) -> Tensor:
        return seen if self.link is None else self.link.inverse(seen)

    @torch.no_grad()
    def scales(self) -> Scales:
        """What each scale contributes to the fields.

        Raises:
            ValueError: The model has not the two experts of `Multiscale`.
        """
        if not hasattr(self.theta, "experts"):
            kind = type(self.model).__name__
            raise ValueError(f"fit: a {kind} has no two scales. Plot its forecasts instead.")
        macro, total = self.theta.experts(self.z)[0], self.theta.observe(self.z).mean
        parts, mask = [self.in_units(macro), self.in_units(total)], self.model.grid.mask
        if mask is not None:
            parts = [p.where(torch.tensor(mask, device=p.device), torch.nan) for p in parts]
        parts = [self.fields, *parts]
        return Scales(*(np.asarray(part.cpu()) for part in parts))


def _clock(fit: FittedModel, times: Any, count: int) -> Array:
    """(field,) times in the units of the fit's data; zero where nothing depends on them."""
    if times is None:
        if fit.scaling.reference.period is not None:
            raise ValueError(
                "times: the fit's reference is a mean cycle, which depends on them. Pass the "
                "fields' times."
            )
        return np.zeros(count)
    units = TimeUnits() if fit.metadata is None else fit.metadata.time_units
    clock = np.atleast_1d(units.numbers(times, "times"))
    if clock.shape != (count,) or not np.isfinite(clock).all():
        raise ValueError(f"times: shape {clock.shape} for {count} fields; a finite one for each.")
    return clock
