"""A case's data: laws of initial states, a solver, splits; made from a seed, kept as netCDF."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyro_msde.checks import check_number, check_seed, check_whole
from pyro_msde.data import Splits, Trajectories
from pyro_msde.datasets.storage import write_once

__all__ = ["Problem", "Splits"]

Array = NDArray[Any]
Draw = Callable[[np.random.Generator], tuple[Any, tuple[float, ...]]]

_MOST_TRAJECTORIES = 10**6
_MOST_STEPS = 10**9
_STREAMS = ("train", "validation", "test", "fresh", "generate")


@dataclass(frozen=True)
class Problem:
    """An equation whose solutions, with noise, are a case's data.

    Each trajectory has its own random stream: the k-th of a part is the same however many are
    drawn. All is dimensionless.

    Attributes:
        name: Of the case, and of its files.
        parts: By split, number and horizon of the trajectories in "train", "validation", "test";
            of a split that is one trajectory cut in time, number and horizon of "train" only.
        draw: By split, the law of a trajectory's initial state (*space) and covariates.
        solve: From initial state, covariates, number of steps and dt to u (step + 1, *space), or
            (step + 1, variable, *space) where there are several. The initial state may be anything
            that `draw` gives and this takes.
        coords: Positions along each axis of space, in order.
        dt: Time between snapshots.
        dt_at: By split, where it is another.
        noise_sd: Standard deviation of the independent measurement noise.
        covariates: By split, names of the covariates.
        designed: By split and part, the covariates of each trajectory, in the place of drawn ones.
        cuts: By split that is one trajectory cut in time, when training and when validation ends.
        variables: Names of the fields; several are channels of trajectories, NaN where there is no
            field.
        attrs: What the files say of the data: "equation", "scheme" and the like.
        key: Sets the random streams apart from those of other problems.
        keep_clean: Store the solution without noise as well.
        driven: The equation is driven by noise: `solve` takes the trajectory's random generator
            too, as its fifth argument.
        version: Of the data: raise it when the same seed gives other numbers.
    """

    name: str
    parts: Mapping[str, Mapping[str, tuple[int, float]]]
    draw: Mapping[str, Draw]
    solve: Callable[..., Array]
    coords: Mapping[str, Array]
    dt: float
    noise_sd: float
    dt_at: Mapping[str, float] = field(default_factory=dict)
    covariates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    designed: Mapping[str, Mapping[str, Sequence[tuple[float, ...]]]] = field(default_factory=dict)
    cuts: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    variables: tuple[str, ...] = ("u",)
    attrs: Mapping[str, str] = field(default_factory=dict)
    key: tuple[int, ...] = ()
    keep_clean: bool = True
    driven: bool = False
    version: int = 1

    def generate(
        self,
        split: str,
        num_trajectories: int,
        *,
        horizon: float,
        seed: int,
        noise_sd: float | None = None,
        dt: float | None = None,
        stream: str = "generate",
    ) -> xr.Dataset:
        """Simulate trajectories.

        Args:
            split: Which law of initial states.
            num_trajectories: How many.
            horizon: Length in time, a whole number of `dt`.
            seed: Non-negative. Another seed, split or stream gives independent trajectories.
            noise_sd: Standard deviation of the noise; the problem's unless given.
            dt: Time between snapshots; the problem's unless given.
            stream: "train", "validation", "test", "fresh" or "generate".

        Returns:
            The variables (trajectory, time, *space) with noise, `u` say, and `u_clean` without if
            it is kept, both in float32, and the covariates (trajectory,); the attributes say how to
            make them again.

        Raises:
            ValueError: If an argument is out of range.
        """
        noise_sd = self.noise_sd if noise_sd is None else noise_sd
        dt = self.dt_at.get(split, self.dt) if dt is None else dt
        attrs = self._attrs(split, num_trajectories, horizon, seed, noise_sd, dt, stream)
        num_steps = round(horizon / dt)
        place = (*self.key, list(self.parts).index(split), _STREAMS.index(stream))
        shape = tuple(len(x) for x in self.coords.values())
        if len(self.variables) > 1:
            shape = (len(self.variables), *shape)
        u = np.empty((num_trajectories, num_steps + 1, *shape), dtype=np.float32)
        u_clean = np.empty_like(u) if self.keep_clean else None
        columns = np.empty((num_trajectories, len(self.covariates.get(split, ()))))
        designed = self.designed.get(split, {}).get(stream, ())
        for k in range(num_trajectories):
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(*place, k)))
            initial, covariates = self.draw[split](rng)
            columns[k] = covariates = designed[k] if k < len(designed) else covariates
            noise_source = (rng,) if self.driven else ()
            solution = self.solve(initial, covariates, num_steps, dt, *noise_source)
            noise = noise_sd * rng.standard_normal(solution.shape) if noise_sd else 0.0
            u[k] = solution + noise
            if u_clean is not None:
                u_clean[k] = solution
        dims = ("trajectory", "time", *self.coords)
        fields = np.moveaxis(u, 2, 0) if len(self.variables) > 1 else u[None]
        said = " with noise" if noise_sd else ""
        variables: dict[str, Any] = {
            name: (dims, values, {"units": "1", "long_name": f"{name}{said}"})
            for name, values in zip(self.variables, fields, strict=True)
        }
        if u_clean is not None:
            variables["u_clean"] = (dims, u_clean, {"units": "1", "long_name": "u"})
        for j, name in enumerate(self.covariates.get(split, ())):
            variables[name] = ("trajectory", columns[:, j], {"units": "1"})
        coords = {name: (name, x, {"units": "1"}) for name, x in self.coords.items()}
        coords["time"] = ("time", np.arange(num_steps + 1) * dt, {"units": "1"})
        return xr.Dataset(variables, coords=coords, attrs=attrs)

    def splits(
        self,
        split: str = "published",
        *,
        seed: int = 0,
        directory: str | PathLike[str] | None = None,
    ) -> Splits:
        """The three parts of a split.

        Args:
            split: Which; see the case's module.
            seed: Non-negative.
            directory: If given, each part is written there as netCDF once and read from there
                afterwards.

        Raises:
            ValueError: If `split` or `seed` is out of range.
            OSError: If `directory` cannot be written.
        """
        self._check_split(split)
        folder = None if directory is None else Path(directory)
        if split in self.cuts:
            whole, (first, second) = self._part(split, "train", seed, folder), self.cuts[split]
            late = whole.after(first)
            return Splits(whole.until(first), late.until(second), late.after(second))
        return Splits(**{part: self._part(split, part, seed, folder) for part in _STREAMS[:3]})

    def fresh(self, split: str, num_trajectories: int, seed: int, horizon: float) -> Trajectories:
        """Trajectories that are in no split of any seed, for calibration; as `generate`."""
        ds = self.generate(split, num_trajectories, horizon=horizon, seed=seed, stream="fresh")
        return self._trajectories(ds, split)

    def main(self, argv: Sequence[str] | None = None) -> None:
        """Command line: write a split's three netCDF files."""
        parser = argparse.ArgumentParser(
            description=f"Write the {self.name} data of a split as netCDF files."
        )
        parser.add_argument("--split", choices=list(self.parts), default="published")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--out", type=Path, required=True, help="folder for the files")
        args = parser.parse_args(argv)
        parts = self.splits(args.split, seed=args.seed, directory=args.out)
        for part, trajectories in parts._asdict().items():
            sys.stdout.write(f"{part}: {trajectories!r}\n")

    def _part(self, split: str, part: str, seed: int, directory: Path | None) -> Trajectories:
        num_trajectories, horizon = self.parts[split][part]

        def make() -> xr.Dataset:
            return self.generate(split, num_trajectories, horizon=horizon, seed=seed, stream=part)

        if directory is None:
            return self._trajectories(make(), split)
        dt = self.dt_at.get(split, self.dt)
        attrs = self._attrs(split, num_trajectories, horizon, seed, self.noise_sd, dt, part)
        which = split if split in self.cuts else f"{split}_{part}"
        path = write_once(directory / f"{self.name}_{which}_seed{seed}.nc", attrs, make)
        with xr.open_dataset(path, engine="h5netcdf") as ds:
            return self._trajectories(ds, split)

    def _trajectories(self, ds: xr.Dataset, split: str) -> Trajectories:
        one = len(self.variables) == 1
        return Trajectories.from_xarray(
            ds,
            self.variables[0] if one else self.variables,
            missing="raise" if one else "mask",
            covariates=self.covariates.get(split) or None,
        )

    def _check_split(self, split: str) -> None:
        if not isinstance(split, str) or split not in self.parts:
            known = ", ".join(self.parts)
            raise ValueError(f"split: {split!r} is unknown. Pass one of {known}.")

    def _attrs(
        self,
        split: str,
        num_trajectories: int,
        horizon: float,
        seed: int,
        noise_sd: float,
        dt: float,
        stream: str,
    ) -> dict[str, Any]:
        """All that the data depend on, checked."""
        self._check_split(split)
        if not isinstance(stream, str) or stream not in _STREAMS:
            raise ValueError(f"stream: {stream!r} is unknown. Pass one of {', '.join(_STREAMS)}.")
        num_trajectories = check_whole("num_trajectories", num_trajectories, 1, _MOST_TRAJECTORIES)
        seed = check_seed("seed", seed)
        noise_sd = check_number("noise_sd", noise_sd, zero=True)
        dt, horizon = check_number("dt", dt), check_number("horizon", horizon)
        steps = horizon / dt
        if not (1 <= steps < _MOST_STEPS and abs(steps - round(steps)) < 1e-6):
            raise ValueError(f"horizon: {horizon} is no whole number of dt={dt}. Pass a multiple.")
        return {
            "title": f"{self.name}, {split} initial states, {stream}",
            **self.attrs,
            "split": split,
            "stream": stream,
            "num_trajectories": int(num_trajectories),
            "horizon": float(horizon),
            "seed": int(seed),
            "noise_sd": float(noise_sd),
            "dt": float(dt),
            "data_version": self.version,
        }
