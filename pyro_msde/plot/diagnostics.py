"""How training went, and whether forecasts are as uncertain as they should be."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter
from numpy.typing import NDArray

from pyro_msde.checks import check_whole
from pyro_msde.data import Trajectories, duration_units
from pyro_msde.forecasts import Forecast
from pyro_msde.plot.checks import check_kind
from pyro_msde.plot.style import (
    OKABE_ITO,
    few_ticks,
    label,
    legend,
    letters,
    panel,
    panels,
    size_of,
)
from pyro_msde.protocols import FittedModel
from pyro_msde.runs import History
from pyro_msde.scores import aligned, coverage, mean_of

__all__ = ["coverage_by_lead", "history"]

Array = NDArray[Any]

# the ELBO is often within a line's width of the log likelihood
_GAIN: dict[str, tuple[str, dict[str, Any]]] = {
    "elbo": ("ELBO", {"color": OKABE_ITO["sky"], "linewidth": 2.2}),
    "log_likelihood": ("log likelihood", {"color": "black", "linestyle": "--", "linewidth": 1}),
}
_COST: dict[str, tuple[str, dict[str, Any]]] = {
    "drift_residual": ("drift residual", {"color": OKABE_ITO["green"], "linewidth": 1}),
    "kl_parameters": ("KL of θ", {"color": OKABE_ITO["purple"], "linestyle": "--", "linewidth": 1}),
}


def history(fit: FittedModel | History, *, axes: Any = None) -> Array:
    """ELBO and log likelihood; what the ELBO subtracts from it; the validation score.

    The first tenth of the steps, where the ELBO rises from its start, may leave the first panel.

    Args:
        fit: The `Fit`, or its `History`.
        axes: Three Axes, or two if there was no validation. None: new ones.

    Returns:
        (3,) or (2,) array of the Axes.

    Raises:
        ValueError: Nothing was recorded, or another number of Axes.
    """
    record: Any = getattr(fit, "history", fit)
    check_kind("fit", record, History, "what pyro_msde.fit gave, or its history")
    if not record.steps:
        raise ValueError("fit: its history is empty. Train for at least one step.")
    count = 3 if record.validation else 2
    drawn, _ = panels(axes, count, height=1.3 * count + 0.2, sharex=True)
    terms = record.terms
    for ax, lines in zip(drawn, (_GAIN, _COST), strict=False):
        for name, (words, style) in lines.items():
            if np.any(terms[name]):
                ax.plot(record.steps, terms[name], label=words, **style)
        ax.set_ylabel("nats")
        legend(ax, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    drawn[0].set_ylim(*_limits([terms[name] for name in _GAIN]))
    _set_scale(drawn[1])
    if record.validation:
        percent = 100 * np.asarray(record.validation)
        drawn[2].plot(record.validation_steps, percent, "ko-", markersize=2.5, linewidth=1)
        _set_scale(drawn[2])
        drawn[2].set_ylabel("validation\nNRMSE (%)")
    for ax in drawn:
        if ax.get_yscale() == "linear":
            ax.ticklabel_format(axis="y", scilimits=(-3, 4), useMathText=True)
            ax.yaxis.get_offset_text().set_fontsize(letters(ax) - 1)
    drawn[-1].xaxis.set_major_locator(MaxNLocator(5))
    drawn[-1].set_xlabel("step")
    return np.array(drawn, dtype=object)


def _set_scale(ax: Axes) -> None:
    """Range from zero, or a logarithmic scale if the lines span a factor of ten."""
    values = np.concatenate([np.asarray(line.get_ydata()) for line in ax.lines] or [np.ones(1)])
    wide = values.max() / values.min() if values.min() > 0 else 0.0
    if wide >= 10:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if wide < 100 else (1.0,)))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    else:
        ax.set_ylim(min(0.0, float(values.min())), 1.08 * float(values.max()))


def _limits(curves: list[list[float]]) -> tuple[float, float]:
    """Range of the curves after their first tenth, with a margin."""
    late = np.concatenate([np.asarray(c)[len(c) // 10 :] for c in curves])
    low, high = float(late.min()), float(late.max())
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def coverage_by_lead(
    fc: Forecast,
    truth: Trajectories | Any,
    *,
    bins: int = 10,
    level: float = 0.9,
    ax: Axes | None = None,
) -> Axes:
    """Share of the truth inside the central predictive interval, over the time since the start.

    Line and points: mean over trajectories; thin lines: each of them; dashed: what it should be.

    Args:
        fc: The forecast.
        truth: `Trajectories` at the forecast's times, or an array shaped as `fc.mean`.
        bins: Number of equal parts of the horizon.
        level: Probability of the interval.
        ax: Axes. None: new.

    Raises:
        ValueError: As `pyro_msde.scores.forecast_scores.coverage`.
    """
    check_kind("fc", fc, Forecast, "what fit.predict gave")
    check_whole("bins", bins, 1)
    shares = np.atleast_2d(coverage(fc, truth, level=level, bins=bins))
    ax = panel(ax, height=2.0)
    horizon = float(fc.times[-1] - fc.times[0])
    middle = (np.arange(bins) + 0.5) * horizon / bins
    for k, share in enumerate(shares if len(shares) > 1 else ()):
        name = None if k else "each trajectory"
        ax.plot(middle, share, color=OKABE_ITO["sky"], linewidth=0.6, label=name)
    ax.plot(
        middle,
        mean_of(shares, 0),
        color=OKABE_ITO["blue"],
        marker="o",
        markersize=3,
        linewidth=1.2,
        label="mean" if len(shares) > 1 else "forecast",
    )
    ax.axhline(level, color="black", linestyle="--", linewidth=0.8, label=f"nominal {level:.0%}")
    ax.set_xlim(0, horizon)
    ax.set_ylim(0.5 if min(np.nanmin(shares), level) > 0.55 else 0, 1.01)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    truth = aligned(fc, truth)
    units = duration_units(truth.units.get("time")) if isinstance(truth, Trajectories) else None
    few_ticks(ax.xaxis, size_of(ax)[0])
    ax.set_xlabel(label("lead time", units))
    ax.set_ylabel("coverage")
    legend(ax, loc="lower left")
    return ax
