"""Flow past a cylinder end to end, 2 × 320 × 80 velocities → 2 × 32 × 8 coarse points.

    python examples/cylinder.py                 Re = 160, one trajectory; an hour on two cores
    python examples/cylinder.py --split hard    Reynolds numbers from 80 to 200, from small vortices
    python examples/cylinder.py --file flow.nc  the files of Günther, Gross & Theisel (2017)

`ngsolve` makes the data (pip install 'pyro-msde[cylinder]'), once: seven minutes, or an hour for
--split hard, which `python -m pyro_msde.datasets.cylinder` does part by part. Trains as
the row of README's table, whose settings are in `cases.py`. Leaves under --out the run (for
`pyro_msde.load`), forecast.png and forecast.gif. An interrupted run is resumed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from cases import CASES

import pyro_msde
from pyro_msde import plot
from pyro_msde.data import Splits
from pyro_msde.datasets.flow_files import read_flow


def published(path: Path) -> Splits:
    """The three parts of a published file, cut to the domain of the paper."""
    ds = read_flow(path, crop={"x": (-0.5, 3.5)}, radius=0.0625)
    flow = pyro_msde.Trajectories.from_xarray(ds, ["u", "v"], missing="mask")
    late = flow.after(13.0)
    return Splits(flow.until(13.0), late.until(14.0), late.after(14.0))


def main() -> None:
    """Train, calibrate on validation, forecast what is to test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", choices=("published", "hard"), default="published")
    parser.add_argument("--file", type=Path, help="a published file; unless given, data are made")
    parser.add_argument("--n-eta", type=int, help="microscale states; unless given the row's")
    parser.add_argument("--steps", type=int, help="of training; unless given the row's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to leave it; runs/cylinder-published, say")
    args = parser.parse_args()
    if args.file and args.split == "hard":
        parser.error("--file: holds the published flow. Leave --split out.")
    setting = CASES["cylinder"][args.split]
    n_eta = setting.n_eta if args.n_eta is None else args.n_eta
    out = args.out or Path("runs") / f"cylinder-{args.split}"
    if args.file:
        data = published(args.file)
    else:
        data = setting.problem.splits(args.split, directory="data")
    fit = setting.train(data, n_eta, seed=args.seed, steps=args.steps, out=out)
    fc = fit.forecast(data.test)
    errors = np.asarray(pyro_msde.nrmse(fc, data.test, relative_to="zero"))
    print("test NRMSE", " ".join(f"{error:.2%}" for error in errors))
    print(f"coverage of the 90 % interval {np.mean(pyro_msde.coverage(fc, data.test)):.3f}")
    picture = plot.forecast_images(fc, data.test)
    picture.flat[0].figure.savefig(out / "forecast.png", dpi=150)
    film = plot.animation(fc, data.test, channel="v", every=2)
    plot.save_animation(film, out / "forecast.gif")


if __name__ == "__main__":
    main()
