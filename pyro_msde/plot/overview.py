"""One trajectory on one page: snapshots beside maps over time and space."""

from __future__ import annotations

from typing import Any

from pyro_msde.data import Trajectories
from pyro_msde.forecasts import Forecast
from pyro_msde.plot.checks import check_forecast
from pyro_msde.plot.forecasts import forecast_snapshots, forecast_spacetime
from pyro_msde.plot.scene import Scene

__all__ = ["forecast_overview"]


def forecast_overview(
    fc: Forecast, truth: Trajectories | Any, *, trajectory: int = 0, channel: int | str = 0
) -> Any:
    """`forecast_snapshots` at five times beside `forecast_spacetime`, as a new Figure.

    Args:
        fc: Forecast of fields with one axis of space.
        truth: `Trajectories` that have the forecast's times, or an array shaped as `fc.mean`.
        trajectory: Which one, of both.
        channel: Which one, by name or number.

    Returns:
        The matplotlib Figure.
    """
    import matplotlib.pyplot as plt

    check_forecast("fc", fc, 1)
    chosen: dict[str, Any] = {"trajectory": trajectory, "channel": channel}
    Scene.of(fc, truth, **chosen)  # before there is a figure that nobody closes
    figure = plt.figure(figsize=(9, 4.6), layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1, 1.15))[0]
    snapshots = left.subplots(5, 1, sharex=True, sharey=True)
    forecast_snapshots(fc, truth, axes=snapshots, **chosen)
    left.legend(
        *snapshots[0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=3,
        frameon=False,
        fontsize=8,
    )
    for legend in [ax.get_legend() for ax in snapshots]:
        if legend is not None:
            legend.remove()
    forecast_spacetime(fc, truth, axes=right.subplots(2, 2, sharex=True, sharey=True), **chosen)
    return figure
