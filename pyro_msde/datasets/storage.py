"""Generated data kept on disk: written whole or not at all, reused while its attributes agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pyro_msde.atomic import replaced

__all__ = ["is_current", "write_once"]


def is_current(path: Path, attrs: Mapping[str, Any]) -> bool:
    """Whether `path` is a readable netCDF file with exactly these attributes."""
    if not path.is_file():
        return False
    try:
        with xr.open_dataset(path, engine="h5netcdf") as ds:
            stored = dict(ds.attrs)
    except (OSError, ValueError, KeyError):
        return False  # not netCDF, or cut off by another program: write it again
    return stored.keys() == attrs.keys() and all(
        np.array_equal(stored[key], attrs[key]) for key in attrs
    )


def write_once(path: Path, attrs: Mapping[str, Any], make: Callable[[], xr.Dataset]) -> Path:
    """Write `make()` to `path` unless a file with these attributes is there. Returns `path`.

    Raises:
        OSError: The folder cannot be made, or the file not written.
    """
    if not is_current(path, attrs):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as temporary:
            make().to_netcdf(temporary, engine="h5netcdf")
    return path
