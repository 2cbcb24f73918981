"""Observed and projected climate fields that come with two other packages, as xarray Datasets.

`pip install 'pyro-msde[observed]'` installs both, of which only the files are read: nothing of them
is imported. `eofs` (GPL-3.0) has fields of its examples, `iris-sample-data` (Open Government
Licence) those of the Met Office.
"""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import xarray as xr

__all__ = ["a1b", "e1", "hgt", "ostia", "sst"]


def sst() -> xr.Dataset:
    """Sea-surface temperature anomalies of 50 winters, November to March, over the Pacific.

    `sst` (time 50, latitude 18, longitude 30), with NaN on land, a sixth of the points.

    Raises:
        ModuleNotFoundError: The package `eofs` is not installed.
    """
    return _opened("eofs", "eofs/examples/example_data/sst_ndjfm_anom.nc")


def hgt() -> xr.Dataset:
    """Geopotential height at 500 hPa of 65 winters, December to February, in metres.

    `z` (time 65, pressure 1, latitude 29, longitude 49), over the Atlantic and Europe.

    Raises:
        ModuleNotFoundError: The package `eofs` is not installed.
    """
    return _opened("eofs", "eofs/examples/example_data/hgt_djf.nc")


def ostia() -> xr.Dataset:
    """Sea-surface temperature of 54 months from April 2006 along the equator, in kelvin.

    `surface_temperature` (time 54, latitude 18, longitude 432), with NaN on land, 26 % of it.

    Raises:
        ModuleNotFoundError: The package `iris-sample-data` is not installed.
    """
    return _opened("iris-sample-data", "iris_sample_data/sample_data/ostia_monthly.nc")


def a1b() -> xr.Dataset:
    """Annual means of air temperature over North America in a simulation of scenario A1B.

    `air_temperature` (time 240, latitude 37, longitude 49) in kelvin, in years of 360 days.

    Raises:
        ModuleNotFoundError: The package `iris-sample-data` is not installed.
    """
    return _opened("iris-sample-data", "iris_sample_data/sample_data/A1B_north_america.nc")


def e1() -> xr.Dataset:
    """As `a1b`, in scenario E1: equal until the year 2000, and cooler later.

    Raises:
        ModuleNotFoundError: As `a1b`.
    """
    return _opened("iris-sample-data", "iris_sample_data/sample_data/E1_north_america.nc")


def _opened(package: str, file: str) -> xr.Dataset:
    """The Dataset of a package's file, in memory, at decoded times.

    Raises:
        ModuleNotFoundError: The package, or `cftime`, which decodes years of 360 days, is missing.
    """
    places = {name: _found(name) for name in (package, "cftime")}
    path = Path(str(places[package].locate_file(file)))
    with path.open("rb") as stream:
        netcdf3 = stream.read(3) == b"CDF"
    ds = xr.load_dataset(path, engine="scipy" if netcdf3 else "h5netcdf", decode_times=False)
    for variable in ds.variables.values():
        if " since 1-1-1 " in str(variable.attrs.get("units")):  # of which xarray warns
            variable.attrs["units"] = variable.attrs["units"].replace("1-1-1", "0001-01-01")
    return xr.decode_cf(ds)


def _found(package: str) -> Distribution:
    try:
        return distribution(package)
    except PackageNotFoundError as error:
        raise ModuleNotFoundError(
            f"observed: the package {package} is not installed. Install it with "
            "pip install 'pyro-msde[observed]'."
        ) from error
