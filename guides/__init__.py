"""Variational guides, as Pyro programs."""

from pyro_msde.guides.amortized_gp import AmortizedGP
from pyro_msde.guides.parameters import parameter_guide
from pyro_msde.guides.unamortized_gp import UnamortizedGP

__all__ = ["AmortizedGP", "UnamortizedGP", "parameter_guide"]
