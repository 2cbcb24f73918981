"""The equation in a model's drift: what it is measured in, and what it says in the user's units."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_msde.data import Metadata, Scaling
from pyro_msde.equations import FittedEquation, Names, written
from pyro_msde.networks import EquationPath, drift_of
from pyro_msde.priors import part_of, starting_values
from pyro_msde.protocols import Model

__all__ = ["equation_of", "fitted_equation", "is_equation_alone", "measure_equation", "names_of"]

_COMPETES = 0.1  # of resamples that have a term which the equation lacks


def equation_of(model: Model) -> EquationPath | None:
    """The equation in a model's drift; None: there is none."""
    return getattr(drift_of(model), "equation", None)


def is_equation_alone(model: Model) -> bool:
    """Whether the drift is an equation without anything that was learned beside it."""
    part = part_of(model, "drift")
    if part is not None and part.is_random:
        return False
    return bool(getattr(drift_of(model), "resting", False)) and not model.n_eta


@torch.no_grad()
def measure_equation(model: Model, scaling: Scaling, static: Any = None) -> str | None:
    """Tell the model's equation, if it has one, of units, reference and smoothing kernel.

    Args:
        model: The generative model.
        scaling: Its units.
        static: (s, *space) static fields of the data, if there are any.

    Returns:
        Why it can not be used; None: it can, or there is none.
    """
    path = equation_of(model)
    if path is None:
        return None
    if scaling.link is not None:
        return "fields are seen through a link"
    if scaling.reference.period is not None:
        return "the reference depends on time"
    kernel = part_of(model, "kernel")
    if kernel is None or kernel.is_random:
        return "the smoothing kernel has a prior"
    path.measure_in(scaling.channels, scaling.time, scaling.covariates, scaling.controls)
    if path.num_statics and static is not None:
        path.see_statics(static)
    reference, fine = None, 0.0
    if scaling.reference.coefficients is not None:
        like = next(model.parameters())
        size = np.reshape(scaling.channels, (-1, *(1,) * model.grid.ndim))
        fine = scaling.reference.coefficients[0] / size
        whole = np.broadcast_to(fine, (model.grid.channels, *model.grid.data_shape))
        padded = np.pad(whole, [(0, 0), *model.grid.padding], mode="edge")
        operators = model.bind(starting_values(model)).operators
        reference = operators.restrict(torch.as_tensor(padded).to(like))
    path.see_through(kernel.read(starting_values(model))(), reference, fine)
    return None


def names_of(path: EquationPath, metadata: Metadata | None) -> Names:
    """What an equation calls fields, axes, covariates, controls and static fields.

    These are c1, c2, … and s1, s2, … where metadata do not say.
    """
    channels, ndim = path.grid.channels, len(path.waves)
    names = Names.usual(channels, ndim, path.num_inputs, path.num_statics, path.axes)
    if metadata is None:
        return names
    known = *metadata.covariates, *metadata.controls
    if len(known) == path.num_inputs:
        names = replace(names, covariates=known)
    if len(metadata.static) == path.num_statics:
        names = replace(names, statics=metadata.static)
    return names


def fitted_equation(path: EquationPath, metadata: Metadata | None = None) -> FittedEquation:
    """An equation in the user's units.

    Args:
        path: Of a model that is fitted.
        metadata: With names of covariates, controls and static fields; None: c1, c2, …, s1, s2, ….
    """
    names = names_of(path, metadata)
    factors = path.factors()
    values, sd = (x.double().cpu() / factors for x in (path.coefficients, path.sd))
    inclusion = path.inclusion.double().cpu()
    there = values != 0

    def by_term(rows: Tensor, shown: Tensor) -> dict[str, dict[str, float]]:
        return {
            field: {
                written(term, names): float(row[k])
                for k, term in enumerate(path.terms)
                if shown[channel, k]
            }
            for channel, (field, row) in enumerate(zip(names.fields, rows, strict=True))
        }

    shown = (inclusion >= _COMPETES) | (there & (inclusion > 0))
    return FittedEquation(by_term(values, there), by_term(sd, there), by_term(inclusion, shown))
