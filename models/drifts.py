"""Drifts of the general model at sensible sizes, and the paper's (App. G.4, tables 4–6)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from pyro_msde.networks import (
    MLP,
    EquationPath,
    LocalReadout,
    ModalPath,
    MultiscaleDrift,
    PolynomialMLP,
    VaryingReadout,
)
from pyro_msde.protocols import Places
from pyro_msde.runs import check_size

__all__ = ["multiscale_drift"]

_WIDEST = {1: 8, 2: 2, 3: 1}  # half-width of the stencil: 17, 25, 27 points
_PUBLISHED_MACRO = {1: (128, 128), 2: (128, 512, 128), 3: (128, 512, 128)}
_LINE, _PLANE = (128, 512, 128), (512, 256, 128)  # microscale drifts in one dimension and more
_COUPLED = (128, 256, 128)  # the paper's beside a coupling, in its cylinder flow
_COUPLING = (128, 128)
_MOST_STATES = 256  # that the microscale drift sees one by one
_FEWEST_SEEN = 5  # numbers that it sees of more; one does not tell the phase of an oscillation
_RANK = 8  # of quadratic paths that see no stencil


def multiscale_drift(
    grid: Places,
    n_eta: int,
    num_covariates: int,
    num_controls: int,
    *,
    half_width: int | None,
    located: bool,
    static: Tensor | None,
    local: bool,
    varying: bool,
    coupling: bool,
    modes: int,
    width: int,
    rank: int | None,
    published: bool,
    time_features: bool,
    equation: EquationPath | None = None,
) -> MultiscaleDrift:
    """The drift that `multiscale` describes, by the arguments of the same names.

    Raises:
        ValueError: Networks larger than may be built; places of a graph that has none.
    """
    q = half_width
    if q is None:
        q = grid.half_width(2 if published else _WIDEST[grid.ndim])
    check_size("half_width", grid.num_coarse * (2 * q + 1) ** grid.ndim)
    neighbours = grid.stencil(q).num_neighbours
    coupled = coupling and n_eta > 0
    places = None
    if coupled or located:
        places = _along_axes(grid) if published and coupled else grid.locations()
    if static is not None:
        places = static if places is None else torch.cat([places, static], 1)
    num_places = 0 if places is None else places.shape[1]
    num_inputs = num_covariates + num_controls
    inputs = grid.channels * neighbours + num_inputs + n_eta
    inputs += 0 if coupled else num_places
    hidden = _PUBLISHED_MACRO[grid.ndim] if published else (width, width)
    macro = _network(
        [inputs, *hidden, grid.channels],
        grid.channels * inputs if rank is None else rank,
        published,
        reluctant=True,
    )
    if local:
        check_size("local", grid.num_coarse * macro.readout().numel())
        macro = LocalReadout(macro, grid.num_coarse)
    if varying:
        before = grid.channels * neighbours + (0 if coupled else num_places)
        macro = _varying(macro, before, num_covariates)
    micro = psi = star = None
    if n_eta:
        seen = grid.num_zeta
        if seen > _MOST_STATES or (published and grid.ndim > 1):
            seen = n_eta if published else max(n_eta, _FEWEST_SEEN)
            check_size("n_eta", grid.num_zeta * seen)
            psi = nn.Linear(grid.num_zeta, seen, bias=False)
        size = n_eta + seen + num_inputs + 2 * time_features
        widths = _PLANE if published and grid.ndim > 1 else _LINE
        if published and coupled:
            widths = _COUPLED
        micro = _network([size, *widths, n_eta], _RANK, published, reluctant=False)
        if varying:
            micro = _varying(micro, n_eta + seen, num_covariates)
    if coupled:
        size = n_eta + 2 * time_features + num_places
        star = _network([size, *_COUPLING, n_eta], _RANK, published, reluctant=True)
    return MultiscaleDrift(
        grid,
        n_eta,
        macro,
        micro,
        half_width=q,
        time_features=time_features,
        psi=psi,
        places=places,
        coupling=star,
        path=ModalPath(grid.num_zeta, min(modes, grid.num_zeta), num_controls) if modes else None,
        equation=equation,
    )


def _network(sizes: list[int], rank: int, published: bool, *, reluctant: bool) -> Any:
    weights = sum(a * b for a, b in pairwise(sizes))
    check_size("width", weights)
    check_size("rank", 0 if published else rank * (2 * sizes[0] + sizes[-1]))
    return MLP(sizes) if published else PolynomialMLP(sizes, rank, reluctant=reluctant)


def _varying(network: Any, before: int, num_covariates: int) -> VaryingReadout:
    """Its last weights vary with the covariates, which come after so many inputs."""
    network = VaryingReadout(network, slice(before, before + num_covariates))
    check_size("varying", network.varying.numel())
    return network


def _along_axes(grid: Places) -> Tensor:
    """(num_coarse, axes) where coarse points are, from −1 to 1 along each axis, rings among them.

    The paper gives φ* the coordinates as they are, which differ from these by scale and shift.
    """
    if not grid.regular:
        return grid.locations()
    axes = [torch.linspace(-1, 1, n) if n > 1 else torch.zeros(1) for n in grid.coarse]
    return torch.cartesian_prod(*axes).reshape(-1, grid.ndim)
