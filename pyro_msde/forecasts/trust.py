"""Signs that a forecast is not to be trusted, which need no truth.

Each is measured on forecasts of validation trajectories, whose errors are known, and is given as a
multiple of what is still usual there:

- start: (y₀ − E[y|z₀])²/Var[y|z₀], averaged over the initial field. It is no field that the model
  knows how to encode: other wave numbers, other shapes, another noise.
- outside: the share of latent states, over paths and times, beyond the training data's ranges.
- spread: the variance of the paths. The forecast itself claims to know less.
- drift: ∫ δγ dt, δγ being what the drift, as it is integrated, and the drift that was learned
  differ by along the encoded validation trajectories: weights or adjustments were changed since.
  Its size is compared with that of the error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from pyro_msde.data import beside
from pyro_msde.protocols import Model
from pyro_msde.runs import register_adjustment
from pyro_msde.sde import Dynamics

__all__ = ["LIMITS", "Trust", "doubt", "share_outside", "start_misfit", "variance_over_paths"]

# Multiples of what validation shows at which a forecast is doubted, chosen on validation of seven
# cases: no usual forecast exceeds one, and 90 % of spoilt drifts are doubted
# (`benchmarks.studies.trust_limits`).
LIMITS: Mapping[str, float] = {"start": 2.5, "outside": 2.5, "spread": 3.0, "drift": 3.0}
_CLAIMED = 1.0  # the misfit that a model claims
_LEAST_OUTSIDE = 0.05  # share of states outside that is usual: ranges are those of finite data


@register_adjustment
@dataclass(frozen=True)
class Trust:
    """What is usual of forecasts, by which `Forecast.diverged` tells those that are not.

    An `Adjustment` that adjusts nothing. Runs of earlier versions have none, and of their forecasts
    only start and states outside are looked at.

    Attributes:
        misfit: Largest misfit of an initial field, in variances.
        outside: Largest share of latent states outside the ranges of training.
        variance: (latent,) of paths, averaged over times.
        error: (latent,) mean squared error of the paths' mean, averaged over times.
        states: (trajectory, time, latent) encoded trajectories.
        rates: Shaped alike, the learned drift there.
        times: (trajectory, time) float64, theirs, in scaled units.
        covariates: (trajectory, p), theirs, or (trajectory, time, p + c) with their controls; None:
            they have none.
    """

    name: ClassVar[str] = "trust"
    is_random: ClassVar[bool] = False

    misfit: float
    outside: float
    variance: Tensor
    error: Tensor
    states: Tensor
    rates: Tensor
    times: Tensor
    covariates: Tensor | None = None

    def apply(self, dynamics: Dynamics) -> Dynamics:
        """The dynamics as they are."""
        return dynamics

    def to_dict(self) -> dict[str, Any]:
        """Its numbers and tensors."""
        return {name: x for name, x in vars(self).items() if x is not None}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], model: Model) -> Trust:
        """What `to_dict` gave.

        Raises:
            ValueError: Numbers without sense, or of another model.
        """
        wanted = {"misfit", "outside", *_AXES}
        if not wanted <= saved.keys() <= wanted | {"covariates"}:
            raise ValueError(f"trust: holds {sorted(saved)}, not {sorted(wanted)}")
        for name in ("misfit", "outside"):
            value = saved[name]
            if not (isinstance(value, float) and 0 <= value < float("inf")):
                raise ValueError(f"trust.{name}: {value!r} is no number from zero on")
        for name in saved.keys() - {"misfit", "outside"}:
            value = saved[name]
            if not (isinstance(value, Tensor) and value.is_floating_point()):
                raise ValueError(f"trust.{name}: no tensor of numbers")
            if not bool(value.isfinite().all()):
                raise ValueError(f"trust.{name}: NaN or infinite values")
        trust, num_latent = cls(**saved), model.num_latent
        rows, num_times = trust.times.shape if trust.times.ndim == 2 else (0, 0)
        for name, axes in _AXES.items():
            shape = {1: (num_latent,), 2: (rows, num_times), 3: (rows, num_times, num_latent)}[axes]
            if getattr(trust, name).shape != shape or not rows or num_times < _FEWEST:
                raise ValueError(f"trust.{name}: {tuple(getattr(trust, name).shape)}, not {shape}")
        inputs = trust.covariates
        if inputs is not None and inputs.shape[:-1] not in ((rows,), (rows, num_times)):
            raise ValueError(f"trust.covariates: not of {rows} trajectories")
        return trust

    def to(self, like: Tensor) -> Trust:
        """With the dtype and on the device of a tensor; times stay float64."""
        values: dict[str, Any] = {
            name: x.to(like) if isinstance(x, Tensor) else x for name, x in vars(self).items()
        }
        return Trust(**{**values, "times": self.times.to(like.device)})

    def rates_under(self, drift: Callable[..., Tensor]) -> Tensor:
        """A drift at `states`, shaped as these and averaged over draws.

        Args:
            drift: γ(z, t, covariates), z (draw, row, 1, latent), as it is integrated from the rows
                of `states`, time after time of each trajectory.
        """
        shared = self.covariates
        if shared is not None:
            shared = beside(shared, self.states).flatten(0, 1)
        z = self.states.flatten(0, 1)[None, :, None]
        now = drift(z, self.times.reshape(-1, 1), covariates=shared)
        return now.mean(0).reshape(self.states.shape)

    def departure(self, rates: Tensor, duration: float) -> Tensor:
        """∫ δγ dt by the trapezoidal rule over its root mean squared error: a number.

        Args:
            rates: The drift of a forecast at `states`.
            duration: Scaled time that the forecast lasts: so far along the trajectories.
        """
        change = rates - self.rates
        steps = torch.diff(self.times, dim=1).to(change)[..., None]
        moved = (0.5 * (change[:, 1:] + change[:, :-1]) * steps).cumsum(1)
        since = self.times[:, 1:] - self.times[:, :1]
        within = since <= max(duration, float(since[:, 0].max())) * (1 + 1e-9)
        return (moved.square() / self.error).mean(-1)[within].mean().sqrt()

    def __repr__(self) -> str:
        """The misfit, and how many trajectories are known."""
        rows, num_times = self.times.shape
        return f"Trust(misfit {self.misfit:.3g}, {rows} trajectories at {num_times} times)"


_AXES = {"variance": 1, "error": 1, "states": 3, "rates": 3, "times": 2}
_FEWEST = 2  # snapshots of a trajectory


def start_misfit(law: Distribution, fields: Tensor, observed: Tensor | None) -> Tensor:
    """(batch,) mean of (y − E[y|z])²/Var[y|z] over what was observed, fields (batch, …)."""
    misfit = (fields - law.mean).square() / law.variance
    if observed is None:
        return misfit.flatten(1).mean(1)
    count = observed.flatten(1).sum(1).clamp(min=1)
    return misfit.where(observed, 0).flatten(1).sum(1) / count


def share_outside(paths: Tensor, box: Tensor) -> Tensor:
    """(batch,) share of states outside the training data's ranges.

    Args:
        paths: (draw, sample, batch, time, latent).
        box: (2, latent) of a `Region`, which has half of the range on either side of it.
    """
    low, high = box
    room = 0.25 * (high - low)
    outside = (paths < low + room) | (paths > high - room)
    return outside.double().mean((0, 1, 3, 4))


def variance_over_paths(paths: Tensor) -> Tensor:
    """(batch, latent) variance over (draw, sample, batch, time, latent), averaged over times."""
    each = paths.flatten(0, 1).double()
    return each.var(0, correction=min(1, len(each) - 1)).mean(1)


def doubt(
    trust: Trust | None,
    paths: Tensor,
    *,
    box: Tensor | None,
    misfit: Tensor,
    departure: Tensor | None,
) -> dict[str, Tensor]:
    """Signs by name, (batch,) float64 each: 1 is where a forecast is not to be trusted.

    Args:
        trust: What is usual; None: not known.
        paths: (draw, sample, batch, time, latent).
        box: (2, latent) of the `Region`; None: not known.
        misfit: (batch,) of the initial fields.
        departure: Of the drift; None: not known.
    """
    signs = {"start": misfit.double() / (_CLAIMED if trust is None else trust.misfit)}
    if box is not None:
        usual = 0.0 if trust is None else trust.outside
        signs["outside"] = share_outside(paths, box.to(paths)) / max(usual, _LEAST_OUTSIDE)
    if trust is not None:
        ratio = variance_over_paths(paths) / trust.variance.to(paths.device).double()
        signs["spread"] = ratio.mean(-1).sqrt()
    if departure is not None:
        signs["drift"] = departure.double().expand(len(misfit))
    return {name: value.cpu() / LIMITS[name] for name, value in signs.items()}
