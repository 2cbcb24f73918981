"""From a netCDF file to a table: sea-surface temperatures of 50 winters, with land among them.

    python examples/observed.py --out runs/observed        five minutes on one core

The file comes with `pip install 'pyro-msde[observed]'`; put yours in its place. Prints skill
against climatology by lead time, beside that of simple forecasts, and leaves under --out the run
(for `pyro_msde.load`) and forecast.nc, of the winters after the last one of the record.
`docs/your-own-file.md` explains each step.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import xarray as xr

import pyro_msde
from pyro_msde.datasets import observed
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale


def main() -> None:
    """Read, cut, train, compare, forecast."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--out", type=Path, default=Path("runs/observed"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "sst.nc"
    observed.sst().to_netcdf(file)

    ds = xr.open_dataset(file)
    record = pyro_msde.Trajectories.from_xarray(ds, "sst", missing="mask")
    train, validation, test = record.split(train=0.6, validation=0.2, gap=3)
    validation, test = validation.cut(length=4, every=1), test.cut(length=4, every=1)
    model = multiscale.like(train, n_eta=2)
    fit = pyro_msde.fit(
        model,
        AmortizedGP(model),
        train,
        validation=validation,
        steps=args.steps,
        checkpoint=args.out,
    )
    table = pyro_msde.compare(fit, test, train, validation, weights="coslat")
    print(table["skill"].to_pandas().round(2))

    fc = fit.predict(ds["sst"].isel(time=-1), ["2013-01-15", "2014-01-15", "2015-01-15"])
    fc.to_xarray(quantiles=(0.05, 0.95)).to_netcdf(args.out / "forecast.nc")


if __name__ == "__main__":
    main()
