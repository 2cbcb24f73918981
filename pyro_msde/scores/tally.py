"""Sums over trajectories and places that a comparison of forecasts is made of.

Values that are not observed, or at places of which training data tell nothing, are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

__all__ = ["Tally"]

Array = NDArray[Any]

_SUMS = ("error", "forecast", "product", "crps", "covered")


class Tally:
    """Weighted sums by forecaster, lead time and channel.

    Args:
        names: Of the forecasters.
        leads: (lead,).
        areas: (channel, place) weights.
    """

    def __init__(self, names: Sequence[str], leads: Array, areas: Array) -> None:
        self.names, self.leads, self.areas = list(names), leads, areas
        shape = (len(leads), len(areas))
        self._weight, self._truth = np.zeros(shape), np.zeros(shape)
        self._observed = np.zeros(shape, dtype=np.int64)
        self._sums = {name: {s: np.zeros(shape) for s in _SUMS} for name in names}

    def add_truth(self, slots: Array, truth: Array, climatology: Array) -> None:
        """Count the truth, (batch, time, *field), at leads number `slots` (time,)."""
        seen = self._seen(truth, climatology)
        ones = np.ones(seen.shape)
        np.add.at(self._weight, slots, self._over(ones, seen))
        np.add.at(self._truth, slots, self._over(self._split(truth - climatology) ** 2, seen))
        np.add.at(self._observed, slots, seen.sum((0, 3)))

    def add(
        self, name: str, slots: Array, truth: Array, climatology: Array, **scores: Array
    ) -> None:
        """Add a forecast at leads number `slots` (time,).

        Args:
            name: The forecaster's.
            slots: Which leads.
            truth: (batch, time, *field).
            climatology: The same shape.
            **scores: `mean`, `crps` and `covered`, of the same shape. What is NaN counts as
                infinitely bad.
        """
        seen = self._seen(truth, climatology)
        mean = np.where(np.isnan(scores["mean"]), np.inf, scores["mean"])
        with np.errstate(over="ignore", invalid="ignore"):
            parts = {
                "error": np.square(mean - truth),
                "forecast": np.square(mean - climatology),
                "product": (mean - climatology) * (truth - climatology),
                "crps": np.where(np.isnan(scores["crps"]), np.inf, scores["crps"]),
                "covered": scores["covered"].astype(np.float64),
            }
            for key, values in parts.items():
                np.add.at(self._sums[name][key], slots, self._over(self._split(values), seen))

    def dataset(self, *, units: Mapping[str, str], level: float) -> xr.Dataset:
        """The scores.

        Args:
            units: Of "field" and "time", where they are known.
            level: Of the interval that `covered` is about.
        """
        of = {s: np.stack([self._sums[n][s] for n in self.names]) for s in _SUMS}
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = of["error"] / self._truth
            scores = {
                "rmse": np.sqrt(of["error"] / self._weight),
                "nrmse": np.sqrt(ratio),
                "skill": 1 - ratio,
                "anomaly_correlation": of["product"] / np.sqrt(of["forecast"] * self._truth),
                "crps": of["crps"] / self._weight,
                "coverage": of["covered"] / self._weight,
            }
        several = len(self.areas) > 1
        dims = ("lead", "channel") if several else ("lead",)
        pick = slice(None) if several else 0
        field = {"units": units["field"]} if "field" in units else {}
        about: dict[str, dict[str, Any]] = {
            "rmse": {"long_name": "root mean square error", **field},
            "nrmse": {"long_name": "root mean square error over that of climatology"},
            "skill": {"long_name": "1 − mean square error over that of climatology"},
            "anomaly_correlation": {"long_name": "correlation of anomalies from climatology"},
            "crps": {"long_name": "continuous ranked probability score", **field},
            "coverage": {"long_name": f"coverage of the {level:.0%} interval", "level": level},
        }
        variables: dict[str, Any] = {
            name: (("forecaster", *dims), score[..., pick], about[name])
            for name, score in scores.items()
        }
        variables["observed"] = (dims, self._observed[:, pick], {"long_name": "values scored"})
        time = {"units": units["time"]} if "time" in units else {}
        coords: dict[str, Any] = {
            "forecaster": self.names,
            "lead": ("lead", self.leads, {"long_name": "lead time", **time}),
        }
        return xr.Dataset(variables, coords)

    def _split(self, values: Array) -> Array:
        """(batch, time, channel, place) of (batch, time, *field)."""
        return values.reshape(*values.shape[:2], *self.areas.shape)

    def _seen(self, truth: Array, climatology: Array) -> NDArray[np.bool_]:
        known = self._split(np.isfinite(truth) & np.isfinite(climatology))
        return known & (self.areas > 0)

    def _over(self, values: Array, seen: NDArray[np.bool_]) -> Array:
        """(time, channel) weighted sums of what is seen."""
        kept = np.where(seen, values, 0.0)
        return np.einsum("btcp,cp->tc", kept, self.areas)
