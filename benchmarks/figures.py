"""The paper's figures, drawn again from saved runs.

    python -m benchmarks.figures --case kdv      also burgers1d, burgers2d, ks, cylinder

Reads {case}-0 and {case}-5 (for ks: ks-0) under --runs, forecasts the first test trajectory of the
published split, and writes {case}-*.png under --out, a column or a page wide; those of fields with
several channels once for each. A run that is missing is left out. Fields with two axes of space
move, too, in GIF and mp4 (for which the extra `animation` brings ffmpeg). A minute or two on one
core, more with moving pictures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

import pyro_msde
import pyro_msde.guides
import pyro_msde.models  # both register what `load` builds
from examples.cases import CASES as SETTINGS
from pyro_msde import plot
from pyro_msde.datasets.burgers1d import NU as BURGERS1D_NU
from pyro_msde.datasets.burgers2d import NU as BURGERS2D_NU
from pyro_msde.datasets.kdv_equation import NU as KDV_NU
from pyro_msde.runs import rebuild

Array = NDArray[Any]


def central(u: Array, dx: float, axis: int = -1) -> Array:
    """(u_{j+1} − u_{j−1}) / 2Δx on a periodic axis."""
    return (np.roll(u, -1, axis) - np.roll(u, 1, axis)) / (2 * dx)


def second(u: Array, dx: float, axis: int = -1) -> Array:
    """(u_{j+1} − 2u_j + u_{j−1}) / Δx² on a periodic axis."""
    return (np.roll(u, -1, axis) - 2 * u + np.roll(u, 1, axis)) / dx**2


def kdv_drift(u: Array, dx: Any) -> Array:
    """−u u_x − ν u_xxx in the paper's differences."""
    third = np.roll(u, -2, -1) - 3 * np.roll(u, -1, -1) + 3 * u - np.roll(u, 1, -1)
    return -u * central(u, dx[0]) - KDV_NU * third / dx[0] ** 3


def burgers1d_drift(u: Array, dx: Any) -> Array:
    """−½ (u²)_x + ν u_xx."""
    return -0.5 * central(u**2, dx[0]) + BURGERS1D_NU * second(u, dx[0])


def burgers2d_drift(u: Array, dx: Any) -> Array:
    """−u (u_x₁ + u_x₂) + ν ∇²u, zero beyond the walls."""
    v = np.pad(u, [(0, 0), (1, 1), (1, 1)])
    advection = -v * (central(v, dx[0], -2) + central(v, dx[1], -1))
    drift = advection + BURGERS2D_NU * (second(v, dx[0], -2) + second(v, dx[1], -1))
    return drift[:, 1:-1, 1:-1]


def ks_drift(u: Array, dx: Any) -> Array:
    """−½ (u²)_x − u_xx − u_xxxx."""
    u_xx = second(u, dx[0])
    return -0.5 * central(u**2, dx[0]) - u_xx - second(u_xx, dx[0])


@dataclass(frozen=True)
class Case:
    """Runs by the title of their column, how many times to forecast, the coarse drift.

    The drift is None where it needs more than a point's neighbours, as pressure does. `command`
    trains a run; {name} stands for the run's, {runs} for the folder.
    """

    runs: dict[str, str]
    num_times: int
    drift: Callable[[Array, Any], Array] | None = None
    command: str = "python -m benchmarks.accuracy, and copy runs/accuracy/… to {runs}/{name}"


def _pair(case: str) -> dict[str, str]:
    return {"implicit scale": f"{case}-0", "multiscale": f"{case}-5"}


CASES = {
    "kdv": Case(_pair("kdv"), 101, kdv_drift, "python examples/kdv.py --rows {name} --out {runs}"),
    "burgers1d": Case(_pair("burgers1d"), 101, burgers1d_drift),
    "burgers2d": Case(_pair("burgers2d"), 51, burgers2d_drift),
    "ks": Case({"multiscale": "ks-0"}, 101, ks_drift),
    "cylinder": Case(_pair("cylinder"), 101),
}


def thinned(data: pyro_msde.Trajectories, num_times: int) -> pyro_msde.Trajectories:
    """At most so many evenly spaced times of the first trajectory."""
    every = -(-(len(data.times[0]) - 1) // (num_times - 1))
    return data[0].thinned(every)


def channels(fit: pyro_msde.Fit, truth: pyro_msde.Trajectories) -> Iterator[tuple[str, dict]]:
    """Endings of files and arguments of pictures: one for each channel, none where there is one."""
    many = fit.model.grid.channels
    for number in range(many):
        name = truth.channel_names[number] if truth.channel_names else str(number)
        yield ("", {}) if many == 1 else (f"-{name}", {"channel": number})


def pictures(case: Case, fit: pyro_msde.Fit, fc: Any, truth: Any) -> Iterator[tuple[str, Any]]:
    """Names and Axes of a run's figures, made one by one."""
    yield "latent", plot.latent_paths(fc, truth)
    for ending, channel in channels(fit, truth):
        for name, axes in of_channel(case, fit, fc, truth, channel):
            yield name + ending, axes


def of_channel(
    case: Case, fit: pyro_msde.Fit, fc: Any, truth: Any, channel: dict[str, int]
) -> Iterator[tuple[str, Any]]:
    """Names and Axes of figures of a channel."""
    times, y = truth.times[0], truth.values[0]
    late = len(times) * 3 // 4
    grid, few = fit.model.grid, [0, len(times) // 2, -1]
    of: dict[str, Any] = {"data": truth, **channel}
    if grid.ndim == 1:
        yield "scales-snapshot", plot.scale_separation(fit, y[late], **of)
        yield "scales", plot.scale_images(fit, y, times, **of)
        yield "forecast", plot.forecast_spacetime(fc, truth, **channel)
        yield "forecast-snapshots", plot.forecast_snapshots(fc, truth, **channel)
    else:
        yield "scales", plot.scale_images(fit, y[few], times[few], **of)
        yield "forecast", plot.forecast_images(fc, truth, times=times[few], **channel)
    spacing = [np.diff(truth.coords[name]).mean() for name in truth.dims[-grid.ndim :]]
    dx = [step * stride for step, stride in zip(spacing, grid.stride, strict=True)]
    some = y[:: max(1, len(y) // 20)]
    drift = None if case.drift is None else lambda zeta: case.drift(zeta, dx)
    yield "sensitivity", plot.drift_sensitivity(fit, some, reference=drift, **of)
    start = rebuild(fit.model.config).kernel.net()
    yield "kernel", plot.smoothing_kernel(fit, start=start, **of)
    yield "operators", plot.scale_operators(fit, y[late], **of)
    if grid.mask is None:  # fields with holes have no spectrum
        yield "spectra", plot.power_spectra(fit, y, **of)


def movies(fit: pyro_msde.Fit, fc: Any, truth: Any, path: Path) -> None:
    """Write each channel's forecast as GIF and mp4, under a path that endings are added to."""
    for ending, channel in channels(fit, truth):
        for kind in (".gif", ".mp4"):
            moving = plot.animation(fc, truth, **channel)
            plot.save_animation(moving, path.with_name(f"{path.name}{ending}{kind}"))
            plt.close("all")
            print(f"{path}{ending}{kind}")


def save(axes: Any, path: Path) -> None:
    """Write the figure that the Axes are on, and close it."""
    figure = np.ravel(np.asarray(axes, dtype=object))[0].figure
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)
    plt.close(figure)
    print(path)


def draw(name: str, runs: Path, out: Path) -> None:
    """All figures of a case."""
    case, forecasts, truth = CASES[name], {}, None
    for title, run in case.runs.items():
        if not (runs / run / "run.json").is_file():
            command = case.command.format(name=run, runs=runs)
            print(f"{runs / run} is not there, left out; to make it: {command}")
            continue
        fit = pyro_msde.load(runs / run)
        if truth is None:
            problem = SETTINGS[name]["published"].problem
            truth = thinned(problem.splits("published", directory="data").test, case.num_times)
        fc = fit.predict(truth.values[0][0], truth.times[0], num_samples=64)
        forecasts[f"{title}, $n_\\eta = {fit.model.n_eta}$"] = fc
        for figure, axes in pictures(case, fit, fc, truth):
            save(axes, out / f"{run}-{figure}.png")
        if fit.model.grid.ndim == 2:
            movies(fit, fc, truth, out / f"{run}-forecast")
    if len(forecasts) > 1:
        for ending, channel in channels(fit, truth):
            axes = plot.forecast_comparison(forecasts, truth, **channel)
            save(axes, out / f"{name}-comparison{ending}.png")


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=list(CASES), required=True)
    parser.add_argument("--runs", type=Path, default=Path("benchmarks/runs"), help="saved runs")
    parser.add_argument("--out", type=Path, default=Path("runs/figures"), help="for the pictures")
    args = parser.parse_args()
    mpl.use("Agg")
    draw(args.case, args.runs, args.out)


if __name__ == "__main__":
    main()
