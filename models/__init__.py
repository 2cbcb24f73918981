"""Generative models, as Pyro programs. Importing this package registers them for `load`."""

from pyro_msde.models.builder import multiscale
from pyro_msde.models.burgers import burgers1d, burgers2d
from pyro_msde.models.coefficients import EquationCoefficients
from pyro_msde.models.cylinder import cylinder
from pyro_msde.models.general import Multiscale
from pyro_msde.models.gle import gle
from pyro_msde.models.kdv import kdv
from pyro_msde.models.ks import ks
from pyro_msde.models.pod import pod_sde

__all__ = [
    "EquationCoefficients",
    "Multiscale",
    "burgers1d",
    "burgers2d",
    "cylinder",
    "gle",
    "kdv",
    "ks",
    "multiscale",
    "pod_sde",
]
