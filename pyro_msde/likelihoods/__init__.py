"""p(y given z): how fields are distributed around what the latent state says of them."""

from pyro_msde.likelihoods.correlated import CorrelatedNormal
from pyro_msde.likelihoods.correlations import DenseCorrelation, PatternCorrelation
from pyro_msde.likelihoods.families import (
    FAMILIES,
    FieldNormal,
    StudentT,
    can_be_moved,
    laplace,
    moved,
    student,
)
from pyro_msde.likelihoods.precisions import Dense, LowRank, Precision
from pyro_msde.likelihoods.product_of_experts import (
    correlated_product_mean,
    product_mean,
    product_variance,
)
from pyro_msde.likelihoods.weighted import WeightedFields

__all__ = [
    "FAMILIES",
    "CorrelatedNormal",
    "Dense",
    "DenseCorrelation",
    "FieldNormal",
    "LowRank",
    "PatternCorrelation",
    "Precision",
    "StudentT",
    "WeightedFields",
    "can_be_moved",
    "correlated_product_mean",
    "laplace",
    "moved",
    "product_mean",
    "product_variance",
    "student",
]
