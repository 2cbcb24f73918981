"""A fit beside simple forecasts: error, CRPS and coverage by lead time."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from pyro_msde.plot.checks import check_channel, check_kind
from pyro_msde.plot.style import (
    CYCLE,
    DASHES,
    OKABE_ITO,
    few_ticks,
    label,
    panels,
    size_of,
    wide_legend,
)

__all__ = ["comparison_by_lead"]

Array = NDArray[Any]

_PANELS = {"rmse": "RMSE", "crps": "CRPS", "coverage": "coverage"}


def comparison_by_lead(table: xr.Dataset, *, channel: int | str = 0, axes: Any = None) -> Array:
    """Error, CRPS and coverage of a fit and of simple forecasts over the lead time.

    Forecasters whose error is below that of climatology have skill. Dashed, in the last panel: the
    coverage that intervals claim.

    Args:
        table: What `pyro_msde.compare` gave.
        channel: Which, if there are several, by name or number.
        axes: Three Axes. None: new ones.

    Returns:
        (3,) array of the Axes.

    Raises:
        ValueError: Another table, no such channel, or another number of Axes.
    """
    check_kind("table", table, xr.Dataset, "what pyro_msde.compare gave")
    if not {"forecaster", "lead", *_PANELS} <= set(table.variables):
        raise ValueError("table: has no scores by forecaster and lead. Pass pyro_msde.compare(…).")
    count = table.sizes.get("channel", 1)
    names = [str(name) for name in table["channel"].values] if "channel" in table.coords else []
    number = check_channel("channel", channel, names, count, "the table has")
    if "channel" in table.dims:
        table = table.isel(channel=number)
    own = str(table["units"].values) if "units" in table.coords else None  # of this channel
    drawn, new = panels(axes, 3, height=4.4, sharex=True)
    lead = table["lead"].values
    for ax, (name, words) in zip(drawn, _PANELS.items(), strict=True):
        for k, forecaster in enumerate(table["forecaster"].values):
            values = table[name].sel(forecaster=forecaster).values
            fit = k == 0
            ax.plot(
                lead,
                np.where(np.isfinite(values), values, np.nan),
                color=OKABE_ITO["black"] if fit else CYCLE[(k - 1) % 6],
                linestyle=DASHES[k % len(DASHES)],
                linewidth=1.6 if fit else 1.0,
                marker="o" if len(lead) <= 12 else None,
                markersize=2.5,
                label=str(forecaster),
                zorder=4 if fit else 3,
            )
        units = None if name == "coverage" else table[name].attrs.get("units", own)
        ax.set_ylabel(label(words, units))
        ax.set_ylim(bottom=0)
    level = table["coverage"].attrs.get("level", 0.9)
    drawn[2].axhline(level, color="0.5", linestyle="--", linewidth=0.8, zorder=1)
    drawn[2].yaxis.set_major_formatter(PercentFormatter(1.0))
    drawn[2].set_ylim(0, 1.02)
    drawn[2].set_xlabel(label("lead time", table["lead"].attrs.get("units")))
    few_ticks(drawn[2].xaxis, size_of(drawn[2])[0])
    drawn[0].set_xlim(0, 1.02 * float(lead[-1]))
    wide_legend(drawn, new, columns=2)
    return np.array(drawn, dtype=object)
