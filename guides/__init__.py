"""Variational guides, as Pyro programs."""

from pyro_msde.guides.amortized_gp import AmortizedGP
from pyro_msde.guides.parameters import parameter_guide

__all__ = ["AmortizedGP", "parameter_guide"]
