"""From data, a model and a guide to weights: the ELBO, its start, its optimisation."""

from pyro_msde.inference.callbacks import Log, ProgressBar, TrainingView, check_callbacks
from pyro_msde.inference.closed_form_variance import (
    ObservationVarianceStep,
    has_observation_variances,
    observes_normals,
    scale_observation_variances,
)
from pyro_msde.inference.coefficient_draws import CoefficientDraws
from pyro_msde.inference.drift_jackknife import Jackknife, JackknifeStep
from pyro_msde.inference.drift_refinement import refine_drift
from pyro_msde.inference.elbo import MultiscaleELBO
from pyro_msde.inference.equation_identification import evidence_of
from pyro_msde.inference.equation_of_model import (
    equation_of,
    fitted_equation,
    is_equation_alone,
    measure_equation,
    names_of,
)
from pyro_msde.inference.finishing import FinishingStep, encoded_segments
from pyro_msde.inference.left_out import left_out
from pyro_msde.inference.linear_inverse import LinearInverse, is_smooth
from pyro_msde.inference.linear_inverse_choice import linear_inverse_model
from pyro_msde.inference.linear_start import (
    found_noisy,
    has_noisy_paths,
    linear_path,
    set_diffusion,
)
from pyro_msde.inference.program_checks import check_owner, check_program, check_roles
from pyro_msde.inference.trainer import Trainer
from pyro_msde.inference.training_loop import train
from pyro_msde.inference.training_state import all_finite
from pyro_msde.inference.weak_form_start import weak_form_regression

__all__ = [
    "CoefficientDraws",
    "FinishingStep",
    "Jackknife",
    "JackknifeStep",
    "LinearInverse",
    "Log",
    "MultiscaleELBO",
    "ObservationVarianceStep",
    "ProgressBar",
    "Trainer",
    "TrainingView",
    "all_finite",
    "check_callbacks",
    "check_owner",
    "check_program",
    "check_roles",
    "encoded_segments",
    "equation_of",
    "evidence_of",
    "fitted_equation",
    "found_noisy",
    "has_noisy_paths",
    "has_observation_variances",
    "is_equation_alone",
    "is_smooth",
    "left_out",
    "linear_inverse_model",
    "linear_path",
    "measure_equation",
    "names_of",
    "observes_normals",
    "refine_drift",
    "scale_observation_variances",
    "set_diffusion",
    "train",
    "weak_form_regression",
]
