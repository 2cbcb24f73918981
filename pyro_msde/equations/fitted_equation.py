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
        inclusion: By field and term, the share of resamples of the training data, group by group,
            whose equation has the term. Also of terms that the equation lacks, and that compete
            with its own; empty where the equation was given.
    """

    coefficients: Mapping[str, Mapping[str, float]]
    sd: Mapping[str, Mapping[str, float]]
    inclusion: Mapping[str, Mapping[str, float]]

    @property
    def text(self) -> str:
        """As `multiscale(equation=…)` reads it, but for names of fields, axes and covariates."""
        return "; ".join(
            equation_text(field, ((value, term) for term, value in row.items()))
            for field, row in self.coefficients.items()
        )

    def __str__(self) -> str:
        """An equation a line, then standard errors, and what is sure of its terms and of others."""
        lines = []
        for field, row in self.coefficients.items():
            lines.append(equation_text(field, ((value, term) for term, value in row.items())))
            share = self.inclusion[field]
            for term, value in row.items():
                if error := self.sd[field][term]:
                    sure = f", in {share[term]:.0%} of resamples" if term in share else ""
                    lines.append(f"    {term}: {value:.6g} ± {error:.2g}{sure}")
            others = (term for term in share if term not in row)
            lines += [f"    without {term}, in {share[term]:.0%} of resamples" for term in others]
        return "\n".join(lines)
