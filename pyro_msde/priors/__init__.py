"""Parameters of a model's parts: points that are fitted, or one random site under a prior."""

from pyro_msde.priors.bayesian_parts import described_priors, initial_values, starting_values
from pyro_msde.priors.parts import LogVariance, Part, private

__all__ = [
    "LogVariance",
    "Part",
    "described_priors",
    "initial_values",
    "private",
    "starting_values",
]
