"""Trajectories at the boundary; what is wrong is said by the argument's name."""

from __future__ import annotations

from typing import Any

from pyro_msde.data.trajectories import Trajectories

__all__ = ["check_trajectories", "num_covariates_of"]


def num_covariates_of(model: object) -> int:
    """Covariates that a model takes for each trajectory; one that does not say takes none."""
    return getattr(model, "num_covariates", 0)


def check_trajectories(name: str, model: object, data: Any) -> None:
    """Refuse trajectories that do not suit a model; the error names the argument.

    Raises:
        ValueError: No `Trajectories`, or of another number of covariates, or with controls.
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
    if data.controls is not None:
        raise ValueError(f"{name}: no model takes controls yet. Leave them out of Trajectories.")
