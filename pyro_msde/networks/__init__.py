"""Functions with weights: perceptrons, convolutions, the drift, POD networks."""

from pyro_msde.networks.blocks import MLP, ConvDecoder, ConvEncoder, PolynomialMLP, SmoothingKernel
from pyro_msde.networks.drift import MultiscaleDrift
from pyro_msde.networks.drift_claims import drift_of, false_claim, offers, random_states, refusal
from pyro_msde.networks.equation_path import EquationPath
from pyro_msde.networks.front_variance import FrontVariance
from pyro_msde.networks.growing import grow_from
from pyro_msde.networks.linear_part import LinearPart
from pyro_msde.networks.modal_path import ModalPath
from pyro_msde.networks.noise_axes import NoiseAxes
from pyro_msde.networks.pod import (
    PrincipalDecoder,
    PrincipalEncoder,
    principal_components,
    start_principal_components,
)
from pyro_msde.networks.readouts import (
    LocalReadout,
    VaryingReadout,
    innermost,
    read_out,
    read_out_changed,
)

__all__ = [
    "MLP",
    "ConvDecoder",
    "ConvEncoder",
    "EquationPath",
    "FrontVariance",
    "LinearPart",
    "LocalReadout",
    "ModalPath",
    "MultiscaleDrift",
    "NoiseAxes",
    "PolynomialMLP",
    "PrincipalDecoder",
    "PrincipalEncoder",
    "SmoothingKernel",
    "VaryingReadout",
    "drift_of",
    "false_claim",
    "grow_from",
    "innermost",
    "offers",
    "principal_components",
    "random_states",
    "read_out",
    "read_out_changed",
    "refusal",
    "start_principal_components",
]
