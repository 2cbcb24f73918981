"""The equation in a fitted drift, in the user's units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyro_msde.equations.terms import equation_text

__all__ = ["FittedEquation"]


@dataclass(frozen=True)
class FittedEquation:
    """Coefficients of terms by field, as `str` shows them.

    Attributes:
        coefficients: By field and term, such as `coefficients["u"]["(u^2)_x"]`, in the user's units
            of fields, lengths, times and covariates.
        sd: Their standard errors, shaped alike, by leaving out groups of trajectories, or of times
            of a single one; zero where the equation was given.
    """

    coefficients: Mapping[str, Mapping[str, float]]
    sd: Mapping[str, Mapping[str, float]]

    @property
    def text(self) -> str:
        """As `multiscale(equation=…)` reads it, but for names of fields, axes and covariates."""
        return "; ".join(
            equation_text(field, ((value, term) for term, value in row.items()))
            for field, row in self.coefficients.items()
        )

    def __str__(self) -> str:
        """An equation a line, with standard errors."""
        lines = []
        for field, row in self.coefficients.items():
            lines.append(equation_text(field, ((value, term) for term, value in row.items())))
            for term, value in row.items():
                if error := self.sd[field][term]:
                    lines.append(f"    {term}: {value:.6g} ± {error:.2g}")
        return "\n".join(lines)
