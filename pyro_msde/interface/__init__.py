"""The verbs: fit, load, grow; and what they give, a `Fit` or an `Ensemble`."""

from pyro_msde.interface.ensembles import Ensemble
from pyro_msde.interface.fitted import Fit
from pyro_msde.interface.fitting import fit
from pyro_msde.interface.growth import fit_hierarchical, grow
from pyro_msde.interface.loading import load
from pyro_msde.interface.trusting import usual_forecasts

__all__ = [
    "Ensemble",
    "Fit",
    "fit",
    "fit_hierarchical",
    "grow",
    "load",
    "usual_forecasts",
]
