"""Picture of the power spectra of fields and of their two scales, in each axis's own waves."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from pyro_msde.data import Trajectories
from pyro_msde.plot.checks import check_fit
from pyro_msde.plot.encoded import Encoded
from pyro_msde.plot.scene import Words
from pyro_msde.plot.space_axes import Axis
from pyro_msde.plot.style import OKABE_ITO, label, legend, panel
from pyro_msde.protocols import FittedModel
from pyro_msde.renaming import renamed_arguments
from pyro_msde.scores import shell_spectrum

__all__ = ["power_spectra"]

Array = NDArray[Any]

_DECADES = 1.5  # of wavenumbers, below which whole powers of ten are too few labels


@renamed_arguments(parameters="covariates")
def power_spectra(
    fit: FittedModel,
    y: Any,
    *,
    covariates: Any = None,
    controls: Any = None,
    times: Any = None,
    data: Trajectories | None = None,
    channel: int | str = 0,
    ax: Axes | None = None,
) -> Axes:
    """Power spectra of y, T_p ζ and T_p ζ + Σ_y S_η D(η), at the encoder's mean of z.

    `shell_spectrum` of each, averaged over fields and, at short waves, over bands of k a 24th of a
    decade wide. Vertical lines stand at the shortest waves that the coarse axes resolve.

    Args:
        fit: The `Fit`. Of a posterior over θ one draw is taken.
        y: One field or a batch of them, as `fit.predict` takes them.
        covariates: As for `fit.predict`.
        controls: (field, c) or (c,) at the time of each, if the trajectories had controls.
        times: (field,) of y; a fit whose reference is a mean cycle asks for them.
        data: Gives names, positions and units.
        channel: Which one, by name or number.
        ax: Axes. None: new.

    Returns:
        The Axes, both scales logarithmic.

    Raises:
        ValueError: Fields of another grid, with gaps, or that do not vary in space, no such
            channel, points that are not evenly spaced, a grid with a mask.
    """
    grid = check_fit(fit, data, 3)
    if grid.mask is not None:
        raise ValueError(
            "fit: its grid has a mask, and fields with holes have no power spectrum. Plot "
            "scale_images instead."
        )
    words = Words.of(grid, data, fit.metadata)
    number = words.number_of(channel)
    spacing = [_spacing(axis) for axis in words.space]
    parts = Encoded.of(fit, y, covariates=covariates, controls=controls, times=times).scales()
    if np.isnan(parts.field).any():
        raise ValueError(
            "y: has gaps, and fields with gaps have no power spectrum. Pass complete ones."
        )
    lines: list[tuple[str, Array, dict[str, Any]]] = [
        ("$y$", parts.field, {"color": "0.65", "linewidth": 2.0}),
        (r"$T_p\zeta$", parts.macro, {"color": OKABE_ITO["blue"], "linewidth": 1}),
    ]
    if fit.model.n_eta:
        style = {"color": OKABE_ITO["vermilion"], "linewidth": 1, "linestyle": "--"}
        lines += [(r"$T_p\zeta + \Sigma_y S_\eta D(\eta)$", parts.total, style)]
    spectra = [shell_spectrum(fields[:, number], grid.boundary, spacing) for _, fields, _ in lines]
    if not spectra[0][1].any():
        raise ValueError("y: fields do not vary in space, so there is no power to draw.")
    ax = panel(ax, height=2.2)
    for (name, _, style), (k, power) in zip(lines, spectra, strict=True):
        ax.loglog(*_bands(k, power), label=name, **style)
    nyquist = {float(f"{0.5 / (dx * s):.6g}") for dx, s in zip(spacing, grid.stride, strict=True)}
    for place, at in enumerate(sorted(nyquist)):
        once = None if place else "coarse Nyquist"
        ax.axvline(at, color="black", linewidth=0.8, linestyle=":", zorder=0, label=once)
    _limit(ax)
    ax.xaxis.set_minor_formatter(NullFormatter())
    if np.ptp(np.log10(spectra[0][0])) < _DECADES:
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda k, _: f"{k:g}"))
    units = words.space[0].units
    ax.set_xlabel(label("wavenumber", None if units in (None, "", "1") else f"1/{units}"))
    ax.set_ylabel(label("power", _power_units(words.field_units, units)))
    legend(ax)
    return ax


def _spacing(axis: Axis) -> float:
    gaps = np.abs(np.diff(axis.x))
    if len(gaps) == 0 or np.ptp(gaps) > 1e-4 * gaps.mean():
        raise ValueError(
            f"data: points along {axis.name} are not evenly spaced; spectra need that."
        )
    return float(gaps.mean())


def _bands(k: Array, power: Array, per_decade: int = 24) -> tuple[Array, Array]:
    """Means over bands of k, evenly wide on a logarithmic scale; long waves stay single."""
    band = np.floor(per_decade * np.log10(k)).astype(np.int64)
    _, place, count = np.unique(band, return_inverse=True, return_counts=True)
    return np.bincount(place, k) / count, np.bincount(place, power) / count


def _limit(ax: Axes) -> None:
    """Leave out what lies many decades below: a smooth field's rounding."""
    values = np.concatenate([np.asarray(line.get_ydata()) for line in ax.lines[:3]])
    observed = np.asarray(ax.lines[0].get_ydata())
    low = max(values[values > 0].min(), 1e-3 * observed[observed > 0].min())
    ax.set_ylim(0.5 * low, 3 * values.max())


def _power_units(field: str | None, length: str | None) -> str | None:
    factors = []
    if field not in (None, "", "1"):
        factors = [f"{field}²" if field.isalpha() else f"({field})²"]
    factors += [] if length in (None, "", "1") else [length]
    return " ".join(factors) or None
