"""A trained model with its guide, and what can be done with it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from pyro.infer.autoguide import AutoDelta
from torch import Tensor

from pyro_msde.checks import check_number, check_seed, check_whole
from pyro_msde.data import (
    Metadata,
    Scaling,
    TimeUnits,
    Trajectories,
    check_trajectories,
    checked_times,
    matched,
    to_numpy,
)
from pyro_msde.errors import SavedRunError
from pyro_msde.forecasts import SHORTEST_STEP, Forecast, Region, forecast
from pyro_msde.inference import Jackknife, each_trajectory, jackknife
from pyro_msde.interface.description import description_of, weights_of
from pyro_msde.interface.ownership import belongs
from pyro_msde.io.arviz import to_arviz
from pyro_msde.isolation import Isolation, place_of
from pyro_msde.runs import History, Recipe, read_run, write_run
from pyro_msde.scores import BINS, Calibration, choose_diffusion_scale

__all__ = ["LARGEST_FIELD", "Fit", "common_batches"]

_NUM_THETA = 8
LARGEST_FIELD = 1e4  # that a forecast may start from, in root mean squares of the training data


@dataclass
class Fit:
    """A trained model with its guide: forecasts, saves, converts.

    Attributes:
        model: The generative model, in scaled units.
        guide: Its guide.
        scaling: Scaled against user's units.
        history: The ELBO's terms and the validation scores over the steps.
        steps: Steps trained.
        seconds: Time spent training.
        interrupted: Training was stopped before its end.
        has_channel: Whether the data's fields carried a channel axis.
        diffusion_scale: Multiple of L = √C in forecasts; 1 unless `calibrated`.
        calibration: What `calibrated` based it on.
        region: Around the encoded training data, near which forecasts stay; None: they may go
            anywhere.
        segment: Observations and mean duration of the segments it was trained on, the latter in the
            data's time units; None: not known.
        uncertainty: Of the drift, from `jackknifed`; None: not known, the drift is a point.
        recipe: How it was trained; None: not known.
        metadata: Names, positions and units of the training data; None: not known.
        identity: By which `fit(checkpoint=…)` knows the run again; None: not known.
    """

    model: Any
    guide: Any
    scaling: Scaling
    history: History = field(default_factory=History)
    steps: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    has_channel: bool = False
    diffusion_scale: float = 1.0
    calibration: Calibration | None = None
    region: Region | None = None
    segment: tuple[int, float] | None = None
    uncertainty: Jackknife | None = None
    recipe: Recipe | None = None
    metadata: Metadata | None = None
    identity: dict[str, Any] | None = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Of copies and pickles, whose models are theirs."""
        self.__dict__.update(state)
        belongs(self.model)

    def predict(
        self,
        y0: Any,
        times: Any,
        *,
        t0: Any = None,
        num_samples: int = 64,
        num_theta: int | None = None,
        parameters: Any = None,
        max_step: float | None = None,
        seed: int = 0,
    ) -> Forecast:
        """Forecast the field from one snapshot.

        Args:
            y0: One field, or a batch of fields along a first axis, with a channel axis if the
                training data had one. Any array, in the data's units.
            times: (time,) increasing, in the data's units; or dates, if the data had dates, or
                durations, if their unit of time is known.
            t0: Time of y0. Unless given, that of y0's own coordinate "time", or times[0].
            num_samples: Latent paths, rounded up to equal shares of the draws of θ.
            num_theta: Draws of θ among which the paths are shared out, where it has a posterior, or
                of the drift where its uncertainty is measured. Unless given, 8, or as many as have
                two paths each: single paths do not tell parameter from propagated variance.
            parameters: (batch, p) or (p,), if the trajectories had parameters.
            max_step: Longest integration step; unless given, a thousandth of the training horizon.
                Where the drift is too stiff for it, steps are shorter.
            seed: Of the paths, which are others at other `times`; the global random state is left
                alone.

        Several threads may forecast at once.

        Raises:
            ValueError: y0 of another grid or not finite, times not increasing or before t0,
                missing parameters, numbers of paths that are not positive, a step without sense;
                paths of more than 100 000 steps, or that take more than 8 GiB.
        """
        check_whole("num_samples", num_samples, 1)
        if num_theta is None:
            num_theta = min(_NUM_THETA, max(1, num_samples // 2))
        check_whole("num_theta", num_theta, 1)
        check_seed("seed", seed)
        max_step = None if max_step is None else check_number("max_step", max_step)
        if max_step is not None and not max_step >= SHORTEST_STEP * self.scaling.time:
            raise ValueError(
                f"max_step={max_step}: give at least {SHORTEST_STEP * self.scaling.time:.3g}, a "
                "50 000th of the training horizon."
            )
        if t0 is None and isinstance(y0, xr.DataArray) and y0.coords.get("time", y0).ndim == 0:
            t0 = y0.coords["time"].values[()]
        clock, start = checked_times(times, t0, self._time_units)
        fields, batched = self._fields(y0)
        params = self._parameters(parameters, len(fields))
        return forecast(
            self.model,
            self.guide,
            self.scaling,
            fields,
            clock,
            t0=start,
            num_samples=num_samples,
            num_theta=1 if self.is_point else min(num_theta, num_samples),
            seed=seed,
            parameters=params,
            max_step=self.scaling.time / 1000 if max_step is None else max_step,
            diffusion_scale=self.diffusion_scale,
            region=self.region,
            uncertainty=self.uncertainty,
            point=self._has_point_theta,
            layout={"batched": batched, "has_channel": self.has_channel},
            metadata=self.metadata,
        )

    def calibrated(
        self, validation: Trajectories, *, level: float = 0.9, num_times: int = 60
    ) -> Fit:
        """A copy whose forecasts' L = √C is scaled to cover validation trajectories as claimed.

        An explicit step after training; `calibration` of the copy holds what it was based on.

        Args:
            validation: Trajectories on common times, not those that will be reported on.
            level: Nominal coverage of the central interval.
            num_times: Times, evenly spaced, at which coverage is counted, at least 10.

        Raises:
            ValueError: Times that differ between trajectories, or too few of them.
        """
        check_trajectories("validation", self.model, validation)
        validation = matched(self.metadata, "validation", validation)
        times, values, parameters = common_batches(validation)[0]
        if len(values) < len(validation):
            raise ValueError("validation: times differ between trajectories; resample them first.")
        check_whole("num_times", num_times, BINS)
        if len(times) <= BINS:
            raise ValueError(
                f"validation: {len(times)} snapshots a trajectory; coverage in {BINS} parts of the "
                f"horizon takes more than {BINS}. Pass longer trajectories."
            )
        every = max(1, (len(times) - 1) // num_times)
        truth = Trajectories(times[::every], values[:, ::every])

        def predict(scale: float) -> tuple[Forecast, Trajectories]:
            scaled = replace(self, diffusion_scale=scale)
            y0 = values[:, 0]
            step = self.scaling.time / 500
            fc = scaled.predict(
                y0, times[::every], parameters=parameters, num_samples=32, max_step=step
            )
            return fc, truth

        calibration = choose_diffusion_scale(predict, level=level)
        return replace(self, diffusion_scale=calibration.scale, calibration=calibration)

    def jackknifed(self, train: Trajectories, *, ridge: float = 1.0, seed: int = 0) -> Fit:
        """A copy whose forecasts know what the drift owes to single training trajectories.

        `fit` ends with it; do it again for another λ, or for a run saved before that was so, and
        `calibrated` after it. Forecasts draw the last weights of the drift's networks `num_theta`
        times, and `parameter_var` is what differs between these: little among the training data,
        more beyond them.

        Args:
            train: The trajectories that it was trained on.
            ridge: What holds each weight in place beside the other trajectories' data, in average
                trajectories: smaller ones widen more.
            seed: Of the quadrature; the global random state is left alone.

        Raises:
            ValueError: A drift that is no `LastLayer`, or has a prior; fewer than two trajectories,
                or trajectories of a single snapshot; data of another grid.
        """
        check_trajectories("train", self.model, train)
        seed = check_seed("seed", seed)
        train = matched(self.metadata, "train", train)
        for k, times in enumerate(train.times):
            if len(times) < 2:
                raise ValueError(f"train: trajectory {k} has a single snapshot. Leave it out.")
        if hasattr(self.guide, "check_data"):
            self.guide.check_data(train)
        with Isolation(seed, place_of(self.model)[1]).turn():
            pieces = each_trajectory(self, train)
            found = jackknife(self.model, self.guide, pieces, ridge=ridge)
        return replace(self, uncertainty=found)

    @property
    def is_point(self) -> bool:
        """Whether all paths of a forecast are of one θ and one drift."""
        return self._has_point_theta and self.uncertainty is None

    @property
    def _has_point_theta(self) -> bool:
        theta = getattr(self.guide, "theta", None)
        return theta is None or isinstance(theta, AutoDelta)

    @property
    def _time_units(self) -> TimeUnits:
        return TimeUnits() if self.metadata is None else self.metadata.time_units

    def to_arviz(self, test: Trajectories, **options: Any) -> Any:
        """ArviZ data of forecasts of `test`; see `pyro_msde.io.arviz.to_arviz`."""
        return to_arviz(self, test, **options)

    def save(self, path: str | Path) -> None:
        """Write the fit into a folder, for `pyro_msde.load`.

        Args:
            path: The folder, made if missing; what was saved there before is kept beside. What
                resuming this very run needs stays, if it was interrupted.

        Raises:
            SavedRunError: It cannot be written, or another run is using the folder.
        """
        state = None
        if self.interrupted and self.identity is not None:
            with suppress(SavedRunError):  # nothing there, or nothing that can be read
                saved = read_run(path)
                state = saved.state if saved.run.get("identity") == self.identity else None
        write_run(path, description_of(self), weights_of(self), state)

    def _fields(self, y0: Any) -> tuple[Tensor, bool]:
        """(batch, channel, *space) on the model's device, and whether a batch was given.

        float64: the model's dtype may not hold them before they are divided by their scale.
        """
        device = place_of(self.model)[1]
        value = torch.as_tensor(to_numpy(y0, "y0"))
        grid = self.model.grid
        one = grid.field_shape if self.has_channel else grid.shape
        if tuple(value.shape[-len(one) :]) != tuple(one) or value.ndim > len(one) + 1:
            raise ValueError(
                f"y0: shape {tuple(value.shape)}; the model's fields are {tuple(one)}, or "
                f"(batch, {', '.join(map(str, one))}). Pass first snapshots, such as values[:, 0], "
                "on the model's grid, with a channel axis if the training data had one."
            )
        if self.metadata is not None and isinstance(y0, xr.DataArray):
            self.metadata.check("y0", Metadata.of_array(y0, len(one)))
        bad = int((~value.isfinite()).sum())
        if bad:
            raise ValueError(
                f"y0: holds NaN or infinite values, {bad} of {value.numel()}. Fill or drop them. "
                "(Masked and missing values are read as NaN.)"
            )
        batched = value.ndim > len(one)
        if batched and not len(value):
            raise ValueError(f"y0: shape {tuple(value.shape)} holds no field. Pass at least one.")
        value = value if batched else value[None]
        value = value if self.has_channel else value[:, None]
        fields = value.to(device=device, dtype=torch.float64)
        largest = float((fields / self.scaling.field_scale(fields, grid.ndim)).abs().max())
        if largest > LARGEST_FIELD:
            raise ValueError(
                f"y0: its largest value is {largest:.3g} times the training data's root mean "
                "square. Nothing was learned there; check its units."
            )
        return fields, batched

    def _parameters(self, parameters: Any, batch: int) -> Tensor | None:
        wanted = getattr(self.model, "num_parameters", 0)
        if parameters is None and wanted:
            raise ValueError(
                f"parameters: the model takes {wanted} for each trajectory; pass them."
            )
        if parameters is None:
            return None
        if not wanted:
            raise ValueError("parameters: the model takes none. Leave them out.")
        dtype, device = place_of(self.model)
        given = to_numpy(parameters, "parameters")
        each = given.ndim == 1 and wanted == 1 and len(given) == batch  # as in `Trajectories`
        value = torch.atleast_2d(torch.as_tensor(given[:, None] if each else given))
        if value.shape[-1] != wanted or value.shape[0] not in (1, batch):
            raise ValueError(
                f"parameters: shape {given.shape} for {batch} initial fields; the model "
                f"takes {wanted} for each: pass ({batch}, {wanted}) or ({wanted},)."
            )
        if not bool(value.isfinite().all()):
            bad = int((~value.isfinite()).sum())
            raise ValueError(
                f"parameters: hold NaN or infinite values, {bad} of {value.numel()}. Give a number "
                "for each."
            )
        value = self.scaling.scaled_parameters(value.double())
        return value.expand(batch, -1).to(device=device, dtype=dtype)

    def __repr__(self) -> str:
        """Steps, device, best score."""
        dtype, device = place_of(self.model)
        best = min(self.history.validation, default=None)
        score = "" if best is None else f", validation NRMSE {best:.2%}"
        return f"Fit({self.steps} steps in {self.seconds:.0f} s, {dtype}, {device}{score})"


def common_batches(data: Trajectories) -> list[tuple[np.ndarray, np.ndarray, Any]]:
    """Trajectories in batches with common times: (times, (batch, time, *field), parameters)."""
    if data.common_times() is not None:
        return [(data.times[0], np.stack(data.values), data.parameters)]
    return [
        (t, v[None], None if data.parameters is None else data.parameters[k : k + 1])
        for k, (t, v) in enumerate(zip(data.times, data.values, strict=True))
    ]
