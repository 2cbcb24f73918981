"""What `pyro_msde.calibration` found: scores by trajectory and lead time, and what they say.

Points and times of a trajectory err together; trajectories are independent. So everything is kept
by trajectory, and standard errors are those of means over trajectories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from pyro_msde.checks import check_level
from pyro_msde.scores.averages import mean_and_error, mean_of, root_ratio, skill_of
from pyro_msde.scores.predictive import Array
from pyro_msde.scores.report_xarray import report_dataset

__all__ = ["BandPower", "CalibrationReport", "relative_power"]


@dataclass(frozen=True, eq=False)
class BandPower:
    """Mean squares of fields in bands of wavenumber, summed over channels.

    Attributes:
        edges: (band + 1,) in cycles a length.
        truth: (trajectory, lead, band).
        mean: Of the predictive mean, likewise.
        draws: Of single predictive draws, averaged over them.
    """

    edges: Array
    truth: Array
    mean: Array
    draws: Array

    @classmethod
    def joined(cls, powers: Sequence[Any]) -> BandPower:
        """Of all trajectories, from the same bands of some of them each."""
        names = ("truth", "mean", "draws")
        return cls(
            powers[0].edges, *(np.concatenate([getattr(p, n) for p in powers]) for n in names)
        )


@dataclass(frozen=True, eq=False, repr=False)
class CalibrationReport:
    """Scores of a forecast, each the mean over snapshots in equal parts of the horizon.

    They are NaN where nothing was observed of a trajectory in a part, and averages are of the rest.

    Attributes:
        levels: (level,) nominal coverages, increasing.
        lead_edges: (lead + 1,) ends of the parts, as times since the first.
        num_samples: Predictive draws.
        interval: Nominal coverage of the interval that `winkler` scores.
        coverage: (trajectory, lead, level) share of the truth inside central intervals.
        pit: (trajectory, lead, bin) share of the truth with PIT in equal parts of [0, 1].
        crps: (trajectory, lead) continuous ranked probability score, as `pyro_msde.crps`.
        energy: (trajectory, lead) energy score of whole snapshots in the root-mean-square norm.
        winkler: (trajectory, lead) interval score.
        variance: (trajectory, lead) predictive variance.
        squared_error: (trajectory, lead) of the predictive mean.
        reference_error: (trajectory, lead) squared error of the reference that the fit has
            subtracted, or of zero.
        power: Powers in bands of wavenumber; None without a regular grid, where the grid has a
            mask, and where the truth has gaps.
        units: Of "time", "field" and "length", where they are known.
    """

    levels: Array
    lead_edges: Array
    num_samples: int
    interval: float
    coverage: Array
    pit: Array
    crps: Array
    energy: Array
    winkler: Array
    variance: Array
    squared_error: Array
    reference_error: Array
    power: BandPower | None = None
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def num_trajectories(self) -> int:
        """How many are averaged over."""
        return len(self.coverage)

    @property
    def lead(self) -> Array:
        """(lead,) middles of the parts of the horizon."""
        return 0.5 * (self.lead_edges[1:] + self.lead_edges[:-1])

    @property
    def spread_skill(self) -> Array:
        """(lead,) root of mean variance over mean squared error, as `pyro_msde.spread_skill`.

        Means are over trajectories as well.
        """
        return root_ratio(self.variance, self.squared_error)[0]

    @property
    def skill(self) -> Array:
        """(lead,) 1 − mean squared error / that of the reference, as `pyro_msde.skill`.

        Means are over trajectories as well.
        """
        return skill_of(self.squared_error, self.reference_error)[0]

    @property
    def reliability_index(self) -> float:
        """Σ_k |share_k − 1/K| over the K bars of the PIT histogram, 0 if uniform, at most 2.

        Delle Monache et al. 2006, doi:10.1029/2005JD006917.
        """
        bars = mean_of(self.pit, (0, 1))
        return float(np.abs(bars - 1 / len(bars)).sum())

    def average(self, name: str) -> tuple[Array, Array]:
        """Mean over trajectories of one of the attributes, and its standard error.

        Args:
            name: Of an attribute with a trajectory axis, such as "coverage"; or "spread_skill" or
                "skill", of ratios of means, with the jackknife's standard error.

        Returns:
            Both without the trajectory axis; the standard error is NaN for one trajectory.

        Raises:
            ValueError: No such attribute.
        """
        if isinstance(name, str) and name == "spread_skill":
            return root_ratio(self.variance, self.squared_error)
        if isinstance(name, str) and name == "skill":
            return skill_of(self.squared_error, self.reference_error)
        if not isinstance(name, str) or name not in _SCORES:
            known = ", ".join((*_SCORES, "spread_skill", "skill"))
            raise ValueError(f"name: {name!r} is unknown. Pass one of {known}.")
        return mean_and_error(getattr(self, name))

    def level_index(self, level: float) -> int:
        """Where among the levels one is.

        Raises:
            ValueError: Nowhere.
        """
        check_level("level", level)
        (place,) = np.nonzero(np.isclose(self.levels, level, rtol=0, atol=1e-9))
        if not len(place):
            raise ValueError(
                f"level: {level} is not among the report's levels "
                f"{', '.join(f'{v:g}' for v in self.levels)}. Pass it to calibration(levels=…)."
            )
        return int(place[0])

    @classmethod
    def joined(cls, reports: Sequence[CalibrationReport]) -> CalibrationReport:
        """One report of all trajectories, from reports on some of them each.

        Raises:
            ValueError: No reports, or of other levels, lead times, bands or numbers of draws.
        """
        if not reports:
            raise ValueError("reports: empty. Pass at least one.")
        first = reports[0]
        for k, other in enumerate(reports):
            if not _alike(first, other):
                raise ValueError(
                    f"reports: number {k} has other levels, lead times, bands or draws than the "
                    "first. Make all with the same arguments and at the same times."
                )
        scores: dict[str, Any] = {
            n: np.concatenate([getattr(r, n) for r in reports]) for n in _SCORES
        }
        power = None if first.power is None else BandPower.joined([r.power for r in reports])
        return replace(first, **scores, power=power)

    def to_xarray(self) -> xr.Dataset:
        """Dimensions trajectory, lead, level, pit and band, at the middles of their intervals.

        `spread_skill` (lead) and `skill` (lead) are those over all trajectories.
        """
        return report_dataset(self)

    def __repr__(self) -> str:
        """Sizes and the main scores, ± a standard error over trajectories."""
        i = int(np.abs(self.levels - self.interval).argmin())
        covered, error = mean_and_error(mean_of(self.coverage[:, :, i], 1))
        plus_minus = "" if np.isnan(error) else f" ± {error:.3f}"
        squares = (self.variance, self.squared_error, self.reference_error)
        variance, miss, size = (mean_of(x, 1) for x in squares)
        skill, ratio = skill_of(miss, size)[0], root_ratio(variance, miss)[0]
        return (
            f"CalibrationReport({self.num_trajectories} trajectories, {len(self.lead)} lead times, "
            f"{self.num_samples} samples: skill {skill:.3f}, {self.levels[i]:.0%} intervals cover "
            f"{covered:.3f}{plus_minus}, spread/skill {ratio:.2f}, CRPS {mean_of(self.crps):.4g}, "
            f"energy {mean_of(self.energy):.4g}, reliability index {self.reliability_index:.3f})"
        )


_SCORES = (
    "coverage",
    "pit",
    "crps",
    "energy",
    "winkler",
    "variance",
    "squared_error",
    "reference_error",
)


def relative_power(power: Array, truth: Array) -> Array:
    """Relative error power / truth − 1, (trajectory, ..., band).

    Raises:
        ValueError: The truth has no power in a band.
    """
    nothing = np.argwhere(~(truth > 0))
    if len(nothing):
        raise ValueError(
            f"report: the truth of trajectory {nothing[0][0]} has no power in band "
            f"{nothing[0][-1]}, so that forecasts have no relative error there."
        )
    return power / truth - 1


def _alike(a: CalibrationReport, b: CalibrationReport) -> bool:
    """Equal but for the scores."""
    names = ("levels", "lead_edges", "num_samples", "interval")
    pairs = [(getattr(a, n), getattr(b, n)) for n in names]
    pairs.append((_edges(a), _edges(b)))
    return all(np.shape(x) == np.shape(y) and np.allclose(x, y, atol=1e-9) for x, y in pairs)


def _edges(report: CalibrationReport) -> Array:
    return np.zeros(0) if report.power is None else report.power.edges
