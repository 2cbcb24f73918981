"""p(y given z): how fields are distributed around what the latent state says of them."""

from pyro_msde.likelihoods.families import (
    FAMILIES,
    FieldNormal,
    StudentT,
    can_be_moved,
    laplace,
    moved,
    student,
)
from pyro_msde.likelihoods.product_of_experts import product_mean, product_variance
from pyro_msde.likelihoods.weighted import WeightedFields

__all__ = [
    "FAMILIES",
    "FieldNormal",
    "StudentT",
    "WeightedFields",
    "can_be_moved",
    "laplace",
    "moved",
    "product_mean",
    "product_variance",
    "student",
]
