"""Trajectories at the boundary; what is wrong is said by the argument's name."""

from __future__ import annotations

from typing import Any

from pyro_msde.data.trajectories import Trajectories

__all__ = ["check_trajectories", "num_controls_of", "num_covariates_of", "num_inputs_of"]


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
        ValueError: No `Trajectories`, or of another number of covariates or controls.
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
            f"{name}: {given} controls, the model takes {wanted}. Build the model for them, as in "
            f"multiscale.like(data) or multiscale(…, num_controls={given}), or leave them out of "
            "Trajectories."
        )
