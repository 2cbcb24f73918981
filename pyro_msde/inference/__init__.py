"""From data, a model and a guide to weights: the ELBO, its start, its optimisation."""

from pyro_msde.inference.callbacks import Log, ProgressBar, TrainingView, check_callbacks
from pyro_msde.inference.closed_form_variance import (
    close_observation_variances,
    has_observation_variances,
)
from pyro_msde.inference.drift_jackknife import Jackknife, jackknife, moved
from pyro_msde.inference.elbo import MultiscaleELBO
from pyro_msde.inference.left_out import tell_left_out
from pyro_msde.inference.program_checks import check_program, check_roles
from pyro_msde.inference.segmentation import (
    cut,
    duration_of,
    each_trajectory,
    picks_by_segment,
    segments_of,
)
from pyro_msde.inference.trainer import Trainer
from pyro_msde.inference.training_loop import train
from pyro_msde.inference.training_state import all_finite
from pyro_msde.inference.weak_form_start import weak_form_regression

__all__ = [
    "Jackknife",
    "Log",
    "MultiscaleELBO",
    "ProgressBar",
    "Trainer",
    "TrainingView",
    "all_finite",
    "check_callbacks",
    "check_program",
    "check_roles",
    "close_observation_variances",
    "cut",
    "duration_of",
    "each_trajectory",
    "has_observation_variances",
    "jackknife",
    "moved",
    "picks_by_segment",
    "segments_of",
    "tell_left_out",
    "train",
    "weak_form_regression",
]
