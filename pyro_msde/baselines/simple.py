"""The simple forecasts that stand beside every other one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pyro_msde.baselines.anomalies import Climatology, DampedPersistence, Persistence
from pyro_msde.baselines.gaussian import FittedBaseline
from pyro_msde.baselines.linear_inverse import LinearInverseModel

__all__ = ["Baseline", "simple_baselines"]


class Baseline(Protocol):
    """What learns from training data, and then forecasts: `fit(train, validation, weights=…)`."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def fit(self) -> Callable[..., FittedBaseline]: ...  # noqa: D102


def simple_baselines(period: float | None = None) -> tuple[Baseline, ...]:
    """Persistence, climatology, damped persistence and the linear inverse model.

    Args:
        period: Of the mean cycle, in the data's unit of time; None: no cycle.
    """
    return (
        Persistence(),
        Climatology(period),
        DampedPersistence(period),
        LinearInverseModel(period),
    )
