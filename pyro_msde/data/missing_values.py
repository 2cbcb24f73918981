"""Missing values: masked entries of numpy's arrays, and what CF's attributes call missing.

CF (climate and forecast conventions) keeps fields packed: integers with `scale_factor` and
`add_offset`, and numbers that stand for nothing, `_FillValue` and `missing_value`. Missing values
become NaN, which the checks of data then refuse by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

__all__ = ["advice_on", "decoded", "unmasked"]

Array = NDArray[Any]

_PACKED = {"_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned"}
_LIMITS = {"valid_range", "valid_min", "valid_max"}


def unmasked(array: Any) -> Array:
    """A plain array of the same values, NaN (or NaT) where it was masked."""
    if not isinstance(array, np.ma.MaskedArray) or not np.ma.getmaskarray(array).any():
        return np.asarray(array)
    if array.dtype.kind in "iub":
        array = array.astype(np.float64)
    missing = np.array("NaT", array.dtype) if array.dtype.kind in "mM" else np.nan
    return np.asarray(array.filled(missing))


def advice_on(values: Sequence[Array]) -> str:
    """What to do about NaN in trajectories (n_k, *field), by how it is spread."""
    gaps = [np.isnan(v) for v in values]
    share = sum(int(gap.sum()) for gap in gaps) / sum(gap.size for gap in gaps)
    if share == 0:
        return "Drop them."
    points = np.all([gap.all(0) for gap in gaps], 0)
    whole = [gap.reshape(len(gap), -1).all(1) for gap in gaps]
    if all((gap == points).all() for gap in gaps):
        where = ", always at the same points"
    elif all(gap[~snapshot].sum() == 0 for gap, snapshot in zip(gaps, whole, strict=True)):
        where = ", in snapshots that are missing whole"
    else:
        where = ""
    return (
        f"Drop them, or pass missing='mask', so that they count as not observed: "
        f"{100 * share:.2g} % of the values{where}."
    )


def decoded(ds: xr.Dataset) -> xr.Dataset:
    """Unpacked variables, NaN where values are missing or outside their valid range.

    xarray does so when it opens a file, unless told not to; what it has decoded is left alone.

    Raises:
        ValueError: Attributes that cannot be read.
    """
    attributes = {name: set(variable.attrs) for name, variable in ds.variables.items()}
    try:
        packed = any(names & _PACKED for names in attributes.values())
        out = xr.decode_cf(ds, decode_times=False, decode_coords=False) if packed else ds.copy()
        for name, names in attributes.items():
            if names & _LIMITS and name not in ds.indexes:
                out[name] = _within_limits(out[name])
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"ds: its attributes do not follow CF ({error}). Mend or delete "
            f"{', '.join(sorted(_PACKED | _LIMITS))}."
        ) from error
    return out


def _within_limits(variable: xr.DataArray) -> xr.DataArray:
    """NaN outside the valid range, whose attributes are then dropped.

    Whole numbers as limits are in packed units (CF 1.11, §8.1); where nothing tells any more how
    values were unpacked, they say nothing.
    """
    encoding = variable.encoding
    limits = {key: np.asarray(variable.attrs[key]) for key in _LIMITS & set(variable.attrs)}
    out = variable.copy(deep=False)
    out.attrs = {key: value for key, value in variable.attrs.items() if key not in _LIMITS}
    low, high = limits.get("valid_range", (-np.inf, np.inf))
    ends = np.array([limits.get("valid_min", low), limits.get("valid_max", high)], np.float64)
    if all(limit.dtype.kind in "iu" for limit in limits.values()):
        whole = np.dtype(encoding.get("dtype", variable.dtype)).kind in "iu"
        if not whole and not {"scale_factor", "add_offset"} & set(encoding):
            return out
        ends = np.sort(ends * encoding.get("scale_factor", 1.0) + encoding.get("add_offset", 0.0))
    # the ends themselves are valid, but unpacking rounds
    slack = 1e-6 * np.abs(ends[np.isfinite(ends)]).max(initial=0.0)
    inside = (out >= ends[0] - slack) & (out <= ends[1] + slack)
    return out if bool(inside.all()) else out.where(inside)
