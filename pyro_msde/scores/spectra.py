"""Power spectra of fields on regular grids, in each axis's own waves.

A snapshot is written in waves that suit the axis's boundary, of wavenumber k in cycles a length,
and the mean square of each is summed over shells of |k| of width Δk:

    E(k) Δk = Σ_{|k'| in the shell} |ŷ(k')|²,        ∫ E dk = mean square of the field.

Periodic axes take Fourier's waves. Dirichlet axes take the sines that vanish on the walls, one
spacing beyond the end points; Neumann axes the cosines that are even about the walls, half a
spacing beyond, and antisymmetric axes the sines that are odd about these: of period 2L, so that k
comes in steps of 1/(2L). Replicate axes have no waves of their own: their mean is taken off and a
Hann window, scaled to keep the mean square of noise, put over them before Fourier's transform.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.checks import check_number, check_whole
from pyro_msde.data import to_numpy
from pyro_msde.grid import ends_of

__all__ = ["band_power", "shell_spectrum"]

Array = NDArray[Any]

_MOST_BANDS = 10_000


def shell_spectrum(
    fields: Any, boundary: Sequence[Any], spacing: Sequence[float]
) -> tuple[Array, Array]:
    """Power spectrum E(k) of fields on a regular grid, averaged over them.

    Args:
        fields: (..., *space).
        boundary: Per axis of space, as `Grid` takes it, the same at both ends.
        spacing: Of the points per axis, in units of length.

    Returns:
        (shell,) wavenumbers k > 0 in cycles a length, up to the coarsest axis's Nyquist wavenumber;
        and E (shell,), in the field's units squared times length.

    Raises:
        ValueError: Fewer axes than boundaries, or as many spacings as not; a boundary without
            waves, or two at the ends of an axis.
    """
    power, shell, width, last = _shells(fields, boundary, spacing)
    power = power.reshape(-1, shell.size).mean(0)
    total = np.bincount(shell.ravel(), power)
    centres = np.arange(len(total)) * width
    return centres[1 : last + 1], total[1 : last + 1] / width


def band_power(
    fields: Any, boundary: Sequence[Any], spacing: Sequence[float], bands: int
) -> tuple[Array, Array]:
    """Mean square of each field in bands of wavenumber, about evenly wide on a logarithmic scale.

    Bands hold whole shells, from the longest wave to the coarsest axis's Nyquist wavenumber.

    Args:
        fields: (..., *space).
        boundary: As for `shell_spectrum`.
        spacing: As for `shell_spectrum`.
        bands: How many; fewer where there are too few shells.

    Returns:
        (band + 1,) edges in cycles a length, and (..., band) in the field's units squared.

    Raises:
        ValueError: As for `shell_spectrum`.
    """
    bands = check_whole("bands", bands, 1, _MOST_BANDS)
    power, shell, width, last = _shells(fields, boundary, spacing)
    edges = np.unique(np.rint(np.geomspace(1, last + 1, bands + 1)))
    band = np.digitize(shell.ravel(), edges) - 1
    inside = (band[:, None] == np.arange(len(edges) - 1)).astype(np.float64)
    ahead = power.shape[: power.ndim - len(boundary)]
    return (edges - 0.5) * width, power.reshape(*ahead, -1) @ inside


def _shells(
    fields: Any, boundary: Sequence[Any], spacing: Sequence[float]
) -> tuple[Array, Array, float, int]:
    """Mean squares (..., *waves) of waves, their shells (*waves), these' width and last number."""
    if isinstance(boundary, str) or not isinstance(boundary, Sequence):
        raise ValueError(f"boundary: {boundary!r}; give one for each axis of space.")
    ends = ends_of(boundary, len(boundary))
    for axis, pair in enumerate(ends):
        if not pair.has_waves:
            raise ValueError(
                f"boundary[{axis}]: no waves suit the ends {boundary[axis]!r} of an axis. Pass "
                '"replicate", which tapers any field.'
            )
    several = isinstance(spacing, Sequence) and not isinstance(spacing, str)
    if not several and not (isinstance(spacing, np.ndarray) and spacing.ndim == 1):
        raise ValueError(f"spacing: got {spacing!r}. Pass a number for each axis of space.")
    spacing = [check_number(f"spacing[{axis}]", dx) for axis, dx in enumerate(spacing)]
    ndim = len(boundary)
    values = to_numpy(fields, "fields").astype(np.float64)
    if not np.isfinite(values).all() or not values.size:
        raise ValueError("fields: empty, or NaN or infinite among them. Fill or drop these.")
    if values.ndim < ndim or len(spacing) != ndim:
        raise ValueError(
            f"fields: shape {values.shape} for {ndim} boundaries and {len(spacing)} spacings; give "
            "(..., *space), and one of both for each axis of space."
        )
    waves, squared = values, np.zeros((1,) * ndim)
    steps = []
    for axis, (pair, dx) in enumerate(zip(ends, spacing, strict=True), start=-ndim):
        waves, k, step = pair.waves(waves, axis, dx)
        steps.append(step)
        squared = squared + (k**2).reshape(-1, *(1,) * (-1 - axis))
    width = max(steps)
    shell = np.rint(np.sqrt(squared) / width).astype(np.int64)
    # beyond the coarsest axis's shortest wave, shells are no longer whole
    last = round(min(0.5 / dx for dx in spacing) / width + 1e-9)
    return np.square(np.abs(waves)) / np.prod(values.shape[-ndim:]), shell, width, last
