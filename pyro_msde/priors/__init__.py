"""Parameters of a model's parts: points that are fitted, or one random site under a prior."""

from pyro_msde.priors.bayesian_parts import (
    bayesian,
    described_priors,
    fan_in_normal,
    initial_values,
    starting_values,
)
from pyro_msde.priors.horseshoe import Horseshoe
from pyro_msde.priors.parts import (
    LogVariance,
    Part,
    fixed_names,
    is_positive,
    part_of,
    private,
)
from pyro_msde.priors.posteriors import posterior_of
from pyro_msde.priors.spike_and_slab import SpikeAndSlab

__all__ = [
    "Horseshoe",
    "LogVariance",
    "Part",
    "SpikeAndSlab",
    "bayesian",
    "described_priors",
    "fan_in_normal",
    "fixed_names",
    "initial_values",
    "is_positive",
    "part_of",
    "posterior_of",
    "private",
    "starting_values",
]
