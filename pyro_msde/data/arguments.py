"""Trajectories at the boundary; what is wrong is said by the argument's name."""

from __future__ import annotations

from typing import Any

import torch

from pyro_msde.data.static_fields import static_at_coarse_points
from pyro_msde.data.trajectories import Trajectories

__all__ = ["check_trajectories", "num_controls_of", "num_covariates_of", "num_inputs_of"]

_ALIKE = 1e-3  # of a static field's size


def num_covariates_of(model: object) -> int:
    """Covariates that a model takes for each trajectory; one that does not say takes none."""
    return getattr(model, "num_covariates", 0)


def num_controls_of(model: object) -> int:
    """Controls that a model takes at each time; one that does not say takes none."""
    return getattr(model, "num_controls", 0)


def num_inputs_of(model: object) -> int:
    """Covariates and controls together, what drifts and encoders take beside the state."""
    return num_covariates_of(model) + num_controls_of(model)


def check_trajectories(name: str, model: object, data: Any) -> None:
    """Refuse trajectories that do not suit a model; the error names the argument.

    Raises:
        ValueError: No `Trajectories`, or of another number of covariates or controls, or with
            static fields that are not the model's.
    """
    if not isinstance(data, Trajectories):
        raise ValueError(
            f"{name}: got {type(data).__name__}. Pass pyro_msde.Trajectories(times, values)."
        )
    wanted = num_covariates_of(model)
    given = 0 if data.covariates is None else data.covariates.shape[1]
    if given != wanted:
        raise ValueError(
            f"{name}: {given} covariates a trajectory, the model takes {wanted}. Build the model "
            "for them, or leave them out of Trajectories."
        )
    wanted = num_controls_of(model)
    given = 0 if data.controls is None else data.controls[0].shape[1]
    if given != wanted:
        raise ValueError(
            f"{name}: {given} controls, the model takes {wanted}. "
            + (
                "Pass them, Trajectories(controls=…)."
                if not given
                else "Build the model for them, as in multiscale.like(data) or multiscale(…, "
                f"num_controls={given}), or leave them out of Trajectories."
            )
        )
    if data.static is not None:
        _check_static(name, model, data.static)


def _check_static(name: str, model: Any, fields: Any) -> None:
    """Refuse static fields that a model was not made with."""
    ours = getattr(model, "static", None)
    if ours is None:
        raise ValueError(
            f"{name}: {len(fields)} static fields, the model takes none. Build it with them, as "
            "multiscale.like(data) does, or leave them out of Trajectories."
        )
    theirs = static_at_coarse_points(fields, model.grid)
    if theirs.shape != ours.shape or not torch.allclose(theirs, ours, atol=_ALIKE):
        raise ValueError(
            f"{name}: its static fields are not those that the model was made with. Pass the same "
            "ones in the same order, or none: the model knows them."
        )
