"""What weak-form equations say of a field's coefficients: a Gaussian likelihood.

With b = G c + noise over test functions, log p(b | c) = −(cᵀ GᵀG c − 2 cᵀ Gᵀb) / (2 σ² m) + const.
σ² is the mean square of what the best coefficients leave. m says how many test functions count as
one, as their supports overlap and what they leave is alike: with it the likelihood's covariance of
the equation's terms has the size of the jackknife's, which knows nothing of σ² and m. A likelihood
to the power 1/m has √m times the standard deviations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyro_msde.checks import check_number
from pyro_msde.equations.selection import least_squares, leave_one_out, misfit
from pyro_msde.equations.weak_form import NormalEquations

__all__ = ["Evidence", "GaussianCoefficients"]

Array = NDArray[Any]

_ROUNDING = 1e-14  # of the left side's square: what data without noise are missed by at least


class GaussianCoefficients(NamedTuple):
    """Mean (term,) and covariance (term, term) of coefficients in the user's units."""

    mean: Array
    covariance: Array


@dataclass(frozen=True)
class Evidence:
    """log p(data | c) = −½ θᵀ A θ + bᵀ θ + const, with c = size × θ.

    Attributes:
        field: Whose equation it is, such as "u".
        terms: That it may have, (term,) as they are read.
        sizes: (term,) coefficients, in the user's units, with which a term by itself would be as
            large as u_t.
        precision: A, (term, term).
        right: b, (term,).
        overlap: m, how many test functions count as one.
    """

    field: str
    terms: tuple[str, ...]
    sizes: Array
    precision: Array
    right: Array
    overlap: float

    @classmethod
    def of(
        cls,
        groups: Sequence[NormalEquations],
        channel: int,
        *,
        field: str,
        terms: Sequence[str],
        columns: Sequence[int],
        kept: Sequence[int],
        units: Array,
    ) -> Evidence:
        """From equations in groups that are independent of each other.

        Args:
            groups: Two at least.
            channel: Number of the field.
            field: Its name.
            terms: Names of the terms asked for.
            columns: Their numbers in the equations.
            kept: Numbers of the terms that the equation has.
            units: (term,) coefficients in the equations' units over those in the user's.
        """
        total = reduce(add, groups)
        best = least_squares(total, channel, kept)
        inner = total.matrix[np.ix_(kept, kept)]
        square = float(total.square[channel])
        missed = max(misfit(total, channel, kept, best), _ROUNDING * square)
        variance = missed / max(1, total.count - len(kept))
        plain = variance * np.diag(np.linalg.pinv(inner, hermitian=True))
        known = np.square(leave_one_out(groups, channel, kept)).sum(0)
        known = np.maximum(known, np.finfo(float).tiny)
        overlap = max(1.0, float(np.exp(np.mean(np.log(known / plain)))))
        columns = list(columns)
        matrix = total.matrix[np.ix_(columns, columns)]
        sizes = np.sqrt(square / np.diag(matrix))
        noise = variance * overlap
        return cls(
            field,
            tuple(terms),
            sizes / units,
            matrix * sizes * sizes[:, None] / noise,
            total.right[columns, channel] * sizes / noise,
            overlap,
        )

    def posterior(self, prior_sd: float) -> GaussianCoefficients:
        """In closed form, under θ ~ N(0, prior_sd²) for each term.

        Raises:
            ValueError: A standard deviation that is not positive.
        """
        prior_sd = check_number("prior_sd", prior_sd)
        precision = self.precision + np.eye(len(self.terms)) / prior_sd**2
        covariance = np.linalg.inv(precision)
        mean = np.linalg.solve(precision, self.right)
        return GaussianCoefficients(
            mean * self.sizes, covariance * self.sizes * self.sizes[:, None]
        )
