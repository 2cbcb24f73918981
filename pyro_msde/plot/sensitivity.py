"""How the macroscale drift answers each point of its stencil (Ilersich & Nair 2025, fig. 9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor

from pyro_msde.checks import check_whole
from pyro_msde.data import Scaling, Trajectories, duration_units, to_numpy
from pyro_msde.grid import Grid
from pyro_msde.networks import drift_of
from pyro_msde.plot.checks import check_fit
from pyro_msde.plot.encoded import Encoded
from pyro_msde.plot.images import Canvas, Row, draw_rows
from pyro_msde.plot.scene import Words
from pyro_msde.plot.space_axes import lies_across
from pyro_msde.plot.style import OKABE_ITO, label, legend, panels, signed_colours, spread_colours
from pyro_msde.protocols import FittedModel, Places
from pyro_msde.renaming import renamed_arguments

__all__ = ["StencilDerivative", "drift_sensitivity", "reference_derivative", "stencil_derivative"]

Array = NDArray[Any]


class StencilDerivative(NamedTuple):
    """∂f/∂(stencil input), each (2q+1,) per axis of space, in the user's units.

    Attributes:
        mean: Over coarse points and snapshots.
        sd: Standard deviation over them.
    """

    mean: Array
    sd: Array


@renamed_arguments(parameters="covariates")
def drift_sensitivity(
    fit: FittedModel,
    y: Any,
    *,
    reference: Callable[[Array], Any] | None = None,
    covariates: Any = None,
    controls: Any = None,
    times: Any = None,
    half_width: int | None = None,
    data: Trajectories | None = None,
    channel: int | str = 0,
    source: int | str | None = None,
    axes: Any = None,
) -> Array:
    """Derivative of the macroscale drift by each point of the stencil, mean and spread.

    At the encoder's mean of z, over coarse points and snapshots, in the user's units. One axis of
    space: means with bars of one standard deviation. Two: an image of the mean above one of the
    standard deviation, beside them the reference's on the same colour scales.

    Args:
        fit: The `Fit`, of fields with one or two axes of space.
        y: (field, *field) fields as `fit.predict` takes a batch of them, or one.
        reference: A drift to compare with, such as finite differences on the coarse grid: from
            fields (field, *coarse) to their rate of change, shaped alike, in the user's units, with
            a channel axis if the data had one.
        covariates: As for `fit.predict`.
        controls: (field, c) or (c,) at the time of each, if the trajectories had controls.
        times: (field,) of y; a fit whose reference is a mean cycle asks for them.
        half_width: q of the stencil that is drawn; None: the drift's.
        data: Gives names, positions and units.
        channel: Whose drift, by name or number.
        source: Channel of the points by which it is differentiated; None: the same.
        axes: One Axes for one axis of space; two for two, four with a reference. None: new ones.

    Returns:
        (1, 1), (2, 1) or (2, 2) array of the Axes.

    Raises:
        ValueError: Three axes of space, fields of another grid, a stencil of unknown width, a
            reference of another shape, no such channel, another number of Axes.
    """
    grid = check_fit(fit, data, 2)
    words = Words.of(grid, data, fit.metadata)
    of = words.number_of(channel)
    by = of if source is None else words.number_of(source, "source")
    if half_width is None:
        half_width = getattr(drift_of(fit.model), "half_width", None)
    if half_width is None:
        raise ValueError("half_width: the model's drift does not say how wide it is; pass one.")
    check_whole("half_width", half_width, 0)
    if reference is not None and not callable(reference):
        raise TypeError(f"reference: got {type(reference).__name__}. Pass a function of fields.")
    if reference is not None and fit.scaling.link is not None:
        raise ValueError(
            "reference: the fit's drift is of the logarithm of fields, and its derivative has no "
            "counterpart of the fields' own. Leave it out."
        )
    encoded = Encoded.of(fit, y, covariates=covariates, controls=controls, times=times)
    chosen = {"half_width": half_width, "channel": of, "source": by}
    rows = [stencil_derivative(encoded, fit.scaling.seen, **chosen)]
    if reference is not None:
        zeta = encoded.in_units(grid.unflatten(encoded.z[:, : grid.num_zeta]))
        rows += [reference_derivative(reference, zeta, grid, fit.has_channel, **chosen)]
    name = label(_quotient(words, of, by), _rate_units(words))
    lags = np.arange(-half_width, half_width + 1)
    if grid.ndim == 2:
        return _images(axes, words, lags, rows, name)
    (ax,), _ = panels(axes, 1, height=2.1)
    _bars(ax, lags, rows)
    ax.set_xlabel("offset of the stencil point (coarse points)")
    ax.set_ylabel(name)
    return np.array([[ax]], dtype=object)


def stencil_derivative(
    encoded: Encoded,
    scaling: Scaling,
    *,
    half_width: int,
    channel: int = 0,
    source: int = 0,
) -> StencilDerivative:
    """∂f/∂(stencil input) of the model's drift, at scaled time zero if it depends on time.

    Args:
        encoded: Fields and their z.
        scaling: Of the fit: scaled drifts are in channel scales per horizon.
        half_width: q.
        channel: Whose drift.
        source: Channel of the points.
    """
    grid = encoded.model.grid
    points = grid.num_coarse
    z = encoded.z.detach().requires_grad_()
    clock = torch.zeros(len(z), 1, dtype=torch.float64, device=z.device)
    with torch.enable_grad():
        drift = encoded.theta.drift(z[:, None], clock, covariates=encoded.covariates)[:, 0]
        rates = drift[:, channel * points : (channel + 1) * points]
        # fields do not mix: one gradient of the sum over them has each one's
        columns = [
            torch.autograd.grad(rates[:, j].sum(), z, retain_graph=True)[0] for j in range(points)
        ]
    jacobian = torch.stack(columns, 1)[..., source * points : (source + 1) * points]
    unit = scaling.channels[channel] / scaling.channels[source] / scaling.time
    return _gather(unit * jacobian.double().cpu().numpy(), grid, half_width, source)


def reference_derivative(
    reference: Callable[[Array], Any],
    zeta: Tensor,
    grid: Grid,
    has_channel: bool = False,
    *,
    half_width: int,
    channel: int = 0,
    source: int = 0,
) -> StencilDerivative:
    """∂f/∂(stencil input) of a given drift by central differences: exact if it is quadratic.

    Args:
        reference: As for `drift_sensitivity`.
        zeta: (field, channel, *coarse) macroscale states in the user's units.
        grid: The model's.
        has_channel: Whether the reference takes and gives a channel axis.
        half_width: q.
        channel: Whose drift.
        source: Channel of the points.

    Raises:
        ValueError: The drift is shaped otherwise than the fields.
    """
    fields = zeta.double().cpu().numpy()

    def rate(values: Array) -> Array:
        given = values if has_channel else values[:, 0]
        out = to_numpy(reference(given), "reference").astype(np.float64)
        if out.shape != given.shape:
            raise ValueError(f"reference: gave shape {out.shape} for fields of {given.shape}.")
        return out.reshape(values.shape)[:, channel].reshape(len(values), -1)

    step = 1e-4 * (float(np.sqrt(np.square(fields).mean())) or 1.0)
    columns = []
    for i in range(grid.num_coarse):
        shift = np.zeros(fields.shape[1:])
        shift[source].flat[i] = step
        columns.append((rate(fields + shift) - rate(fields - shift)) / (2 * step))
    return _gather(np.stack(columns, -1), grid, half_width, source)


def _gather(jacobian: Array, grid: Places, half_width: int, source: int) -> StencilDerivative:
    """Moments of a Jacobian (field, point, point) over points, by place in the stencil.

    Where a place of the stencil is beyond a wall, or is the same point as another place, its
    derivative is not there to be seen, and the coarse point is left out of the average.
    """
    stencil: Any = grid.stencil(half_width)  # a table's, as grids are regular
    table = stencil.table.numpy()
    tables = table.reshape(-1, *table.shape[-2:])
    table = tables[source % len(tables)]  # of the channel's own walls, or of all channels'
    alone = (table[:, :, None] == table[:, None, :]).sum(-1) == 1
    seen = alone & (table < grid.num_coarse)
    if not seen.any(0).all():
        raise ValueError(
            f"half_width: a stencil of ±{half_width} points has places that no point of the coarse "
            f"grid {grid.coarse} sees once; pass a smaller half_width."
        )
    rows = np.arange(len(table))[:, None]
    values = jacobian[:, rows, np.minimum(table, grid.num_coarse - 1)]
    values = np.where(seen, values, np.nan)
    shape = (2 * half_width + 1,) * grid.ndim
    mean, sd = np.nanmean(values, (0, 1)), np.nanstd(values, (0, 1))
    return StencilDerivative(mean.reshape(shape), sd.reshape(shape))


def _quotient(words: Words, channel: int, source: int) -> str:
    if not words.channels:
        return r"$\partial f/\partial\zeta$"
    return rf"$\partial f/\partial\zeta$, {words.channels[channel]} by {words.channels[source]}"


def _rate_units(words: Words) -> str | None:
    units = duration_units(words.time_units)
    return None if units in (None, "", "1") else f"1/{units}"


def _bars(ax: Axes, lags: Array, rows: list[StencilDerivative]) -> None:
    """Means with bars, side by side."""
    styles: tuple[dict[str, Any], ...] = (
        {"color": OKABE_ITO["blue"], "marker": "o", "label": "learned"},
        {"color": OKABE_ITO["vermilion"], "marker": "s", "label": "reference"},
    )
    apart = 0.12 * (len(rows) - 1)
    for side, row, style in zip((-1, 1), rows, styles, strict=False):
        ax.errorbar(
            lags + side * apart,
            row.mean,
            row.sd,
            linestyle="none",
            markersize=3,
            elinewidth=1,
            capsize=1.5,
            **style,
        )
    ax.axhline(0, color="0.6", linewidth=0.6, zorder=0)
    ax.set_xticks(lags[:: 1 if len(lags) < 12 else 2])
    legend(ax)


def _images(
    axes: Any, words: Words, lags: Array, columns: list[StencilDerivative], name: str
) -> Array:
    """Means above standard deviations, a column for the drift and one for the reference."""
    offsets = [axis._replace(name=f"Δ{axis.name}", x=lags, units="points") for axis in words.space]
    canvas = Canvas(offsets[0], offsets[1], True)
    if not lies_across(*words.space):
        canvas = Canvas(offsets[1], offsets[0], True, turned=True)
    mean, sd = [c.mean for c in columns], [c.sd for c in columns]
    rows = (
        Row(name, mean, signed_colours(*mean, percentile=100)),
        Row(f"sd of {name}", sd, spread_colours(*sd, percentile=100)),
    )
    titles = ("learned", "reference")[: len(columns)]
    return draw_rows(axes, canvas, rows, titles)
