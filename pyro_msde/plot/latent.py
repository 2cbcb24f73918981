"""Latent states of a forecast over time."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from pyro_msde.checks import check_whole
from pyro_msde.data import Trajectories
from pyro_msde.forecasts import Forecast
from pyro_msde.grid import Grid, positions_at
from pyro_msde.plot.checks import check_forecast, check_truth
from pyro_msde.plot.dates import format_dates
from pyro_msde.plot.scene import Words, times_of, trajectory_of
from pyro_msde.plot.space_axes import Axis
from pyro_msde.plot.style import CYCLE, DASHES, label, legend, panels

__all__ = ["latent_paths"]

Array = NDArray[Any]


def latent_paths(
    fc: Forecast,
    truth: Trajectories | Any = None,
    *,
    trajectory: int = 0,
    num_states: int = 5,
    axes: Any = None,
) -> Array:
    """Mean and central 90 % of the latent paths: macroscale above, microscale below.

    Args:
        fc: Forecast of fields with any number of axes of space, or on a graph.
        truth: As for `forecast_snapshots`, or nothing: `Trajectories` give names, positions and
            units. Latent states have no truth, so none is drawn.
        trajectory: Which one, of both.
        num_states: Most states of a scale to draw, evenly spaced among them.
        axes: Two Axes, or one if there is no microscale. None: new ones.

    Returns:
        (2,) or (1,) array of the Axes.

    Raises:
        ValueError: No such trajectory, a truth of another shape, or another number of Axes.
    """
    check_forecast("fc", fc, 3, graphs=True)
    check_whole("num_states", num_states, 1)
    grid = fc.grid
    if truth is not None:
        check_truth(fc, truth)
    trajectory = trajectory_of(fc, truth, trajectory)
    words = Words.of(grid, truth, fc.metadata)
    paths = (fc.latent[:, trajectory] if fc.batched else fc.latent).numpy()
    zeta, eta = paths[..., : grid.num_zeta], paths[..., grid.num_zeta :]
    count = 2 if eta.shape[-1] else 1
    drawn, _ = panels(axes, count, height=1.5 * count + 0.2, sharex=True)
    across = words.time_axis(times_of(fc, trajectory))
    _paths(drawn[0], across.x, zeta, *_coarse_names(words, grid), most=num_states)
    drawn[0].set_ylabel(label("ζ", words.field_units))
    if count == 2:
        names = [rf"$\eta_{{{k + 1}}}$" for k in range(eta.shape[-1])]
        _paths(drawn[1], across.x, eta, names, most=num_states)
        drawn[1].set_ylabel("η")
    drawn[-1].set_xlabel(across.label)
    if across.dated:
        for ax in drawn:
            format_dates(ax)
    return np.array(drawn, dtype=object)


def _paths(
    ax: Axes, times: Array, paths: Array, names: list[str], head: str | None = None, *, most: int
) -> None:
    """Lines and bands of at most so many states of paths (sample, time, state)."""
    count = min(most, len(names))
    shown = np.arange(count) * len(names) // count
    low, high = np.quantile(paths[..., shown], [0.05, 0.95], axis=0)
    mean = paths[..., shown].mean(0)
    for k, state in enumerate(shown):
        colour, dashes = CYCLE[k % len(CYCLE)], DASHES[k % len(DASHES)]
        ax.fill_between(times, low[:, k], high[:, k], color=colour, alpha=0.2, linewidth=0)
        ax.plot(times, mean[:, k], color=colour, linestyle=dashes, linewidth=1, label=names[state])
    ax.set_xlim(times[0], times[-1])
    legend(ax, loc="center left", bbox_to_anchor=(1.0, 0.5), title=head)


def _coarse_names(words: Words, grid: Grid) -> tuple[list[str], str | None]:
    """Where each macroscale state is, channel-major, and what heads the list of them."""
    pairs = zip(words.space, grid.coarse_index, strict=True)
    places = [positions_at(axis.x, index) for axis, index in pairs]
    if grid.ndim == 1:
        axis, head = words.space[0], None
        points = [f"{axis.name} = {x:.3g}{_unit(axis)}" for x in places[0]]
    else:
        head = f"({', '.join(axis.label for axis in words.space)})"
        if len({axis.short_units for axis in words.space}) == 1:
            names = ", ".join(axis.name for axis in words.space)
            head = f"({names}){_unit(words.space[0]).replace(' ', ' in ', 1)}"
        points = [f"({', '.join(f'{x:.3g}' for x in point)})" for point in product(*places)]
    states = [f"{c}, {p}" for c in words.channels for p in points] or points
    if len(states) != grid.num_zeta:  # coefficients of modes are nowhere
        return [rf"$\zeta_{{{k + 1}}}$" for k in range(grid.num_zeta)], None
    return states, head


def _unit(axis: Axis) -> str:
    return "" if axis.units in (None, "", "1") else f" {axis.short_units}"
