"""Velocities in a plane from the files of Günther, Gross & Theisel (2017): netCDF-4 and AmiraMesh.

Theirs is a flow past a cylinder at a Reynolds number of 160, on 640 × 80 points and 1501 times, as
computed with Gerris (doi:10.1145/3072959.3073684). `read_flow` takes other fields of two
components in the same formats.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyro_msde.checks import check_number, check_whole

__all__ = ["read_flow"]

_AXES = {"tdim": "time", "ydim": "y", "xdim": "x"}  # of netCDF, slowest first
_MAGIC = "# AmiraMesh BINARY-LITTLE-ENDIAN 2.1"
_MOST_HEADER = 2**16  # bytes
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_SCALARS = ("nu", "radius", "Re")
_LONG = {"u": "velocity along x", "v": "velocity along y"}


def read_flow(
    path: str | PathLike[str],
    *,
    crop: Mapping[str, tuple[float, float]] | None = None,
    every: Mapping[str, int] | None = None,
    radius: float | None = None,
) -> xr.Dataset:
    """Velocities `u` and `v` (time, x, y) in float32, NaN within the cylinder.

    Only what is kept is read into memory. `Trajectories.from_xarray(ds, ["u", "v"],
    missing="mask")` makes two channels of it.

    Args:
        path: A netCDF-4 file with variables u and v along xdim, ydim and tdim in any order, and
            coordinates of the same names; or an AmiraMesh file ("# AmiraMesh BINARY-LITTLE-ENDIAN
            2.1") of a lattice of two floats, x fastest and time slowest.
        crop: By axis, "time", "x" or "y", the lowest and the highest position that are kept.
        every: By axis, that one in so many of the positions left is kept: of time the first, of x
            and y that in the middle of each so many, so that walls stay where they are. Of an even
            number there is none in the middle; the domain moves by half a spacing of the file's.
        radius: Of the cylinder, about the origin. None: that of the file; without one there,
            nothing is left out.

    Returns:
        The Dataset, with coordinates and the file's numbers as attributes (nu, radius, Re).

    Raises:
        ValueError: Neither of these formats; data that end early or are mislabelled; axes, or
            positions, that are not there.
        OSError: The file cannot be read.
    """
    path = Path(path)
    radius = None if radius is None else check_number("radius", radius)
    crop, every = _asked("crop", crop), _asked("every", every)
    with path.open("rb") as stream:
        head = stream.read(len(_MAGIC))
    if head == _MAGIC.encode("ascii"):
        ds = _amira(path)
    elif head[:4] == b"\x89HDF":
        ds = _netcdf(path)
    else:
        raise ValueError(
            f"{path}: neither netCDF-4 nor AmiraMesh in binary of little endian, version 2.1; it "
            f"begins with {head[:24]!r}. A "
            "netCDF-3 file is converted by xarray.open_dataset(path).to_netcdf(new, "
            "engine='h5netcdf')."
        )
    with ds:
        kept = _kept(path, ds, crop, every)
        fields = {name: kept[name].transpose("time", "x", "y").load() for name in _LONG}
        attrs = {key: kept.attrs[key] for key in _SCALARS if key in kept.attrs}
        coords = {axis: kept[axis].astype(np.float64).load() for axis in _AXES.values()}
    if radius is None and "radius" in attrs:
        radius = check_number(f"{path}: radius", attrs["radius"])
    out = xr.Dataset({k: v.astype(np.float32) for k, v in fields.items()}, coords)
    if radius is not None:
        fluid = np.hypot(out["x"], out["y"]) > radius
        if not bool(fluid.any()):
            raise ValueError(
                f"{path}: a cylinder of radius {radius:g} about the origin holds all that is kept. "
                "Pass another radius=…"
            )
        out = out.where(fluid).transpose("time", "x", "y")
    for name, text in _LONG.items():
        out[name].attrs = {"long_name": text, "units": "1"}
    return out.assign_attrs(attrs)


def _netcdf(path: Path) -> xr.Dataset:
    """Opened, with our names of axes and the scalars as attributes."""
    try:
        ds = xr.open_dataset(path, engine="h5netcdf", decode_times=False)
    except OSError as error:
        raise OSError(f"{path}: {error}. If it is cut off, copy it again.") from error
    try:
        for name in _LONG:
            dims = set(ds[name].dims) if name in ds else set()
            if dims != set(_AXES):
                along = f"along {', '.join(sorted(map(str, dims)))}" if dims else "nowhere"
                raise ValueError(
                    f"{path}: holds {name} {along}. Variables u and v along xdim, ydim and tdim "
                    "are read."
                )
        missing = [axis for axis in _AXES if axis not in ds.coords]
        if missing:
            raise ValueError(f"{path}: no positions {', '.join(missing)}. Add them as coordinates.")
        given = {**ds.attrs, **{key: ds[key].values for key in _SCALARS if key in ds}}
        scalars = {key: _scalar(path, key, given[key]) for key in _SCALARS if key in given}
        only = ds[list(_LONG)].reset_coords([c for c in ds.coords if c not in _AXES], drop=True)
        return only.rename(_AXES).assign_attrs(scalars)
    except ValueError:
        ds.close()
        raise


def _scalar(path: Path, key: str, given: Any) -> float:
    """A single number of the file."""
    found = np.asarray(given)
    if found.size != 1 or found.dtype.kind not in "fiu":
        raise ValueError(f"{path}: {key} is {given!r}. A single number is read.")
    return float(found.reshape(()))


def _amira(path: Path) -> xr.Dataset:
    """The data stay on disk until they are asked for."""
    with path.open("rb") as stream:
        head = stream.read(_MOST_HEADER)
    mark = re.search(rb"# Data section follows\s*\n@1[ \t]*\r?\n", head)
    if mark is None:
        raise ValueError(f"{path}: no data section '@1' in its header. It is cut off or another.")
    lines = head[: mark.start()].decode("latin-1").splitlines()
    header = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    sizes = _numbers(path, header, "define Lattice", 3)
    box = _numbers(path, header, "BoundingBox", 6)
    if not re.search(r"Lattice\s*\{\s*float\[2\]\s+\w+\s*\}\s*@1", header):
        raise ValueError(f"{path}: its lattice is not of float[2]. Two components are read.")
    if any(not 1 <= n < 2**53 or n != int(n) for n in sizes):
        raise ValueError(f"{path}: define Lattice {sizes}. Whole numbers above zero are read.")
    nx, ny, nt = (int(n) for n in sizes)
    there, needed = path.stat().st_size - mark.end(), 8 * nx * ny * nt
    if there < needed:
        raise ValueError(
            f"{path}: {there} of the {needed} bytes that {nx} × {ny} × {nt} points take. It is cut "
            "off: copy it again."
        )
    if there > needed + 2:  # a line may end it
        raise ValueError(
            f"{path}: {there} bytes of data, but {nx} × {ny} × {nt} points take {needed}. Its "
            "header is another's."
        )
    if any(box[2 * k] >= box[2 * k + 1] for k, n in enumerate((nx, ny, nt)) if n > 1):
        raise ValueError(f"{path}: BoundingBox {box}. Each lower end is below the upper one.")
    data = np.memmap(path, "<f4", "r", mark.end(), (nt, ny, nx, 2))
    dims = ("time", "y", "x")
    coords = {
        axis: np.linspace(box[2 * k], box[2 * k + 1], n)
        for k, (axis, n) in enumerate(zip(("x", "y", "time"), (nx, ny, nt), strict=True))
    }
    return xr.Dataset({"u": (dims, data[..., 0]), "v": (dims, data[..., 1])}, coords)


def _numbers(path: Path, header: str, key: str, count: int) -> list[float]:
    """What follows a word of the header."""
    found = re.search(rf"{key}((?:[\s,]+{_NUMBER}){{{count}}})", header)
    if found is None:
        raise ValueError(f"{path}: its header has no '{key}' with {count} numbers.")
    return [float(x) for x in re.findall(_NUMBER, found[1])]


def _asked(argument: str, given: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """By axis, none that there is not."""
    if given is not None and not isinstance(given, Mapping):
        raise ValueError(f"{argument}: {given!r}. Say for which axes, as in {{'x': …}}.")
    unknown = [axis for axis in given or {} if axis not in _AXES.values()]
    if unknown:
        raise ValueError(f"{argument}: no axis {unknown[0]!r}. Name time, x or y.")
    return given or {}


def _kept(
    path: Path, ds: xr.Dataset, crop: Mapping[str, Any], every: Mapping[str, Any]
) -> xr.Dataset:
    for axis in _AXES.values():
        if not _in_order(ds[axis].values, may_fall=axis != "time"):
            raise ValueError(
                f"{path}: positions along {axis} are not numbers in order. Sort the file by them."
            )
    for axis, ends in crop.items():
        try:
            low, high = (float(end) for end in ends)
        except (TypeError, ValueError):
            raise ValueError(f"crop: {ends!r} along {axis}. Give two numbers.") from None
        x = ds[axis].values.astype(np.float64)
        rounding = 1e-6 * float(np.abs(np.diff(x)).min()) if x.size > 1 else 0.0  # of the file's
        inside = np.flatnonzero((x >= low - rounding) & (x <= high + rounding))
        if not inside.size:
            raise ValueError(
                f"crop: nothing along {axis} from {low:g} to {high:g}; it goes from {x[0]:g} to "
                f"{x[-1]:g}."
            )
        ds = ds.isel({axis: slice(int(inside[0]), int(inside[-1]) + 1)})
    for axis, n in every.items():
        each = check_whole("every", n, 1)
        first = 0 if axis == "time" else (each - 1) // 2
        if first >= ds.sizes[axis]:
            raise ValueError(f"every: {each} of the {ds.sizes[axis]} points along {axis}.")
        ds = ds.isel({axis: slice(first, None, each)})
    return ds


def _in_order(x: NDArray[Any], *, may_fall: bool) -> bool:
    """Whether these are finite numbers that rise, or fall where they may; at least one."""
    if x.dtype.kind not in "fiu" or not x.size or not np.isfinite(x).all():
        return False
    steps = np.diff(x.astype(np.float64))
    return bool((steps > 0).all() or (may_fall and (steps < 0).all()))
