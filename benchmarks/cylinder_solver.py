"""What the solver of the flow past a cylinder is worth: frequency, forces, divergence, symmetry.

    python -m benchmarks.cylinder_solver

At Re = 160, once vortices are shed evenly. The published split's file gives the Strouhal number
and the symmetry of the time mean; two runs that start from its last snapshot give forces and
divergence, on the usual mesh and on a refined one, all lengths divided by √2 and steps by 2. The
file ends at x = 3.5, behind which the runs start from its last column: too far from the cylinder
for its forces to feel it. Rows go to benchmarks/results/cylinder_solver.csv; eleven minutes of one
core.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pyro_msde
from benchmarks import table
from pyro_msde.datasets.cylinder import CYLINDER, REYNOLDS, X, Y
from pyro_msde.datasets.cylinder_equation import DIAMETER, Resolution, solve_cylinder

__all__ = ["asymmetry", "harmonics", "period_of"]

Array = NDArray[Any]

RESULTS = Path(__file__).parent / "results" / "cylinder_solver.csv"
COLUMNS = (
    "source",
    "dt",
    "period",
    "strouhal",
    "drag",
    "lift",
    "lift_mean",
    "divergence",
    "asymmetry_u",
    "asymmetry_v",
    "seconds",
    "version",
    "commit",
)
USUAL = Resolution()
REFINED = Resolution(USUAL.cylinder / 2**0.5, USUAL.wake / 2**0.5, USUAL.far / 2**0.5, USUAL.dt / 2)
_EVEN = 9.0  # from when on the published split is periodic for certain
_PROBE = 1.0, 0.0  # where its frequency is read, in the middle of the wake
_PERIODS = 3  # over which forces and velocities are averaged, at the end


def period_of(times: Array, signal: Array) -> float:
    """Mean time between upward crossings of a signal (time,) through its mean."""
    y = signal - signal.mean()
    up = np.flatnonzero((y[:-1] < 0) & (y[1:] >= 0))
    at = times[up] - y[up] * (times[up + 1] - times[up]) / (y[up + 1] - y[up])
    return float((at[-1] - at[0]) / (len(at) - 1))


def harmonics(times: Array, signal: Array, period: float, count: int = 4) -> tuple[float, float]:
    """Mean, and amplitude of the first harmonic, by least squares on the last periods."""
    late = times > times[-1] - _PERIODS * period
    phase = 2 * np.pi * np.outer(times[late], np.arange(1, count + 1)) / period
    columns = np.column_stack([np.ones(late.sum()), np.cos(phase), np.sin(phase)])
    found = np.linalg.lstsq(columns, signal[late], rcond=None)[0]
    return float(found[0]), float(np.hypot(found[1], found[1 + count]))


def asymmetry(values: Array) -> tuple[float, float]:
    """Of the mean over whole periods (time, 2, x, y), relative to the fluctuations around it.

    Of u and of v: root mean squares of u(x, y) − u(x, −y) and v(x, y) + v(x, −y).
    """
    mean = values.mean(0, dtype=np.float64)
    moved = np.nanmean(np.square(values - mean), (0, 2, 3)) ** 0.5
    odd = mean[0] - mean[0][:, ::-1], mean[1] + mean[1][:, ::-1]
    u, v = (float(np.nanmean(np.square(part)) ** 0.5) for part in odd)
    return u / float(moved[0]), v / float(moved[1])


def of_file(times: Array, values: Array) -> dict[str, Any]:
    """Row of a trajectory that is periodic from `_EVEN` on."""
    late = times > _EVEN
    i, j = np.abs(X - _PROBE[0]).argmin(), np.abs(Y - _PROBE[1]).argmin()
    period = period_of(times[late], values[late, 1, i, j])
    return {"source": "file", "dt": USUAL.dt, **_wake(times, values, period)}


def of_run(name: str, resolution: Resolution, start: Array, horizon: float) -> dict[str, Any]:
    """Row of a run from a snapshot (2, x, y) of the file."""
    began = time.perf_counter()
    times = np.arange(1, round(horizon / 0.01) + 1) * 0.01
    rng = np.random.default_rng(0)
    flow = solve_cylinder(REYNOLDS, times, X, Y, rng, resolution, start=start)
    late = times > horizon / 2
    period = period_of(times[late], flow.lift[late])
    drag, _ = harmonics(times, flow.drag, period)
    lift_mean, lift = harmonics(times, flow.lift, period)
    return {
        "source": name,
        "dt": resolution.dt,
        **_wake(times, flow.velocity, period),
        "drag": f"{drag:.5f}",
        "lift": f"{lift:.5f}",
        "lift_mean": f"{lift_mean:.6f}",
        "divergence": f"{flow.divergence[late].mean():.6f}",
        "seconds": round(time.perf_counter() - began),
    }


def _wake(times: Array, values: Array, period: float) -> dict[str, str]:
    """Frequency and symmetry of velocities (time, 2, x, y)."""
    u, v = asymmetry(values[-round(_PERIODS * period / (times[1] - times[0])) :])
    return {
        "period": f"{period:.5f}",
        "strouhal": f"{DIAMETER / period:.5f}",
        "asymmetry_u": f"{u:.5f}",
        "asymmetry_v": f"{v:.5f}",
    }


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the file")
    parser.add_argument("--horizon", type=float, default=4.0, help="of the runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    parts = CYLINDER.splits("published", directory=args.data)
    times, values = (
        np.concatenate([getattr(part, name)[0] for part in parts]) for name in ("times", "values")
    )
    start = values[-1].astype(np.float64)
    rows = [lambda: of_file(times, values)]
    for name, resolution in (("usual mesh", USUAL), ("refined mesh", REFINED)):
        rows.append(lambda name=name, r=resolution: of_run(name, r, start, args.horizon))
    for make in rows:
        row = {**make(), "version": pyro_msde.__version__, "commit": table.commit()}
        table.append(row, args.results, COLUMNS)
        print(", ".join(f"{k} {v}" for k, v in row.items()), flush=True)


if __name__ == "__main__":
    main()
