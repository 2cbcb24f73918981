"""A forecast as an xarray Dataset, with the names, positions, dates and units of the fit's data.

What netCDF files made of it say follows CF, the conventions for climate and forecasts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyro_msde.checks import check_level
from pyro_msde.data import Metadata, dated, to_numpy

if TYPE_CHECKING:
    from pyro_msde.forecasts.posterior_predictive import Forecast

__all__ = ["forecast_dataset"]

Array = NDArray[Any]

_PARTS = {  # of the variance: attributes of a forecast, and what they are
    "reconstruction_var": "variance of what the latent state leaves open",
    "propagated_var": "variance from the initial state and the latent noise",
    "parameter_var": "variance from the parameters",
}


class _Field(NamedTuple):
    """What becomes variables of one name: a field, or a channel that has a name."""

    name: str
    at: tuple[Any, ...]  # of its values in arrays (…, *field)
    dims: tuple[str, ...]
    units: str | None
    attrs: dict[str, str]

    @property
    def long_name(self) -> str:
        return self.attrs.get("long_name", self.name)


def forecast_dataset(fc: Forecast, quantiles: Sequence[float]) -> xr.Dataset:
    """See `Forecast.to_xarray`."""
    levels = np.atleast_1d(to_numpy(quantiles, "quantiles").astype(np.float64))
    if levels.ndim > 1:
        raise ValueError(f"quantiles: shape {levels.shape}. Pass a row of levels.")
    for level in levels:
        check_level("quantiles", float(level))
    metadata = fc.metadata or Metadata("u", None, {}, {}, None, ())
    along = "time" if fc.starts is None else "lead"
    lead = ("trajectory", along) if fc.batched else (along,)
    moments = {"mean": fc.mean.numpy(), "sd": fc.sd.numpy()}
    parts = {name: getattr(fc, name).numpy() for name in _PARTS}
    at_levels = [fc.quantile(float(level)).numpy() for level in levels]
    ds = xr.Dataset(attrs={"Conventions": "CF-1.11", "source": "pyro_msde"})
    for field in _fields(fc, metadata):
        units = {} if field.units is None else {"units": field.units}
        standard = {k: v for k, v in field.attrs.items() if k == "standard_name"}
        dims = (*lead, *field.dims)
        for name, values in moments.items():
            word = {"mean": "mean", "sd": "standard deviation"}[name]
            attrs = {"long_name": f"{field.long_name}, {word} of the forecast", **units}
            attrs |= standard if name == "mean" else {}
            ds[f"{field.name}_{name}"] = (dims, values[field.at], attrs)
        for name, values in parts.items():
            attrs = {"long_name": f"{field.long_name}, {_PARTS[name]}", **_squared(field.units)}
            ds[f"{field.name}_{name}"] = (dims, values[field.at], attrs)
        if at_levels:
            attrs = {"long_name": f"{field.long_name}, quantiles of the forecast", **units}
            chosen = np.stack([values[field.at] for values in at_levels])
            ds[f"{field.name}_quantile"] = (("quantile", *dims), chosen, attrs)
    for variable in ds.data_vars.values():
        variable.encoding["_FillValue"] = np.nan
    return dated(ds.assign_coords(dict(_coordinates(fc, metadata, levels))))


def _fields(fc: Forecast, metadata: Metadata) -> Iterator[_Field]:
    dims, name = _dims(fc, metadata), metadata.name or "u"
    own = metadata.units.get(name)
    if not (fc.has_channel and metadata.channels):
        yield _Field(name, (...,), dims, own, dict(metadata.attrs.get(name, {})))
        return
    inside = (slice(None),) * fc.grid.ndim
    for k, channel in enumerate(metadata.channels):
        attrs = dict(metadata.attrs.get(channel, {}))
        units = metadata.units.get(channel, own)
        yield _Field(channel, (..., k, *inside), dims[1:], units, attrs)


def _dims(fc: Forecast, metadata: Metadata) -> tuple[str, ...]:
    """Names of the field's axes."""
    if metadata.dims is not None:
        return metadata.dims
    space = tuple("xyz"[: fc.grid.ndim]) if fc.grid.regular else ("node",)
    return ("channel", *space) if fc.has_channel else space


def _coordinates(
    fc: Forecast, metadata: Metadata, levels: Array
) -> Iterator[tuple[str, xr.Variable]]:
    dims = _dims(fc, metadata)
    if fc.has_channel and not metadata.channels:
        names = metadata.coords.get(dims[0], range(fc.grid.channels))
        yield dims[0], _coordinate(dims[0], np.asarray(names), metadata)
    space = dims[int(fc.has_channel) :]
    for name, x in zip(space, fc.grid.coordinates, strict=True):
        yield name, _coordinate(name, np.asarray(metadata.coords.get(name, x)), metadata)
    yield from _clocks(fc, metadata)
    if fc.batched:
        count = np.arange(fc.shape[0])
        yield "trajectory", xr.Variable("trajectory", count, {"long_name": "trajectory"})
    if len(levels):
        yield "quantile", xr.Variable("quantile", levels, {"long_name": "level", "units": "1"})


def _clocks(fc: Forecast, metadata: Metadata) -> Iterator[tuple[str, xr.Variable]]:
    """Times; where initial fields are of different times, also lead times and these."""
    time = _coordinate("time", fc.times, metadata)
    if metadata.time_units.calendar is not None:
        time.attrs["calendar"] = metadata.time_units.calendar
    if fc.starts is None:
        time.attrs |= {"standard_name": "time", "axis": "T"}
        yield "time", time
        return
    text = metadata.time_units.text
    units = {} if text is None else {"units": text.split(" since ")[0]}
    period = {"standard_name": "forecast_period", "long_name": "lead time"} | units
    yield "lead", xr.Variable("lead", fc.times, period, {"_FillValue": None})
    known = {k: v for k, v in time.attrs.items() if k in ("units", "calendar")}
    attrs = {"standard_name": "forecast_reference_time"} | known
    yield "start", xr.Variable("trajectory", fc.starts, attrs, {"_FillValue": None})
    attrs = {"standard_name": "time"} | known
    dims = ("trajectory", "lead")
    yield "time", xr.Variable(dims, fc.valid_times, attrs, {"_FillValue": None})


def _coordinate(name: str, values: Array, metadata: Metadata) -> xr.Variable:
    attrs = dict(metadata.attrs.get(name, {}))
    if name in metadata.units:
        attrs["units"] = metadata.units[name]
    # CF has no missing positions
    encoding = {"_FillValue": None} if values.dtype.kind == "f" else {}
    return xr.Variable(name, values, attrs, encoding)


def _squared(units: str | None) -> dict[str, str]:
    """Units of a variance, as UDUNITS writes them."""
    if units is None:
        return {}
    return {"units": "1" if units == "1" else f"{units}2" if units.isalpha() else f"({units})2"}
