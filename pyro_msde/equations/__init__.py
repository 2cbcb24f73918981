"""Partial differential equations: terms, text, and their coefficients from data."""

from pyro_msde.equations.evidence import Evidence, GaussianCoefficients
from pyro_msde.equations.fitted_equation import FittedEquation
from pyro_msde.equations.parsing import parsed
from pyro_msde.equations.selection import (
    MOST_TERMS,
    Selected,
    inclusion,
    least_squares,
    leave_one_out,
    selected,
)
from pyro_msde.equations.terms import (
    Names,
    Term,
    axis_letters,
    equation_text,
    identities,
    library,
    written,
)
from pyro_msde.equations.weak_form import NormalEquations, TestFunctions, weak_form

__all__ = [
    "MOST_TERMS",
    "Evidence",
    "FittedEquation",
    "GaussianCoefficients",
    "Names",
    "NormalEquations",
    "Selected",
    "Term",
    "TestFunctions",
    "axis_letters",
    "equation_text",
    "identities",
    "inclusion",
    "least_squares",
    "leave_one_out",
    "library",
    "parsed",
    "selected",
    "weak_form",
    "written",
]
