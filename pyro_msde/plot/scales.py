"""What each scale contributes to a field: T_p ζ and Σ_y S_η D(η) (Ilersich & Nair 2025, eq. 31)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.data import Trajectories
from pyro_msde.plot.checks import check_fit
from pyro_msde.plot.encoded import Encoded
from pyro_msde.plot.images import Canvas, Row, draw_rows
from pyro_msde.plot.scene import Words
from pyro_msde.plot.style import (
    OKABE_ITO,
    label,
    legend,
    panels,
    signed_colours,
    value_colours,
)
from pyro_msde.protocols import FittedModel
from pyro_msde.renaming import renamed_arguments

__all__ = ["scale_images", "scale_separation"]

Array = NDArray[Any]

MACRO, MICRO = r"$T_p\zeta$", r"$\Sigma_y S_\eta D(\eta)$"


@renamed_arguments(parameters="covariates")
def scale_images(
    fit: FittedModel,
    y: Any,
    times: Any,
    *,
    covariates: Any = None,
    controls: Any = None,
    data: Trajectories | None = None,
    channel: int | str = 0,
    axes: Any = None,
) -> Array:
    """Images of y, of its two scales at the encoder's mean of z, and of what both leave over.

    Fields with one axis of space are drawn over time, in one column; those with two, or on a graph
    whose nodes have positions, in a column for each time. y and T_p ζ share one colour scale;
    below, each with its own and white at zero, stand Σ_y S_η D(η) and the rest
    y − T_p ζ − Σ_y S_η D(η), or y − T_p ζ without a microscale.

    Args:
        fit: The `Fit`, of fields with one or two axes of space. Of a posterior over θ one draw is
            taken.
        y: (time, *field) fields as `fit.predict` takes a batch of them.
        times: (time,) theirs.
        covariates: As for `fit.predict`.
        controls: (field, c) or (c,) at the time of each, if the trajectories had controls.
        data: Gives names, positions and units.
        channel: Which one, by name or number.
        axes: 4 × columns Axes; 3 × columns if n_η = 0. None: new ones.

    Returns:
        (row, column) array of the Axes.

    Raises:
        ValueError: Three axes of space, fields of another grid, another number of times or of
            Axes, no such channel.
    """
    grid = check_fit(fit, data, 2, graphs=True)
    words = Words.of(grid, data, fit.metadata)
    number = words.number_of(channel)
    parts = Encoded.of(fit, y, covariates=covariates, controls=controls, times=times).scales()
    clock = np.atleast_1d(words.clock.numbers(times, "times"))
    if clock.shape != (len(parts.field),):
        raise ValueError(f"times: shape {clock.shape} for {len(parts.field)} fields; one for each.")
    whole, macro, total = (p[:, number] for p in (parts.field, parts.macro, parts.total))
    values = value_colours(whole)
    rows = [("$y$", whole, values), (MACRO, macro, values)]
    if fit.model.n_eta:
        micro, rest = total - macro, whole - total
        rows += [(MICRO, micro, signed_colours(micro)), ("rest", rest, signed_colours(rest))]
    else:
        rows += [(r"$y - T_p\zeta$", whole - macro, signed_colours(whole - macro))]
    titles = words.at_times(clock)
    canvas = Canvas.of(words, clock)
    in_time = not canvas.in_space
    named, units = f"{words.field_name(number)}: " if words.channels else "", words.units_of(number)
    return draw_rows(
        axes,
        canvas,
        [
            Row(label(f"{named}{part}", units), [field] if in_time else list(field), colours)
            for part, field, colours in rows
        ],
        None if in_time else titles,
    )


@renamed_arguments(parameters="covariates")
def scale_separation(
    fit: FittedModel,
    y: Any,
    *,
    covariates: Any = None,
    controls: Any = None,
    times: Any = None,
    data: Trajectories | None = None,
    channel: int | str = 0,
    axes: Any = None,
) -> Array:
    """What each scale contributes to a snapshot, at the encoder's mean of z.

    Above y, its macroscale T_p ζ, and the sum of both scales; below the microscale's part
    Σ_y S_η D(η) and what it has to explain, y − T_p ζ.

    Args:
        fit: The `Fit`, of fields with one axis of space. Of a posterior over θ one draw is taken.
        y: One field as `fit.predict` takes it.
        covariates: As for `fit.predict`.
        controls: (field, c) or (c,) at the time of each, if the trajectories had controls.
        times: Of y; a fit whose reference is a mean cycle asks for it.
        data: Gives names, positions and units.
        channel: Which one, by name or number.
        axes: Two Axes. None: new ones.

    Returns:
        (2,) array of the Axes.

    Raises:
        ValueError: More axes of space, a field of another grid, another number of Axes, no such
            channel.
    """
    grid = check_fit(fit, data, 1)
    words = Words.of(grid, data, fit.metadata)
    number = words.number_of(channel)
    parts = Encoded.of(
        fit, y, covariates=covariates, controls=controls, times=times, single=True
    ).scales()
    snapshot, macro, total = (p[0, number] for p in (parts.field, parts.macro, parts.total))
    drawn, _ = panels(axes, 2, height=3.0, sharex=True)
    x = words.space[0].x
    drawn[0].plot(x, snapshot, color="black", linewidth=1, label="$y$")
    drawn[0].plot(x, macro, color=OKABE_ITO["blue"], linewidth=1, label=MACRO)
    drawn[0].plot(x, total, color=OKABE_ITO["vermilion"], linewidth=1, linestyle="--", label="sum")
    drawn[1].plot(x, snapshot - macro, color="0.7", linewidth=2.2, label=r"$y - T_p\zeta$")
    if fit.model.n_eta:
        drawn[1].plot(x, total - macro, color=OKABE_ITO["green"], linewidth=1, label=MICRO)
    for ax in drawn:
        ax.set_ylabel(words.field_label(number))
        ax.set_xlim(x.min(), x.max())
        legend(ax)
    drawn[1].set_xlabel(words.space[0].label)
    return np.array(drawn, dtype=object)
