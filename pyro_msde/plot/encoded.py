"""Fields as a trained model sees them: the encoder's mean of z, and each scale's part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_msde.data import cropped, without_gaps
from pyro_msde.forecasts import initial_fields, scaled_covariates
from pyro_msde.isolation import Isolation, place_of
from pyro_msde.priors import private
from pyro_msde.protocols import FittedModel, Model

__all__ = ["Encoded", "Scales"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Scales:
    """Fields and their parts, each (field, channel, *space) in the user's units.

    Attributes:
        field: y.
        macro: T_p ζ.
        total: T_p ζ + Σ_y S_η D(η).
    """

    field: Array
    macro: Array
    total: Array


@dataclass(frozen=True)
class Encoded:
    """Fields, the encoder's mean of their z, and the draw of θ that this was made with.

    Attributes:
        fields: (field, channel, *space) float64 in the user's units.
        scaled: The same in scaled units, as the model sees them.
        unit: Scaled units in the user's, (channel, 1, …).
        z: (field, latent) in scaled units.
        theta: The model at that draw of θ.
        covariates: (field, p) in scaled units, or None.
    """

    model: Model
    fields: Tensor
    scaled: Tensor
    unit: Tensor
    z: Tensor
    theta: Any
    covariates: Tensor | None

    @classmethod
    @torch.no_grad()
    def of(
        cls, fit: FittedModel, y: Any, *, covariates: Any = None, single: bool = False
    ) -> Encoded:
        """Encode.

        Args:
            fit: The `Fit`. Of a posterior over θ one draw is taken.
            y: One field or a batch of them, as `fit.predict` takes them.
            covariates: As for `fit.predict`.
            single: Refuse a batch.

        Raises:
            ValueError: Fields of another grid or not finite, or a batch where one is wanted.
        """
        fields, batched = initial_fields(fit, y, "y")
        if single and batched:
            raise ValueError(f"y: {len(fields)} fields. Pass one.")
        inputs = scaled_covariates(fit, covariates, len(fields))
        unit = fit.scaling.field_scale(fields, fit.model.grid.ndim)
        with Isolation(0, fields.device).turn():
            theta = private(fit.model.bind(fit.guide.read_theta()))
            scaled = (fields / unit).to(place_of(fit.model)[0])
            scaled, observed = without_gaps(scaled, fields, fit.model.grid)
            seen = {} if observed is None else {"observed": observed}
            z, _ = fit.guide.encode(scaled, theta, inputs, **seen)
        return cls(fit.model, fields, scaled, unit, z, theta, inputs)

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
        macro, total = (cropped(part, self.model.grid.padding) for part in (macro, total))
        parts = (self.fields, macro * self.unit, total * self.unit)
        return Scales(*(np.asarray(part.cpu()) for part in parts))
