"""Small data with what real files bring, a feature each, and models made for them.

Waves that travel and grow, on a level far from zero, so that a reference that is lost shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cftime
import numpy as np

from pyro_msde import Cycle, SensorGraph, Trajectories
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import Multiscale, multiscale

NETWORKS: dict[str, Any] = {"n_eta": 1, "width": 8, "rank": 2, "components": 3}
QUICK: dict[str, Any] = {
    "steps": 3,
    "length": 5,
    "stride": 1,
    "num_nodes": 4,
    "segments_per_step": 2,
    "progress": False,
}
COUNT, STEPS = 3, 24  # trajectories, and snapshots of each
AHEAD = 4  # snapshots of a test: a small part of the horizon, so that forecasts take few steps
DAYS = np.datetime64("1999-12-28", "ns") + np.arange(STEPS) * np.timedelta64(1, "D")
YEAR_OF_360 = [cftime.Datetime360Day(2001, 2 + k // 30, 1 + k % 30) for k in range(25, 25 + STEPS)]
LAT = 60.0 - 20.0 * np.arange(7)  # descending
LON = 5.0 * np.arange(8)
SEA = np.ones((7, 8), dtype=bool)
SEA[:3, :3] = SEA[5, 4] = False


@dataclass(frozen=True)
class Case:
    """A feature, the data that have it, and how they are fitted.

    Attributes:
        data: Training trajectories.
        test: Others, which forecasts start from.
        coarse: Coarse points.
        options: Of `fit`.
        calibrated: Whether forecasts are, on `test`.
        graph: Instead of a grid.
    """

    data: Trajectories
    test: Trajectories
    coarse: Any
    options: Mapping[str, Any] = field(default_factory=dict)
    calibrated: bool = False
    graph: SensorGraph | None = None

    def pair(self, seed: int = 0) -> tuple[Multiscale, AmortizedGP]:
        """Model and guide, untrained."""
        options = {**NETWORKS, "seed": seed}
        if self.graph is not None:
            model = multiscale(self.graph, **options)
        else:
            model = multiscale.like(self.data, coarse=self.coarse, **options)
        return model, AmortizedGP(model, seed=seed)

    def mask(self) -> np.ndarray:
        """(*field) bool, True where a forecast has values."""
        seen: np.ndarray = ~np.isnan(np.concatenate(self.data.values)).all(0)
        return seen


def waves(*shape: int, seed: int = 0, count: int = COUNT) -> np.ndarray:
    """(trajectory, time, *shape) about 10, whose crests move along all axes."""
    rng = np.random.default_rng(seed)
    places = np.add.outer(*map(np.arange, shape)) if len(shape) == 2 else np.arange(shape[0])
    time = np.arange(STEPS).reshape(-1, *[1] * len(shape))
    phase = rng.uniform(0, 6, count).reshape(-1, *[1] * (len(shape) + 1))
    noise = rng.normal(size=(count, STEPS, *shape))
    return 10 + np.sin(2 * np.pi * places / 12 - 0.5 * time + phase) + 0.1 * noise


def with_gaps(values: np.ndarray, share: float = 0.15) -> np.ndarray:
    """NaN at random, but for one point of each snapshot."""
    gaps = np.random.default_rng(9).uniform(size=values.shape) < share
    gaps.reshape(*values.shape[:2], -1)[..., 0] = False
    return np.where(gaps, np.nan, values)


def _case(
    times: Any,
    values: np.ndarray,
    coarse: Any,
    named: dict[str, Any],
    ahead: int = AHEAD,
    **rest: Any,
) -> Case:
    """The start of the last trajectory is the test's."""
    train, test = (Trajectories(times, v, **named) for v in (values[:-1], values[-1:]))
    return Case(train, test.snapshots([slice(ahead)]), coarse, **rest)


CLOCK = 0.1 * np.arange(STEPS)


def _line(ahead: int = AHEAD, **options: Any) -> Case:
    named = {"name": "h", "dims": ("x",), "coords": {"x": np.arange(20.0)}}
    return _case(CLOCK, waves(20), 5, named, ahead, options=options)


def _cycle() -> Case:
    named = {"name": "h", "units": "m", "dims": ("x",)}
    options = {"reference": Cycle(np.timedelta64(8, "D"))}
    case = _case(DAYS, waves(20), 5, named, AHEAD + 1, options=options)
    # windows that start on different dates
    return Case(case.data, case.test.cut(length=4, every=1), 5, options)


def _gaps() -> Case:
    return _case(CLOCK, with_gaps(waves(20)), 5, {"missing": "mask", "dims": ("x",)})


def _land() -> Case:
    values = np.where(SEA, waves(7, 8), np.nan)
    return _case(CLOCK, values, (3, 4), {"missing": "mask", "dims": ("lat", "lon")})


def _padded() -> Case:
    return _case(CLOCK, waves(7, 11), (3, 4), {"dims": ("x", "y")})


def _channels() -> Case:
    values = np.stack([waves(6, 8), 100 + 20 * waves(6, 8, seed=1)], 2)
    named = {
        "channel_names": ("u", "t"),
        "dims": ("variable", "x", "y"),
        "units": {"u": "m/s", "t": "K"},
    }
    return _case(CLOCK, values, (3, 4), named)


def _graph() -> Case:
    rng = np.random.default_rng(3)
    ring = np.arange(17)
    edges = np.stack([ring, np.roll(ring, -1)])  # and a chord, so that degrees differ
    edges = np.concatenate([edges, [[0], [8]]], 1)
    positions = np.stack([np.cos(ring), np.sin(ring)], 1) + 0.01 * rng.normal(size=(17, 2))
    graph = SensorGraph(edges, coarse=4, positions=positions)
    case = _case(CLOCK, waves(17), None, {"name": "p", "dims": ("station",)})
    return Case(case.data, case.test, None, graph=graph)


def _calendar() -> Case:
    named = {"name": "h", "units": "m", "dims": ("x",)}
    return _case(YEAR_OF_360, waves(20), 5, named)


def _descending() -> Case:
    named = {
        "name": "sst",
        "dims": ("lat", "lon"),
        "coords": {"lat": LAT, "lon": LON},
        "units": {"sst": "K", "lat": "degrees_north", "lon": "degrees_east"},
    }
    return _case(CLOCK, waves(7, 8), (3, 4), named)


def _trusted() -> Case:
    case = _line(AHEAD + 1)
    windows = case.test.cut(length=4, every=1)
    # one drift, so that calibration takes little time
    options = {"validation": windows, "jackknife": False}
    return Case(case.data, windows, 5, options, calibrated=True)


def _all_at_once() -> Case:
    values = np.stack([waves(7, 8), 270 + waves(7, 8, seed=1)], 2)
    values = np.where(SEA, with_gaps(values), np.nan)
    named = {
        "missing": "mask",
        "channel_names": ("u", "t"),
        "dims": ("variable", "lat", "lon"),
        "coords": {"lat": LAT, "lon": LON},
        "units": {"u": "m/s", "t": "K", "time": "days since 2001-01-01"},
        "calendar": "360_day",
    }
    case = _case(YEAR_OF_360, values, (3, 4), named, AHEAD + 1)
    windows = case.test.cut(length=4, every=1)
    options = {"validation": windows, "reference": Cycle(8.0)}
    return Case(case.data, windows, (3, 4), options)


CASES: dict[str, Callable[[], Case]] = {
    "cycle": _cycle,
    "point": lambda: _line(reference="point"),
    "array": lambda: _line(reference=9 + np.sin(np.arange(20.0))),
    "gaps": _gaps,
    "land": _land,
    "padded": _padded,
    "channels": _channels,
    "graph": _graph,
    "calendar": _calendar,
    "descending": _descending,
    "trust": _trusted,
    "all": _all_at_once,
}
