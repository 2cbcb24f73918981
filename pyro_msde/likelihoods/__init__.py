"""p(y given z): how fields are distributed around what the latent state says of them."""

from pyro_msde.likelihoods.product_of_experts import (
    ProductOfExperts,
    product_mean,
    product_variance,
)

__all__ = [
    "ProductOfExperts",
    "product_mean",
    "product_variance",
]
