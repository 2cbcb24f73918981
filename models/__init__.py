"""Generative models, as Pyro programs. Importing this package registers them for `load`."""

from pyro_msde.models.kdv import kdv
from pyro_msde.models.multiscale import Multiscale

__all__ = ["Multiscale", "kdv"]
