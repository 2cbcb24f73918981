"""The equation of a macroscale drift, from what `multiscale(equation=…)` is given."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_msde.equations import Names, library, parsed
from pyro_msde.grid import waves_of
from pyro_msde.networks import EquationPath
from pyro_msde.protocols import Places
from pyro_msde.runs import check_size

__all__ = ["IDENTIFIED", "equation_path", "takes_equation"]

IDENTIFIED = "identified"
_MOST_TERMS = 160  # of which some are chosen in seconds


def takes_equation(places: Places, num_covariates: int) -> bool:
    """Whether an equation can be identified on these places."""
    if waves_of(places, 1) is None:
        return False
    return len(library(places.channels, places.ndim, num_covariates)) <= _MOST_TERMS


def equation_path(
    places: Places, equation: str, num_covariates: int, kernel: Tensor
) -> EquationPath:
    """A path for an equation: "identified" by `fit`, or text.

    Raises:
        ValueError: Text that is no equation; places that take none.
    """
    names = Names.usual(places.channels, places.ndim, num_covariates)
    if equation == IDENTIFIED:
        known, terms = None, library(places.channels, places.ndim, num_covariates)
        if len(terms) > _MOST_TERMS:
            raise ValueError(
                f"equation: a library of {len(terms)} terms, of {places.channels} channels and "
                f"{num_covariates} covariates, is too large to choose from; {_MOST_TERMS} are the "
                "most. Give the equation, or leave it out."
            )
    else:
        known = parsed(equation, names)
        terms = tuple(dict.fromkeys(term for row in known for term in row))
    waves = waves_of(places, max((term.degree for term in terms), default=1))
    if waves is None:
        raise ValueError(
            "equation: derivatives are taken on a grid without a mask whose axes are 'periodic', "
            "'dirichlet', 'antisymmetric' or 'neumann', alike for all channels. Leave it out."
        )
    for along in waves:
        check_size("equation", len(along.wavenumbers) * along.dense)
    path = EquationPath(places, waves, terms, kernel.shape[1:], num_covariates)
    if known is not None:
        path.given = torch.tensor(
            [[row.get(term, 0.0) for term in terms] for row in known], dtype=torch.float64
        )
    return path
