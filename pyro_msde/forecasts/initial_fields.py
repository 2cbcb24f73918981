"""Fields that a forecast starts from, checked and in the layout of the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from pyro_msde.data import Metadata, to_numpy
from pyro_msde.isolation import place_of
from pyro_msde.protocols import FittedModel

__all__ = ["LARGEST_FIELD", "initial_fields", "labelled", "past_fields"]

LARGEST_FIELD = 1e4  # that a forecast may start from, in root mean squares of the training data


def labelled(fit: FittedModel, y0: Any) -> Any:
    """A DataArray of a Dataset that holds the fit's channels, or of a pandas table with its places.

    So that names and times count, as they do in the training data. Anything else as it is.
    """
    known = fit.metadata
    if known is None or known.dims is None:
        return y0
    if isinstance(y0, xr.Dataset) and known.channels and set(known.channels) <= set(y0.variables):
        axis, *space = known.dims
        one = y0[list(known.channels)].to_array(axis)
        return one.transpose(..., *(d for d in (axis, *space) if d in one.dims))
    if isinstance(y0, xr.Dataset) and not known.channels and known.name in y0.variables:
        return y0[known.name]
    if isinstance(y0, pd.Series | pd.DataFrame) and len(known.dims) == 1:
        places = y0.axes[-1]
        if not isinstance(places, pd.RangeIndex) and known.dims[0] in known.coords:
            dims = (known.time, known.dims[0])[-y0.ndim :]
            return xr.DataArray(y0.to_numpy(), dict(zip(dims, y0.axes, strict=True)), dims)
    return y0


def initial_fields(
    fit: FittedModel, y0: Any, argument: str = "y0", *, empty: bool = False
) -> tuple[Tensor, bool]:
    """(batch, channel, *space) on the model's device, and whether a batch was given.

    float64: the model's dtype may not hold them before they are divided by their scale.

    Args:
        fit: The fit.
        y0: One field, or a batch of them.
        argument: What errors call them.
        empty: Whether fields may be missing whole, where values may.

    Raises:
        ValueError: Of another grid, not finite, or far larger than the training data; negative
            where the fit has a link.
    """
    device = place_of(fit.model)[1]
    value = torch.as_tensor(to_numpy(y0, argument))
    grid = fit.model.grid
    one = _field_shape(fit)
    if tuple(value.shape[-len(one) :]) != one or value.ndim > len(one) + 1:
        raise ValueError(
            f"{argument}: shape {tuple(value.shape)}; the model's fields are {one}, or "
            f"(batch, {', '.join(map(str, one))}). Pass snapshots, such as values[:, 0], "
            "on the model's grid, with a channel axis if the training data had one."
        )
    if fit.metadata is not None and isinstance(y0, xr.DataArray):
        fit.metadata.check(argument, Metadata.of_array(y0, len(one)))
    batched = value.ndim > len(one)
    _check_observed(fit, argument, value, empty)
    if not value.numel():
        raise ValueError(f"{argument}: shape {tuple(value.shape)} holds no field. Pass some.")
    value = value if batched else value[None]
    value = value if fit.has_channel else value[:, None]
    fields = value.to(device=device, dtype=torch.float64)
    if grid.mask is not None:  # whatever stands there
        fields = fields.where(torch.tensor(grid.mask, device=device), torch.nan)
    if fit.scaling.link is not None:
        fit.scaling.link.check(argument, fields)
    largest = _largest(fit, fields)
    if largest > LARGEST_FIELD:
        raise ValueError(
            f"{argument}: its largest value is {largest:.3g} times the training data's root mean "
            "square. Nothing was learned there; check its units."
        )
    return fields, batched


def _largest(fit: FittedModel, fields: Tensor) -> float:
    """Size of anomalies in root mean squares of the training data's; of a cycle, at any phase."""
    coefficients, ndim = fit.scaling.reference.coefficients, fit.model.grid.ndim
    anomalies = fields
    if coefficients is not None:
        middle, waves = (
            torch.as_tensor(c, device=fields.device)
            for c in (coefficients[0], np.abs(coefficients[1:]).sum(0))
        )
        anomalies = ((fields - middle).abs() - waves).clamp(min=0)
    return float((anomalies / fit.scaling.field_scale(fields, ndim)).abs().nan_to_num(0.0).max())


def past_fields(fit: FittedModel, y0: Any, count: int) -> tuple[Tensor, bool]:
    """(batch, snapshot, channel, *space), and whether a batch was given.

    Args:
        fit: The fit.
        y0: (snapshot, *field) or (batch, snapshot, *field). Snapshots but the first may be missing
            whole where values may.
        count: Of snapshots.

    Raises:
        ValueError: As `initial_fields`; another number of snapshots.
    """
    value = to_numpy(y0, "y0")
    one = _field_shape(fit)
    axis = value.ndim - len(one) - 1
    if axis not in (0, 1) or value.shape[axis:] != (count, *one):
        raise ValueError(
            f"y0: shape {value.shape}; with {count} times0 it is {(count, *one)}, or "
            f"(batch, {', '.join(map(str, (count, *one)))}). Pass as many snapshots as times0, on "
            "the model's grid, with a channel axis if the training data had one."
        )
    if fit.metadata is not None and isinstance(y0, xr.DataArray):
        fit.metadata.check("y0", Metadata.of_array(y0, len(one)))
    value = value if axis else value[None]
    fields = [initial_fields(fit, value[:, i], empty=i > 0)[0] for i in range(count)]
    return torch.stack(fields, 1), bool(axis)


def _check_observed(fit: FittedModel, argument: str, value: Tensor, empty: bool) -> None:
    """NaN stands for what was not observed, if that is so in the training data or off the mask."""
    mask = fit.model.grid.mask
    counts = value.isfinite()
    if mask is not None:
        exists = torch.tensor(mask)
        counts = counts | ~(exists if fit.has_channel else exists[0])
    if fit.metadata is not None and fit.metadata.missing == "mask":
        field = tuple(range(value.ndim - fit.model.grid.ndim - fit.has_channel, value.ndim))
        if not empty and bool(value.isnan().all(field).any()):
            raise ValueError(
                f"{argument}: nothing was observed of one of the fields. Leave it out."
            )
        counts = counts | value.isnan()
    bad = int((~counts).sum())
    if bad:
        raise ValueError(
            f"{argument}: holds NaN or infinite values, {bad} of {value.numel()}. Fill or drop "
            "them, or train on Trajectories(…, missing='mask'), whose forecasts start from fields "
            "with gaps. (Masked and missing values are read as NaN.)"
        )


def _field_shape(fit: FittedModel) -> tuple[int, ...]:
    """Of one field in the user's layout."""
    grid = fit.model.grid
    return (grid.channels, *grid.data_shape) if fit.has_channel else tuple(grid.data_shape)
