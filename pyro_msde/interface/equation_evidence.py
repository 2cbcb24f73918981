"""What data say of the coefficients of a fit's equation."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from pyro_msde.data import (
    Trajectories,
    check_trajectories,
    matched,
    observed_snapshots,
    scaled_segments,
)
from pyro_msde.equations import Evidence
from pyro_msde.grid import Grid
from pyro_msde.inference import equation_of, evidence_of, measure_equation, names_of

if TYPE_CHECKING:
    from pyro_msde.interface.fitted import Fit

__all__ = ["equation_evidence"]


def equation_evidence(fit: Fit, train: Trajectories, field: str | None, library: bool) -> Evidence:
    """What `Fit.equation_evidence` documents."""
    check_trajectories("train", fit.model, train)
    model = deepcopy(fit.model)  # which is told of the reference again
    path = equation_of(model)
    if path is None or not path.started or not isinstance(model.grid, Grid):
        raise ValueError("fit: its drift has no equation.")
    names = names_of(path, fit.metadata)
    if field is None and len(names.fields) == 1:
        field = names.fields[0]
    if field not in names.fields:
        raise ValueError(f"field={field!r}: choose one of {', '.join(names.fields)}.")
    channel = names.fields.index(field)
    if not bool(path.coefficients[channel].any()):
        raise ValueError(f"field={field!r}: its equation has no term.")
    measure_equation(model, fit.scaling, train.static)
    train = matched(fit.metadata, "train", observed_snapshots(train, model.grid, "train"))
    lasting = [k for k, times in enumerate(train.times) if len(times) > 1]
    segments = scaled_segments(
        train[lasting], fit.scaling, model.grid, next(model.parameters()).detach(), length=2
    )
    return evidence_of(path, model.grid, segments, channel, names, library)
