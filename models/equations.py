"""The equation of a macroscale drift, from what `multiscale(equation=…)` is given."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pyro_msde.equations import Names, axis_letters, library, parsed
from pyro_msde.grid import AxisWaves, waves_of
from pyro_msde.networks import EquationPath
from pyro_msde.protocols import Places
from pyro_msde.runs import check_size

__all__ = ["IDENTIFIED", "equation_path", "takes_equation"]

IDENTIFIED = "identified"
_MOST_TERMS = 200  # of which some are chosen in seconds


def takes_equation(places: Places, num_inputs: int, num_statics: int = 0) -> bool:
    """Whether an equation can be identified on these places.

    Args:
        places: Of the fields.
        num_inputs: Covariates and controls.
        num_statics: Static fields.
    """
    waves = waves_of(places, 1)
    if waves is None:
        return False
    statics = num_statics if _all_rings(waves) else 0
    return len(library(places.channels, places.ndim, num_inputs, statics)) <= _MOST_TERMS


def _all_rings(waves: Sequence[AxisWaves]) -> bool:
    """Where products with static fields are known beyond the ends."""
    return all(along.kind == "ring" for along in waves)


def equation_path(
    places: Places,
    equation: str,
    num_covariates: int,
    kernel: Tensor,
    num_controls: int = 0,
    num_statics: int = 0,
    axes: str | None = None,
) -> EquationPath:
    """A path for an equation: "identified" by `fit`, or text.

    Static fields are taken on rings only.

    Raises:
        ValueError: Text that is no equation; places that take none.
    """
    inputs = num_covariates + num_controls
    rings = waves_of(places, 1)
    num_statics = num_statics if rings is not None and _all_rings(rings) else 0
    known_letters = axes is None or (
        len(axes) == places.ndim and axis_letters(axes, places.channels) is not None
    )
    if not known_letters:
        raise ValueError(
            f"axes={axes!r}: give {places.ndim} different letters that are no field's, nor t."
        )
    names = Names.usual(places.channels, places.ndim, inputs, num_statics, axes)
    if equation == IDENTIFIED:
        known, terms = None, library(places.channels, places.ndim, inputs, num_statics)
        if len(terms) > _MOST_TERMS:
            raise ValueError(
                f"equation: a library of {len(terms)} terms, of {places.channels} channels and "
                f"{inputs} covariates and controls, is too large to choose from; {_MOST_TERMS} "
                "are the most. Give the equation, or leave it out."
            )
    else:
        known = parsed(equation, names)
        terms = tuple(dict.fromkeys(term for row in known for term in row))
    degrees = (term.degree + (term.static is not None) for term in terms)
    waves = waves_of(places, max(degrees, default=1))
    if waves is None:
        raise ValueError(
            "equation: derivatives are taken on a grid without a mask whose axes are 'periodic', "
            "'dirichlet', 'antisymmetric' or 'neumann', alike for all channels. Leave it out."
        )
    for along in waves:
        check_size("equation", len(along.wavenumbers) * along.dense)
    path = EquationPath(
        places, waves, terms, kernel.shape[1:], num_covariates, num_controls, num_statics, axes
    )
    if known is not None:
        path.given = torch.tensor(
            [[row.get(term, 0.0) for term in terms] for row in known], dtype=torch.float64
        )
    return path
