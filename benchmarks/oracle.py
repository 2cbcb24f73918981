"""Coarse-grid oracle: the truth restricted and prolonged, which a forecast on that grid can reach.

The observed snapshots, first to last, are projected orthogonally on a space of fields with as many
dimensions as coarse points; what is left is the error. The spaces:

* "spectral": what a coarse grid resolves, prolonged by Fourier or sine series ("samples" takes the
  values at the coarse points instead of the projection);
* "lanczos", "gaussian": the span of our prolongation with the kernels it starts from;
* "optimal": on periodic axes, the span of one kernel's translates from coarse point to coarse point
  that is best for the training data, whatever the kernel (Aldroubi, Cabrelli, Hardin & Molter 2007,
  doi:10.1016/j.acha.2007.05.001). Our prolongation with a learned kernel is such a span.

Where there is a mask, or boundaries differ between channels, as around the cylinder, only the spans
of our prolongation are tried, on the points that have a field. The best on validation is reported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.coarse_grids import apply, interpolation, sampling
from pyro_msde import Grid, Trajectories
from pyro_msde.grid import ScaleOperators, gaussian_kernel, lanczos_kernel

__all__ = ["projections", "projections_on"]

Array = NDArray[Any]
Project = Callable[[Array], Array]
_FITTED = 500  # snapshots about, to which the best kernel is fitted


def projections(train: Trajectories, coarse: tuple[int, ...], periodic: bool) -> dict[str, Project]:
    """By name, the projections of fields (time, *space).

    Args:
        train: Training trajectories, for the best kernel.
        coarse: Coarse points per axis.
        periodic: Whether the axes are.
    """
    shape = train.field_shape
    axes = list(zip(shape, coarse, strict=True))
    up = [interpolation(*axis, periodic, "spectral") for axis in axes]
    fit = [sampling(*axis, periodic, "lowpass") for axis in axes]
    take = [sampling(*axis, periodic, "point") for axis in axes]
    grid = Grid(shape, coarse, boundary="periodic" if periodic else "dirichlet")
    found: dict[str, Project] = {
        "samples": lambda y: apply(up, apply(take, y)),
        "spectral": lambda y: apply(up, apply(fit, y)),
        **projections_on(grid),
    }
    if periodic:
        found["optimal"] = _best_translates(train, coarse)
    return found


def projections_on(grid: Grid, reference: Array | float = 0.0) -> dict[str, Project]:
    """By name, the projections of fields (time, *field) on what a grid's coarse points can say.

    Args:
        grid: Fine and coarse grid.
        reference: What is no part of what is projected, against fields.
    """
    return {
        "lanczos": _onto(lanczos_kernel(grid, 5, torch.float64), grid, reference),
        "gaussian": _onto(gaussian_kernel(grid, 3, dtype=torch.float64), grid, reference),
    }


def _onto(kernel: torch.Tensor, grid: Grid, reference: Array | float) -> Project:
    """Orthogonal projection on the range of T_p; NaN where there is no field."""
    units = grid.unflatten(torch.eye(grid.num_zeta, dtype=torch.float64))
    columns = ScaleOperators(kernel, grid).prolong(units).flatten(1).mT.numpy()
    seen = np.ones(len(columns), bool) if grid.mask is None else grid.mask.ravel()
    basis = np.linalg.qr(columns[seen])[0]

    def project(y: Array) -> Array:
        anomaly = (y - reference).reshape(len(y), -1)[:, seen]
        out = np.full((len(y), len(seen)), np.nan)
        out[:, seen] = (anomaly @ basis) @ basis.T
        return np.asarray(out.reshape(y.shape) + reference)

    return project


def _best_translates(train: Trajectories, coarse: tuple[int, ...]) -> Project:
    """Orthogonal projection on the translates of the best kernel.

    Translates by σ points span, at each coarse wavenumber, one direction among the fine ones that
    alias with it; the best is the leading eigenvector of the data's second moments there.
    """
    every = max(1, train.num_observations // _FITTED)
    modes = np.concatenate([_fibres(v, coarse) for v in train.thinned(every).values])
    modes = modes / np.linalg.norm(modes, axis=(1, 2), keepdims=True)  # errors are relative
    moments = np.einsum("twa,twb->wab", modes, modes.conj())
    direction = np.linalg.eigh(moments)[1][..., -1]

    def project(y: Array) -> Array:
        amplitude = np.einsum("twa,wa->tw", _fibres(y, coarse), direction.conj())
        return _from_fibres(amplitude[..., None] * direction, y.shape, coarse)

    return project


def _fibres(y: Array, coarse: tuple[int, ...]) -> Array:
    """(time, coarse wavenumber, alias) Fourier coefficients of fields (time, *space)."""
    spectrum = np.fft.fftn(y, axes=range(1, y.ndim))
    split = [part for n, m in zip(y.shape[1:], coarse, strict=True) for part in (n // m, m)]
    ndim = len(coarse)
    order = [0, *range(2, 2 * ndim + 1, 2), *range(1, 2 * ndim, 2)]
    ordered = spectrum.reshape(len(y), *split).transpose(order)
    return ordered.reshape(len(y), int(np.prod(coarse)), -1)


def _from_fibres(fibres: Array, shape: tuple[int, ...], coarse: tuple[int, ...]) -> Array:
    """The inverse of `_fibres`."""
    ndim = len(coarse)
    strides = [n // m for n, m in zip(shape[1:], coarse, strict=True)]
    split = fibres.reshape(len(fibres), *coarse, *strides)
    order = [0, *(axis for k in range(ndim) for axis in (1 + ndim + k, 1 + k))]
    return np.fft.ifftn(split.transpose(order).reshape(shape), axes=range(1, len(shape))).real
