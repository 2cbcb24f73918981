"""ArviZ data of what was observed only, for functions that take no NaN, such as `az.loo`."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from pyro_msde.io.arviz.container import container

__all__ = ["observed_only"]

_PAIRED = ("posterior_predictive", "log_likelihood", "prior_predictive", "observed_data")


def observed_only(idata: Any) -> Any:
    """A copy with one axis `observation` for the values that were observed at the probes.

    Of the groups that hold fields, variables at the probes are kept: the field's draws, its
    observations and `…_probes` of the log likelihoods. Groups beside these are as they were.

    Args:
        idata: What `to_arviz` gave.

    Returns:
        The same kind of container.

    Raises:
        ValueError: No observed data.
    """
    names = list(idata.children) if isinstance(idata, xr.DataTree) else idata.groups()
    if "observed_data" not in names:
        raise ValueError("idata: no group observed_data. Pass what fit.to_arviz gave.")
    groups = {name: _dataset(idata[name]) for name in names}
    (observed,) = groups["observed_data"].data_vars.values()
    axes = [str(d) for d in observed.dims]
    places = {
        d: xr.DataArray(at, dims="observation")
        for d, at in zip(axes, np.nonzero(observed.notnull().values), strict=True)
    }
    for name in _PAIRED:
        if name in groups:
            ds = groups[name]
            kept = [key for key, v in ds.data_vars.items() if set(axes) <= set(v.dims)]
            groups[name] = ds[kept].isel(places)
    return container(groups)


def _dataset(held: Any) -> xr.Dataset:
    """A group of either container."""
    return held.to_dataset() if isinstance(held, xr.DataTree) else held
