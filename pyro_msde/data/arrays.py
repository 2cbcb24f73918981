"""Whatever users pass as numbers, as numpy arrays: the one conversion of every entry point.

numpy, masked or not, torch on any device, pandas, xarray and nested sequences of these. What is
passed is never changed.
"""

from __future__ import annotations

import numbers
import reprlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from pyro_msde.data.missing_values import decoded, unmasked

__all__ = ["as_array", "to_numpy"]

Array = NDArray[Any]

_UNREAL = {
    "c": "is not real. Pass real numbers, such as real and imaginary part as two channels",
    "M": "holds dates. Pass numbers",
    "m": "holds durations. Pass numbers",
    "S": "is text. Pass numbers",
    "U": "is text. Pass numbers",
    "T": "is text. Pass numbers",
}


def to_numpy(array: Any, argument: str) -> Array:
    """A real, C-contiguous, writeable numpy array of whatever holds numbers.

    float32 and float64 are kept, half precision becomes float32, other types float64. Masked
    entries, and those that CF's attributes of an xarray DataArray call missing, are NaN. No copy is
    made where none is needed; arrays that are read-only are copied.

    Raises:
        ValueError: If it is ragged, complex, text, dates or anything else than numbers.
    """
    out = as_array(array, argument)
    if out.dtype.kind == "O":
        out = _of_objects(out, argument)
    if out.dtype.kind not in "fiub":
        why = _UNREAL.get(out.dtype.kind, "is not real. Pass real numbers")
        raise ValueError(f"{argument}: dtype {out.dtype} {why}.")
    if out.dtype == np.float16:
        out = out.astype(np.float32)
    elif out.dtype not in (np.float32, np.float64):
        out = out.astype(np.float64)
    out = np.require(out, requirements=["C", "W"])
    # numpy calls an axis of length one contiguous whatever its stride, torch does not
    return out.copy() if min(out.strides, default=0) < 0 else out


def as_array(array: Any, argument: str) -> Array:
    """A numpy array of any type, in the machine's byte order, NaN or NaT where it was masked.

    Raises:
        ValueError: If it is nothing, ragged, or refuses to be an array.
    """
    if array is None:
        raise ValueError(f"{argument}: got None. Pass numbers.")
    if isinstance(array, list | tuple) and any(map(_holds_many, array)):
        parts = [as_array(item, argument) for item in array]
        shapes = {part.shape for part in parts}
        if len(shapes) > 1:
            raise ValueError(
                f"{argument}: not one rectangular array, but parts of shapes "
                f"{', '.join(map(str, sorted(shapes)))}. Pass a list of arrays."
            )
        out = np.asarray(_tried(np.stack, parts, argument))
    else:
        out = _tried(_plain, array, argument)
    return out if out.dtype.isnative else out.astype(out.dtype.newbyteorder("="))


def _tried(convert: Callable[[Any], Array], array: Any, argument: str) -> Array:
    try:
        return convert(array)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{argument}: {type(array).__name__} is no array of numbers ({error}). Pass one."
        ) from error


def _plain(array: Any) -> Array:
    if isinstance(array, torch.Tensor):
        return _of_tensor(array)
    if isinstance(array, xr.DataArray | xr.Variable):
        # a variable of its own, whatever it is called and lies along
        bare = xr.Variable(array.dims, array.data, array.attrs, array.encoding)
        return np.asarray(decoded(xr.Dataset({"value": bare}))["value"].values)
    if isinstance(array, xr.Dataset):
        raise TypeError("it holds several; take one of its variables")
    return unmasked(np.asanyarray(array))


def _of_tensor(tensor: torch.Tensor) -> Array:
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    half = plain.is_floating_point() and plain.dtype not in (torch.float32, torch.float64)
    return (plain.float() if half else plain).numpy()


def _holds_many(item: Any) -> bool:
    """Whether it is itself an array or a sequence of numbers."""
    is_array = hasattr(item, "__array__") and not isinstance(item, np.generic)
    return isinstance(item, list | tuple) or is_array


def _of_objects(array: Array, argument: str) -> Array:
    """float64 of an array of Python's numbers."""
    for item in array.flat:
        if not isinstance(item, numbers.Real | Decimal | np.bool_):
            raise ValueError(
                f"{argument}: {reprlib.repr(item)} of type {type(item).__name__} is no number. "
                "Pass real numbers."
            )
    try:
        return array.astype(np.float64)
    except OverflowError as error:
        raise ValueError(f"{argument}: a number is too large for float64 ({error}).") from error
