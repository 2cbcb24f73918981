"""What a training run is described by, and the files that it is kept in."""

from pyro_msde.runs.checkpoint import Saved, State, read_checkpoint, read_run, write_run
from pyro_msde.runs.folders import locked_folder, make_folder
from pyro_msde.runs.history import History
from pyro_msde.runs.recipes import RECIPES, Recipe
from pyro_msde.runs.registry import (
    adjustments_of_users,
    check_adjustment_names,
    check_size,
    config_of,
    is_registered,
    limited,
    rebuild,
    rebuild_adjustment,
    register,
    register_adjustment,
)
from pyro_msde.runs.schema import Description, checked, converted, read_history
from pyro_msde.runs.training_record import TrainingRecord

__all__ = [
    "RECIPES",
    "Description",
    "History",
    "Recipe",
    "Saved",
    "State",
    "TrainingRecord",
    "adjustments_of_users",
    "check_adjustment_names",
    "check_size",
    "checked",
    "config_of",
    "converted",
    "is_registered",
    "limited",
    "locked_folder",
    "make_folder",
    "read_checkpoint",
    "read_history",
    "read_run",
    "rebuild",
    "rebuild_adjustment",
    "register",
    "register_adjustment",
    "write_run",
]
