"""The two scales: latent paths, what each contributes to a field, and the kernel between them."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray

from pyro_msde.arviz_io import kernel_draws
from pyro_msde.experts import product_mean
from pyro_msde.forecasting import Forecast
from pyro_msde.grid import Grid
from pyro_msde.plots.scene import Axis, Words, one_axis
from pyro_msde.plots.style import (
    CYCLE,
    DASHES,
    OKABE_ITO,
    SIGNED,
    add_image,
    colour_bar,
    label,
    legend,
    new_axes,
    panels,
)
from pyro_msde.training import pyro_settings
from pyro_msde.trajectories import Trajectories

__all__ = ["latent_paths", "scale_separation", "smoothing_kernel"]

Array = NDArray[Any]


def latent_paths(
    fc: Forecast,
    trajectory: int = 0,
    *,
    data: Trajectories | None = None,
    num_states: int = 5,
    axes: Any = None,
) -> Array:
    """Mean and central 90 % of the latent paths: macroscale above, microscale below.

    Args:
        fc: The forecast.
        trajectory: Which one, if it has a batch.
        data: Gives names, positions and units.
        num_states: Most states of a scale to draw, evenly spaced among them.
        axes: Two Axes, or one if there is no microscale. None: new ones.

    Returns:
        (2,) or (1,) array of the Axes.

    Raises:
        ValueError: Another number of Axes.
    """
    grid = fc.model.grid
    words = Words.of(grid, data)
    paths = (fc.latent[:, trajectory] if fc.batched else fc.latent).numpy()
    zeta, eta = paths[..., : grid.num_zeta], paths[..., grid.num_zeta :]
    count = 2 if eta.shape[-1] else 1
    drawn, _ = panels(axes, count, height=1.5 * count + 0.2, sharex=True)
    names = _coarse_names(words, grid)
    _paths(drawn[0], fc.times, zeta, names, num_states)
    drawn[0].set_ylabel(label("ζ", words.field_units))
    if count == 2:
        names = [rf"$\eta_{{{k + 1}}}$" for k in range(eta.shape[-1])]
        _paths(drawn[1], fc.times, eta, names, num_states)
        drawn[1].set_ylabel("η")
    drawn[-1].set_xlabel(words.time_label)
    return np.array(drawn, dtype=object)


def _paths(ax: Axes, times: Array, paths: Array, names: list[str], most: int) -> None:
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
    legend(ax, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _coarse_names(words: Words, grid: Grid) -> list[str]:
    """Where each macroscale state is, channel-major."""
    places = [
        [f"{axis.name} = {x:.3g}{_unit(axis)}" for x in axis.x[index]]
        for axis, index in zip(words.space, grid.coarse_index, strict=True)
    ]
    points = [", ".join(place) for place in product(*places)]
    return [f"{c}, {p}" for c in words.channels for p in points] or points


def _unit(axis: Axis) -> str:
    return "" if axis.units in (None, "", "1") else f" {axis.units}"


def smoothing_kernel(
    fit: Any, *, data: Trajectories | None = None, channel: int = 0, ax: Axes | None = None
) -> Axes:
    """Smoothing kernel κ against the lag: mean, and central 90 % where it has a posterior.

    Args:
        fit: The `Fit`, of fields with one or two axes of space.
        data: Gives names, positions and units.
        channel: Which one.
        ax: Axes. None: new.

    Returns:
        The Axes; for two axes of space with an image and its colour bar.

    Raises:
        ValueError: Three axes of space.
    """
    grid = fit.model.grid
    if grid.ndim > 2:
        raise ValueError(f"fit: fields have {grid.ndim} axes of space; this picture is for two.")
    axes = Words.of(grid, data).space
    draws = kernel_draws(fit)[:, channel].numpy()
    ax = new_axes(height=1.9 if grid.ndim == 1 else 2.8)[0, 0] if ax is None else ax
    lags = [_lags(axis, size) for axis, size in zip(axes, draws.shape[1:], strict=True)]
    labels = [label(f"lag in {axis.name}", axis.units) for axis in axes]
    ax.set_xlabel(labels[0])
    if grid.ndim == 2:
        ax.set_ylabel(labels[1])
        size = float(np.abs(draws.mean(0)).max())
        image = add_image(ax, lags[0], lags[1], draws.mean(0), cmap=SIGNED, vmin=-size, vmax=size)
        colour_bar(image, [ax], "κ")
        return ax
    if len(draws) > 1:
        low, high = np.quantile(draws, [0.05, 0.95], axis=0)
        ax.fill_between(lags[0], low, high, color=OKABE_ITO["sky"], alpha=0.45, linewidth=0)
    ax.plot(lags[0], draws.mean(0), color=OKABE_ITO["blue"], linewidth=1)
    ax.axhline(0, color="0.6", linewidth=0.6, zorder=0)
    for name, side in (("coarse spacing", 1), (None, -1)):
        at = side * (lags[0][1] - lags[0][0]) * grid.stride[0]
        ax.axvline(at, color="0.4", linewidth=0.8, linestyle=":", zorder=0, label=name)
    legend(ax)
    ax.set_xlim(lags[0][0], lags[0][-1])
    ax.set_ylabel("κ")
    return ax


def _lags(axis: Axis, size: int) -> Array:
    spacing = float(axis.x[1] - axis.x[0]) if len(axis.x) > 1 else 1.0
    return (np.arange(size) - size // 2) * spacing


def scale_separation(
    fit: Any, y: Any, *, data: Trajectories | None = None, channel: int = 0, axes: Any = None
) -> Array:
    """What each scale contributes to a snapshot, at the encoder's mean of z.

    Above y, its macroscale T_p ζ, and the sum of both scales; below the microscale's part
    Σ_y S_η D(η) and what it has to explain, y − T_p ζ.

    Args:
        fit: The `Fit`, of fields with one axis of space. Of a posterior over θ one draw is taken.
        y: One field as `fit.predict` takes it.
        data: Gives names, positions and units.
        channel: Which one.
        axes: Two Axes. None: new ones.

    Returns:
        (2,) array of the Axes.

    Raises:
        ValueError: More axes of space, a field of another grid, another number of Axes.
    """
    one_axis(fit.model.grid)
    words = Words.of(fit.model.grid, data)
    snapshot, macro, total = (part[channel] for part in _separate(fit, y))
    drawn, _ = panels(axes, 2, height=3.0, sharex=True)
    x = words.space[0].x
    drawn[0].plot(x, snapshot, color="black", linewidth=1, label="$y$")
    drawn[0].plot(x, macro, color=OKABE_ITO["blue"], linewidth=1, label=r"$T_p\zeta$")
    drawn[0].plot(x, total, color=OKABE_ITO["vermilion"], linewidth=1, linestyle="--", label="sum")
    drawn[1].plot(x, snapshot - macro, color="0.7", linewidth=2.2, label=r"$y - T_p\zeta$")
    if fit.model.n_eta:
        drawn[1].plot(
            x,
            total - macro,
            color=OKABE_ITO["green"],
            linewidth=1,
            label=r"$\Sigma_y S_\eta D(\eta)$",
        )
    for ax in drawn:
        ax.set_ylabel(words.field_label(channel))
        ax.set_xlim(x[0], x[-1])
        legend(ax)
    drawn[1].set_xlabel(words.space[0].label)
    return np.array(drawn, dtype=object)


@torch.no_grad()
def _separate(fit: Any, y: Any) -> tuple[Array, Array, Array]:
    """y, T_p ζ and T_p ζ + Σ_y S_η D(η), each (channel, *space) in the user's units."""
    fields, batched = fit._fields(y)
    if batched:
        raise ValueError(f"y: {len(fields)} fields. Pass one.")
    model, scale = fit.model, fit.scaling.field_scale(fields, fit.model.grid.ndim)
    with torch.random.fork_rng(), pyro_settings(validate=False):
        torch.manual_seed(0)
        sites = fit.guide.read_theta()
        theta = model.read_parameters(sites)
        z, _ = fit.guide.encode(fields / scale, sites, theta.operators)
        macro, detail = model.expert_means(theta, z)
        total = product_mean(macro, detail, theta.var_zeta, theta.var_eta)
    parts = (fields, macro * scale, total * scale)
    snapshot, low, both = (part[0].cpu().numpy() for part in parts)
    return snapshot, low, both
