"""Several fits forecasting together: what their seeds leave open becomes parameter variance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain
from typing import Any

import torch

from pyro_msde.checks import check_kind, check_whole
from pyro_msde.data import Trajectories
from pyro_msde.forecasts import Forecast, first_snapshots, pooled_residual
from pyro_msde.interface.fitted import Fit
from pyro_msde.renaming import renamed_arguments

__all__ = ["Ensemble"]


@dataclass(frozen=True)
class Ensemble:
    """Fits of the same data whose forecasts are pooled with equal weight (Lakshminarayanan 2017).

    Attributes:
        fits: Trained from different seeds, on one grid and in one scaling.

    Raises:
        ValueError: No fits, two with one model, or of different grids, sizes or scalings, or points
            among others.
    """

    fits: Sequence[Fit]

    def __post_init__(self) -> None:
        """Check that states mean the same in all of them."""
        check_kind("fits", self.fits, Sequence, "a list of fits")
        for k, fit in enumerate(self.fits):
            check_kind(f"fits[{k}]", fit, Fit, "what pyro_msde.fit gave")
        if not self.fits:
            raise ValueError("fits: empty. Pass at least one.")
        first = self.fits[0]
        for k, other in enumerate(self.fits):
            if other.model.grid.to_dict() != first.model.grid.to_dict():
                raise ValueError(f"fits: number {k} is on another grid than the first.")
            if type(other.model) is not type(first.model):
                raise ValueError(
                    f"fits: number {k} is of a {type(other.model).__name__}, the first of a "
                    f"{type(first.model).__name__}. Pool fits of one kind of model."
                )
            if other.model.n_eta != first.model.n_eta:
                raise ValueError(
                    f"fits: number {k} has n_eta={other.model.n_eta}, the first "
                    f"{first.model.n_eta}. Pool fits of one size."
                )
            if (other.scaling, other.has_channel) != (first.scaling, first.has_channel):
                raise ValueError(
                    f"fits: number {k} was trained on other data than the first, or with another "
                    "reference or link."
                )
            if first.metadata is not None and other.metadata is not None:
                first.metadata.check(f"fits[{k}]", other.metadata)
            if other.is_point != first.is_point:
                raise ValueError(
                    f"fits: of number {k} and the first only one has an uncertain θ or drift. "
                    "Pool fits that are alike, all `jackknifed` or all without('jackknife')."
                )
        models = [id(fit.model) for fit in self.fits]
        for k, place in enumerate(models):
            if place in models[:k]:
                raise ValueError(
                    f"fits: numbers {models.index(place)} and {k} have one model. Pool fits that "
                    "were trained apart, each with a seed of its own."
                )

    @renamed_arguments(parameters="covariates")
    def predict(
        self, y0: Any, times: Any, *, num_samples: int = 64, seed: int = 0, **options: Any
    ) -> Forecast:
        """As `Fit.predict`, with the paths shared out among the fits, at least one for each.

        `parameter_var` is then what differs between fits, beside their own posteriors.

        Args:
            y0: One field or a batch of them.
            times: (time,) increasing.
            num_samples: Latent paths altogether, rounded up to equal shares.
            seed: Of the paths; fit k has seed + k.
            **options: Of `Fit.predict`.
        """
        num_samples = check_whole("num_samples", num_samples, 1)
        last = len(self.fits) - 1
        seed = check_whole("seed", seed, 0, 2**64 - 1 - last)  # each fit's is larger by one
        share = -(-num_samples // len(self.fits))
        each = [
            fit.predict(y0, times, num_samples=share, seed=seed + k, **options)
            for k, fit in enumerate(self.fits)
        ]
        common = set.intersection(*(set(fc.signs) for fc in each))
        signs = {
            name: torch.stack([fc.signs[name] for fc in each]).mean(0) for name in sorted(common)
        }
        return replace(
            each[0],
            paths=torch.cat([fc.paths for fc in each]),
            theta=list(chain.from_iterable(fc.theta for fc in each)),
            signs=signs,
            residual=pooled_residual(each),
            sites=list(chain.from_iterable(fc.sites for fc in each)),
            opposites=_pooled_opposites(each),
            coefficients=None,  # each fit's equation has terms of its own
            _cache={},
            _kept=[],
        )

    @renamed_arguments(parameters="covariates")
    def forecast(
        self, trajectories: Trajectories, times: Any = None, *, history: int = 1, **options: Any
    ) -> Forecast:
        """As `Fit.forecast`: forecast trajectories from their first snapshots, in one batch."""
        arguments = first_snapshots(self.fits[0], trajectories, times, history, options)
        return self.predict(**arguments)

    def calibrated(self, validation: Trajectories, **options: Any) -> Ensemble:
        """With each fit calibrated by itself; see `Fit.calibrated`."""
        return Ensemble([fit.calibrated(validation, **options) for fit in self.fits])


def _pooled_opposites(each: Sequence[Forecast]) -> torch.Tensor | None:
    """As in `Forecast`, of all paths after one another."""
    if all(fc.opposites is None for fc in each):
        return None
    own = [torch.arange(fc.num_samples) if fc.opposites is None else fc.opposites for fc in each]
    ends = [0, *accumulate(len(x) for x in own)]
    return torch.cat([x + first for x, first in zip(own, ends, strict=False)])
