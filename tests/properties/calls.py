"""Every public function with arguments that are right, to be spoilt one or two at a time."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyro.distributions import LogNormal

import pyro_msde
from pyro_msde import baselines, grid, guides, models, plot, priors, testing
from pyro_msde.datasets.kdv import KDV
from pyro_msde.scores import spectra
from pyro_msde.scores.innovation_test import innovations, ljung_box

__all__ = ["Call", "calls"]

POINTS, COARSE, SNAPSHOTS = 32, 8, 41


@dataclass(frozen=True)
class Call:
    """A public function, and arguments that it takes.

    Attributes:
        function: Called with keywords.
        arguments: By name; made anew for each call.
        errors: That it documents beside ValueError and TypeError.
    """

    function: Callable[..., Any]
    arguments: Mapping[str, Callable[[], Any]]
    errors: tuple[type[Exception], ...] = ()


def waves(speed: float = 1.0) -> np.ndarray:
    """(trajectory, time, point) of the issue's small set-up: three waves of 41 snapshots."""
    x, t = np.arange(POINTS) / POINTS, np.linspace(0.0, 1.0, SNAPSHOTS)
    angle = 2 * np.pi * (x - speed * t[:, None])
    return np.stack([a * np.sin(angle) + 0.3 * np.cos(2 * angle) for a in (0.8, 1.0, 1.2)])


def calls() -> dict[str, Call]:
    """By name."""
    t, U = np.linspace(0.0, 1.0, SNAPSHOTS), waves()
    data = pyro_msde.Trajectories(t, U)

    def model() -> Any:
        return models.multiscale(POINTS, COARSE, n_eta=1, width=16, components=4)

    def small_fit(**options: Any) -> pyro_msde.Fit:
        own = model()
        guide = guides.AmortizedGP(own)
        short = {"length": 8, "stride": 2, "progress": False, "steps": 2, "num_nodes": 8}
        return pyro_msde.fit(own, guide, data, **{**short, **options})

    fit = small_fit()
    fc = fit.predict(U[:, 0], t, num_samples=32)
    one = fit.predict(U[0, 0], t, num_samples=4)
    first = data.until(0.3)  # a longer one takes seconds to calibrate on
    learned = baselines.LinearInverseModel().fit(data)
    table = pyro_msde.compare(fit, first, data, num_samples=2)
    report = pyro_msde.calibration(fc, data, bins=4, levels=[0.5, 0.9])
    folder = Path(tempfile.mkdtemp()) / "run"
    fit.save(folder)
    larger = models.multiscale(POINTS, COARSE, n_eta=2, width=16, components=4)

    def of(value: Any) -> Callable[[], Any]:
        mutable = isinstance(value, np.ndarray | dict | list)
        return lambda: copy.deepcopy(value) if mutable else value

    def pair() -> dict[str, Any]:
        own = model()
        return {"model": own, "guide": guides.AmortizedGP(own)}

    def fit_pair(data: Any, validation: Any, **options: Any) -> Any:
        both = {**pair(), **{k: options.pop(k) for k in ("model", "guide") if k in options}}
        short = {"length": 8, "stride": 2, "progress": False, "num_nodes": 8}
        return pyro_msde.fit(
            both["model"], both["guide"], data, validation=validation, **{**short, **options}
        )

    def arguments(**values: Any) -> dict[str, Callable[[], Any]]:
        return {k: v if callable(v) and k in _MADE else of(v) for k, v in values.items()}

    sizes = {"n_eta": 1, "seed": 0, "width": 8}
    scored = {"fc": fc, "truth": U}
    weighed = {"bins": 4, "weights": 1.0 + np.arange(float(U.shape[2])), **scored}
    anomalies = {"relative_to": U[0, 0] - 1.0, **weighed}
    drawn = {"fc": fc, "truth": data}
    return {
        # data
        "Trajectories": Call(
            pyro_msde.Trajectories,
            arguments(
                times=t,
                values=U,
                covariates=np.ones((3, 2)),
                controls=np.ones((3, SNAPSHOTS, 1)),
                name="u",
                dims=["x"],
                coords={"x": np.arange(POINTS)},
                units={"u": "K"},
                attrs={"x": {"axis": "X"}},
            ),
        ),
        "Trajectories.from_xarray": Call(
            pyro_msde.Trajectories.from_xarray,
            arguments(
                ds=data.to_xarray(),
                name="u",
                trajectory="trajectory",
                time="time",
                channel="channel",
                covariates=None,
                controls=None,
            ),
        ),
        "Trajectories.from_xarray, several": Call(
            pyro_msde.Trajectories.from_xarray,
            arguments(ds=data.to_xarray().assign(v=data.to_xarray().u), name=["u", "v"]),
        ),
        "Trajectories.__getitem__": Call(
            lambda index: data[index], arguments(index=[0, 2]), (IndexError,)
        ),
        "Trajectories.thinned": Call(data.thinned, arguments(stride=2)),
        "Trajectories.until": Call(data.until, arguments(time=0.5)),
        "Trajectories.after": Call(data.after, arguments(time=0.5)),
        "Trajectories.between": Call(data.between, arguments(start=0.2, end=0.5)),
        "Trajectories.split": Call(data.split, arguments(train=0.6, validation=0.2, gap=3)),
        "Trajectories.cut": Call(data.cut, arguments(length=9, every=4)),
        "Trajectories.fields": Call(data.fields, arguments(channels=1, shape=(POINTS,))),
        # grids
        "Grid": Call(
            pyro_msde.Grid,
            arguments(
                shape=POINTS, coarse=COARSE, channels=1, boundary="periodic", lower=0.0, upper=1.0
            ),
        ),
        "neighbour_table": Call(
            grid.neighbour_table, arguments(shape=COARSE, half_width=1, boundary="neumann")
        ),
        "check_boundary": Call(
            testing.check_boundary, arguments(boundary=("neumann", "dirichlet"))
        ),
        "adjacency_table": Call(grid.adjacency_table, arguments(adjacency=np.eye(4, dtype=int))),
        "SensorGraph": Call(
            pyro_msde.SensorGraph,
            arguments(
                adjacency=np.array([[0, 1, 2], [1, 2, 3]]),
                channels=1,
                coarse=2,
                weights=np.array([1.0, 0.5, 2.0]),
                num_nodes=4,
                positions=np.arange(8.0).reshape(4, 2),
            ),
        ),
        "gaussian_kernel": Call(
            grid.gaussian_kernel,
            arguments(grid=fit.model.grid, radius=3, gain="unit", dtype=torch.float64),
        ),
        "lanczos_kernel": Call(
            grid.lanczos_kernel, arguments(grid=fit.model.grid, radius=3, dtype=torch.float64)
        ),
        "default_coarse": Call(
            grid.default_coarse, arguments(shape=(POINTS,), boundary="neumann", channels=1)
        ),
        # models, guides, priors
        "multiscale.like": Call(
            models.multiscale.like,
            arguments(data=data, coarse=COARSE, boundary=None, channels=1, mask=None, **sizes),
        ),
        "multiscale": Call(
            models.multiscale,
            arguments(
                grid=POINTS,
                coarse=COARSE,
                channels=1,
                boundary="periodic",
                lower=0.0,
                upper=1.0,
                num_covariates=0,
                half_width=2,
                located=False,
                coupling=True,
                rank=4,
                smoothing="lanczos",
                radius=3,
                components=4,
                expert_variance="point",
                time_features=False,
                architecture="default",
                likelihood="student",
                **sizes,
            ),
        ),
        "multiscale on sensors": Call(
            models.multiscale, arguments(adjacency=np.eye(4, dtype=int), **sizes)
        ),
        "kdv": Call(models.kdv, arguments(n_coarse=20, **sizes)),
        "burgers1d": Call(models.burgers1d, arguments(n_coarse=20, **sizes)),
        "burgers2d": Call(
            models.burgers2d, arguments(n_eta=0, n_coarse=8, boundary="dirichlet", width=8)
        ),
        "cylinder": Call(
            models.cylinder,
            arguments(n_eta=0, n_coarse=8, boundary="slip", architecture="published", width=8),
        ),
        "ks": Call(models.ks, arguments(n_coarse=32, **sizes)),
        "gle": Call(models.gle, arguments(n_eta=2, num_points=33, seed=0)),
        "AmortizedGP": Call(
            guides.AmortizedGP,
            arguments(
                model=model,
                covariance="full",
                heteroscedastic=True,
                encoder=None,
                kernel=None,
                seed=0,
            ),
        ),
        "UnamortizedGP": Call(guides.UnamortizedGP, arguments(model=model, data=data, seed=0)),
        "bayesian": Call(
            lambda part, prior: priors.bayesian(part, prior).is_random,
            arguments(part=lambda: model().diffusion, prior=LogNormal(-3.0, 1.0)),
        ),
        "fan_in_normal": Call(
            lambda scale: priors.bayesian(model().drift, priors.fan_in_normal(scale)).prior,
            arguments(scale=1.0),
        ),
        "Horseshoe": Call(
            lambda **numbers: priors.bayesian(model().drift, priors.Horseshoe(**numbers)).prior,
            arguments(global_scale=0.1, slab_scale=1.0, slab_df=4.0),
        ),
        # training
        "Recipe": Call(
            pyro_msde.Recipe,
            arguments(
                length=64,
                stride=4,
                segment_starts="random",
                segments_per_step=1,
                num_nodes=64,
                antithetic=True,
                tube_width=1.0,
                learning_rate=3e-3,
                variance_rate=10.0,
                kernel_rate=None,
                schedule="cosine",
                beta=None,
                beta_parameters=None,
                anneal=2000,
                clip=3.0,
                weight_decay=0.1,
                warm_start=True,
            ),
        ),
        "MultiscaleELBO": Call(
            pyro_msde.MultiscaleELBO,
            arguments(
                num_nodes=8,
                beta=1.0,
                beta_parameters=1.0,
                antithetic=True,
                tube_width=1.0,
                num_particles=1,
            ),
        ),
        "fit": Call(
            fit_pair,
            arguments(
                model=model,
                guide=lambda: None,
                data=data,
                validation=data,
                steps=1,
                seed=0,
                recipe="resolved",
                checkpoint=None,
                validate_every=1,
                device="cpu",
                dtype=torch.float32,
                progress=False,
                callbacks=(),
                jackknife=True,
                link=None,
                learning_rate=1e-3,
                length=8,
            ),
            (pyro_msde.NonFiniteLossError, pyro_msde.NotPositiveDefiniteError),
        ),
        "grow": Call(
            lambda larger_model, seed: pyro_msde.grow(
                fit.model,
                fit.guide,
                larger_model,
                guides.AmortizedGP(larger),
                seed=seed,
            ),
            arguments(larger_model=larger, seed=0),
        ),
        "load": Call(pyro_msde.load, arguments(path=folder, model=None, guide=None)),
        # forecasts
        "Fit.predict": Call(
            fit.predict,
            arguments(
                y0=U[:, 0],
                times=t[:4],
                t0=0.0,
                num_samples=4,
                num_theta=2,
                covariates=None,
                max_step=0.01,
                seed=0,
            ),
        ),
        "Fit.predict from several": Call(
            fit.predict,
            arguments(y0=U[:, :3], times=t[3:5], times0=t[:3], num_samples=8, max_step=0.01),
        ),
        "Fit.forecast": Call(
            fit.forecast,
            arguments(trajectories=first, times=None, history=2, num_samples=8, max_step=0.01),
        ),
        "Fit.calibrated": Call(
            fit.calibrated, arguments(validation=first, level=0.9, num_times=10)
        ),
        "Fit.jackknifed": Call(fit.jackknifed, arguments(train=data, ridge=1.0, seed=0)),
        "Fit.to_arviz": Call(
            fit.to_arviz,
            arguments(
                test=data,
                num_samples=4,
                num_theta=2,
                seed=0,
                probes={"dim_0": [3.0]},
                times=5,
                horizon=None,
                log_likelihood=True,
                prior=False,
                weights=False,
            ),
        ),
        "Ensemble": Call(pyro_msde.Ensemble, arguments(fits=lambda: [fit, small_fit(seed=1)])),
        "Forecast.cdf": Call(one.cdf, arguments(values=U[0])),
        "Forecast.quantile": Call(fc.quantile, arguments(level=0.9)),
        "Forecast.to_xarray": Call(one.to_xarray, arguments(quantiles=(0.1, 0.9))),
        "Forecast.chunks": Call(lambda seed: list(fc.chunks(seed)), arguments(seed=0)),
        # scores
        "nrmse": Call(pyro_msde.nrmse, arguments(**anomalies)),
        "skill": Call(pyro_msde.skill, arguments(**anomalies)),
        "anomaly_correlation": Call(pyro_msde.anomaly_correlation, arguments(**anomalies)),
        "coverage": Call(pyro_msde.coverage, arguments(level=0.9, **weighed)),
        "crps": Call(pyro_msde.crps, arguments(**weighed)),
        "spread_skill": Call(pyro_msde.spread_skill, arguments(**weighed)),
        "pit": Call(pyro_msde.pit, arguments(**scored)),
        "calibration": Call(
            pyro_msde.calibration,
            arguments(levels=[0.5, 0.9], interval=0.9, seed=0, **weighed),
        ),
        "CalibrationReport.average": Call(report.average, arguments(name="crps")),
        "innovations": Call(innovations, arguments(fit=lambda: _linear_fit(data), data=data)),
        "ljung_box": Call(ljung_box, arguments(series=[np.sin(np.arange(50.0) ** 2)], num_lags=5)),
        "shell_spectrum": Call(
            spectra.shell_spectrum, arguments(fields=U, boundary=["periodic"], spacing=[0.1])
        ),
        "band_power": Call(
            spectra.band_power, arguments(fields=U, boundary=["neumann"], spacing=[0.1], bands=3)
        ),
        # what to compare with
        "persistence": Call(baselines.persistence, arguments(y0=U[:, 0], num_times=5)),
        "mean_trajectory": Call(
            baselines.mean_trajectory, arguments(train=data, y0=U[:, 0], num_times=5)
        ),
        "nearest_trajectory": Call(
            baselines.nearest_trajectory,
            arguments(train=data, y0=U[:, 0], num_times=5, covariates=None),
        ),
        "principal_regression": Call(
            baselines.principal_regression,
            arguments(train=data, y0=U[:, 0], num_times=5, covariates=None, components=1, degree=1),
        ),
        **{
            f"{type(kind).__name__}.fit": Call(
                kind.fit, arguments(train=data, validation=first, weights=np.ones(POINTS))
            )
            for kind in baselines.simple_baselines()
        },
        "LinearInverseModel": Call(
            baselines.LinearInverseModel, arguments(period=0.5, harmonics=1)
        ),
        "FittedBaseline.forecast": Call(
            lambda **given: vars(learned.forecast(**given)),
            arguments(y0=U[:, 0], leads=t[:4], t0=np.zeros(3)),
        ),
        "compare": Call(
            lambda **given: pyro_msde.compare(**given).drop_vars("anomaly_correlation"),
            arguments(
                fit=fit,
                test=first[0],
                train=data,
                validation=first,
                baselines=[baselines.Persistence()],
                leads=t[1:3],
                period=None,
                weights=np.ones(POINTS),
                num_samples=4,
                seed=0,
            ),
        ),
        "pod_basis": Call(baselines.pod_basis, arguments(train=data, rank=3, max_snapshots=100)),
        # data sets, of which only what is refused is tried: the right calls take seconds
        "splits": Call(KDV.splits, arguments(split="publishd", seed=0, directory=None)),
        "generate": Call(
            KDV.generate,
            arguments(
                split="published",
                num_trajectories=0,
                horizon=0.002,
                seed=0,
                noise_sd=0.01,
                dt=0.001,
                stream="generate",
            ),
        ),
        # pictures
        "plot.forecast_overview": Call(
            plot.forecast_overview, arguments(trajectory=0, channel=0, **drawn)
        ),
        "plot.forecast_snapshots": Call(
            plot.forecast_snapshots, arguments(trajectory=0, times=2, channel=0, axes=None, **drawn)
        ),
        "plot.forecast_spacetime": Call(
            plot.forecast_spacetime, arguments(trajectory=0, channel=0, axes=None, **drawn)
        ),
        "plot.coverage_by_lead": Call(
            plot.coverage_by_lead, arguments(bins=4, level=0.9, ax=None, **drawn)
        ),
        "plot.comparison_by_lead": Call(
            plot.comparison_by_lead, arguments(table=table, channel=0, axes=None)
        ),
        "plot.history": Call(plot.history, arguments(fit=fit, axes=None)),
        "plot.reliability_diagram": Call(
            plot.reliability_diagram, arguments(report=report, ax=None)
        ),
        "plot.pit_histogram": Call(plot.pit_histogram, arguments(report=report, ax=None)),
        "plot.calibration_by_lead": Call(
            plot.calibration_by_lead, arguments(report=report, level=0.9, axes=None)
        ),
        "plot.spectral_error": Call(plot.spectral_error, arguments(report=report, ax=None)),
        "plot.scale_separation": Call(
            plot.scale_separation,
            arguments(fit=fit, y=U[0, 0], covariates=None, data=None, channel=0, axes=None),
        ),
        "plot.scale_operators": Call(
            plot.scale_operators,
            arguments(fit=fit, y=U[0, 0], covariates=None, data=None, channel=0, axes=None),
        ),
        "plot.smoothing_kernel": Call(
            plot.smoothing_kernel, arguments(fit=fit, start=None, data=None, channel=0, ax=None)
        ),
        "plot.power_spectra": Call(
            plot.power_spectra,
            arguments(fit=fit, y=U[0], covariates=None, data=None, channel=0, ax=None),
        ),
        "plot.drift_sensitivity": Call(
            plot.drift_sensitivity,
            arguments(
                fit=fit,
                y=U[0],
                reference=None,
                covariates=None,
                half_width=2,
                data=None,
                channel=0,
                source=None,
                axes=None,
            ),
        ),
    }


_MADE = frozenset({"model", "guide", "part", "fits", "fit"})


def _linear_fit(data: Any) -> Any:
    model = models.gle(1, num_points=31)
    own = pyro_msde.Trajectories(data.times, [v[:, :31] for v in data.values])
    return pyro_msde.fit(model, guides.AmortizedGP(model), own, steps=1, length=8, progress=False)
