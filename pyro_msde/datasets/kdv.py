"""Korteweg-de Vries data (Ilersich & Nair 2025, App. H): the published split and a harder one.

"published": one wave packet near x = 7.5, 10/5/5 trajectories over [0, 1]. "hard": 3 to 6 packets
anywhere, 40 trajectories over [0, 1] to train on, 5/5 over [0, 2] to validate and test. Snapshots
every 0.001 with independent noise of standard deviation 0.01; all is dimensionless. Each
trajectory has its own random stream: the k-th of a part is the same however many are drawn.

Command line: `python -m pyro_msde.datasets.kdv --split published --out data/`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyro_msde.datasets.kdv_equation import LENGTH, NU, grid, solve
from pyro_msde.datasets.storage import write_once
from pyro_msde.trajectories import Trajectories

__all__ = ["KdVSplits", "fresh", "generate", "hard_initial", "kdv_splits", "published_initial"]

Array = NDArray[Any]
Split = Literal["published", "hard"]

CENTRE = 7.5
NOISE_SD = 0.01
DT = 0.001
_VERSION = 1  # of the data: raise it when the same seed gives other numbers
_STREAMS = ("train", "validation", "test", "fresh", "generate")

# trajectories and horizon of each part
_PARTS: dict[str, dict[str, tuple[int, float]]] = {
    "published": {"train": (10, 1.0), "validation": (5, 1.0), "test": (5, 1.0)},
    "hard": {"train": (40, 1.0), "validation": (5, 2.0), "test": (5, 2.0)},
}


def published_initial(rng: np.random.Generator, x: Array) -> Array:
    """One packet a cos(πx) exp(−(x − 7.5)²/s), a ~ N(2, .1²), s ~ N(1, .1²). Shape of x."""
    a, s = rng.normal(2.0, 0.1), rng.normal(1.0, 0.1)
    return np.asarray(a * np.cos(np.pi * x) * np.exp(-((x - CENTRE) ** 2) / s))


def hard_initial(rng: np.random.Generator, x: Array) -> Array:
    """A sum of 3 to 6 packets a cos(k d + φ) exp(−d²/s), d = x − c wrapped to [−5, 5). Shape of x.

    a ~ N(.8, .25²), c ~ U(0, 10), s ~ U(.5, 2), k ~ π U(.5, 1.2), φ ~ U(0, 2π).
    """
    u = np.zeros_like(x)
    for _ in range(rng.integers(3, 7)):
        a, c, s = rng.normal(0.8, 0.25), rng.uniform(0.0, LENGTH), rng.uniform(0.5, 2.0)
        k, phi = np.pi * rng.uniform(0.5, 1.2), rng.uniform(0.0, 2 * np.pi)
        d = (x - c + LENGTH / 2) % LENGTH - LENGTH / 2
        u += a * np.cos(k * d + phi) * np.exp(-(d**2) / s)
    return u


_INITIAL: dict[str, Callable[[np.random.Generator, Array], Array]] = {
    "published": published_initial,
    "hard": hard_initial,
}


def generate(
    split: Split,
    num_trajectories: int,
    *,
    horizon: float,
    seed: int,
    noise_sd: float = NOISE_SD,
    dt: float = DT,
    stream: str = "generate",
) -> xr.Dataset:
    """Simulate trajectories.

    Args:
        split: Which law of initial states, "published" or "hard".
        num_trajectories: How many.
        horizon: Length in time, a whole number of `dt`.
        seed: Non-negative. Another seed, split or stream gives independent trajectories.
        noise_sd: Standard deviation of the measurement noise.
        dt: Time between snapshots.
        stream: "train", "validation", "test", "fresh" or "generate".

    Returns:
        Variables `u` (with noise) and `u_clean`, both (trajectory, time, x) in float32; the
        attributes say how to make them again.

    Raises:
        ValueError: If an argument is out of range.
    """
    attrs = _attrs(split, num_trajectories, horizon, seed, noise_sd, dt, stream)
    num_steps, x = round(horizon / dt), grid()
    rngs = [
        np.random.default_rng(
            np.random.SeedSequence(
                seed, spawn_key=(list(_PARTS).index(split), _STREAMS.index(stream), k)
            )
        )
        for k in range(num_trajectories)
    ]
    u = np.empty((num_trajectories, num_steps + 1, len(x)), dtype=np.float32)
    u_clean = np.empty_like(u)
    for k, rng in enumerate(rngs):
        solution = solve(_INITIAL[split](rng, x), num_steps=num_steps, dt=dt)
        u_clean[k] = solution
        u[k] = solution + noise_sd * rng.standard_normal(solution.shape)
    dims = ("trajectory", "time", "x")
    return xr.Dataset(
        {
            "u": (dims, u, {"units": "1", "long_name": "wave height with noise"}),
            "u_clean": (dims, u_clean, {"units": "1", "long_name": "wave height"}),
        },
        coords={
            "time": ("time", np.arange(num_steps + 1) * dt, {"units": "1"}),
            "x": ("x", x, {"units": "1"}),
        },
        attrs=attrs,
    )


def _attrs(
    split: str,
    num_trajectories: int,
    horizon: float,
    seed: int,
    noise_sd: float,
    dt: float,
    stream: str,
) -> dict[str, Any]:
    """All that the data depend on, checked."""
    if split not in _PARTS:
        raise ValueError(f"split: {split!r} is unknown. Pass one of {', '.join(_PARTS)}.")
    if stream not in _STREAMS:
        raise ValueError(f"stream: {stream!r} is unknown. Pass one of {', '.join(_STREAMS)}.")
    if num_trajectories < 1:
        raise ValueError(f"num_trajectories: {num_trajectories}. Pass at least 1.")
    if seed < 0:
        raise ValueError(f"seed: {seed}. Pass 0 or more.")
    if not (np.isfinite(noise_sd) and noise_sd >= 0):
        raise ValueError(f"noise_sd: {noise_sd}. Pass 0 or more.")
    if not (dt > 0 and horizon >= dt and abs(horizon / dt - round(horizon / dt)) < 1e-6):
        raise ValueError(f"horizon: {horizon} is no whole number of dt={dt}. Pass a multiple.")
    return {
        "title": f"Korteweg-de Vries, {split} initial states, {stream}",
        "equation": f"u_t = -u u_x - {NU} u_xxx, periodic on [0, {LENGTH:g})",
        "scheme": "(u[j+1]-u[j-1])/(2 dx); (u[j+2]-3u[j+1]+3u[j]-u[j-1])/dx^3; ETDRK4 in time",
        "source": "Ilersich & Nair (2025), Learning Stochastic Multiscale Models, appendix H",
        "split": split,
        "stream": stream,
        "num_trajectories": int(num_trajectories),
        "horizon": float(horizon),
        "seed": int(seed),
        "noise_sd": float(noise_sd),
        "dt": float(dt),
        "data_version": _VERSION,
    }


@dataclass(frozen=True)
class KdVSplits:
    """Training, validation and test trajectories, u (time, x) each."""

    train: Trajectories
    validation: Trajectories
    test: Trajectories


def kdv_splits(
    split: Split = "published", *, seed: int = 0, directory: str | PathLike[str] | None = None
) -> KdVSplits:
    """The three parts of a split.

    Args:
        split: "published" or "hard", see the module's head.
        seed: Non-negative.
        directory: If given, each part is written there as netCDF once (80 to 320 MB a part for
            "hard", 40 to 80 for "published") and read from there afterwards.

    Raises:
        ValueError: If `split` or `seed` is out of range.
        OSError: If `directory` cannot be written.
    """
    if split not in _PARTS:
        raise ValueError(f"split: {split!r} is unknown. Pass one of {', '.join(_PARTS)}.")
    parts = {
        part: _part(split, part, seed, None if directory is None else Path(directory))
        for part in ("train", "validation", "test")
    }
    return KdVSplits(**parts)


def _part(split: Split, part: str, seed: int, directory: Path | None) -> Trajectories:
    num_trajectories, horizon = _PARTS[split][part]

    def make() -> xr.Dataset:
        return generate(split, num_trajectories, horizon=horizon, seed=seed, stream=part)

    if directory is None:
        return Trajectories.from_xarray(make(), "u")
    attrs = _attrs(split, num_trajectories, horizon, seed, NOISE_SD, DT, part)
    path = write_once(directory / f"kdv_{split}_{part}_seed{seed}.nc", attrs, make)
    with xr.open_dataset(path, engine="h5netcdf") as ds:
        return Trajectories.from_xarray(ds, "u")


def fresh(split: Split, num_trajectories: int, seed: int, horizon: float) -> Trajectories:
    """Trajectories that are in no split of any seed, for calibration; as `generate`."""
    ds = generate(split, num_trajectories, horizon=horizon, seed=seed, stream="fresh")
    return Trajectories.from_xarray(ds, "u")


def main(argv: Sequence[str] | None = None) -> None:
    """Write a split's three netCDF files."""
    parser = argparse.ArgumentParser(description="Write the KdV data of a split as netCDF files.")
    parser.add_argument("--split", choices=list(_PARTS), default="published")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    args = parser.parse_args(argv)
    parts = kdv_splits(args.split, seed=args.seed, directory=args.out)
    for part, trajectories in vars(parts).items():
        sys.stdout.write(f"{part}: {trajectories!r}\n")


if __name__ == "__main__":
    main()
