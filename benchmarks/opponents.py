"""What our model is compared with, by name: each fits, forecasts the test trajectories, and scores.

`dns-coarse`, `oracle`, `dmd` and `pc-regression` choose between variants, the first three on
validation trajectories, the last by leaving one out; `Outcome.choice` says what was chosen.
`pod-sde` has as many latent states as the coarse grid has points, `pod-sde-eta` n_η more; if all
its forecasts of validation trajectories blow up, it is trained again without the regressed start.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import pyro_msde
from benchmarks import coarse_dns, dmd, oracle
from benchmarks.errors import noise_floor, trajectory_error
from pyro_msde import Trajectories, baselines
from pyro_msde.datasets.problem import Problem, Splits
from pyro_msde.guides import AmortizedGP
from pyro_msde.models.pod import pod

__all__ = ["OPPONENTS", "Case", "Outcome"]

Array = NDArray[Any]

RANKS = (2, 4, 8, 16, 24, 32, 64)  # among which DMD's is chosen
_SCORED = 50  # intervals of time between those at which coverage and CRPS are taken


class Case(Protocol):
    """What an opponent needs to know of a case."""

    @property
    def problem(self) -> Problem:
        """The data's description."""

    @property
    def coarse(self) -> tuple[int, ...]:
        """Coarse points per axis."""

    @property
    def n_eta(self) -> int:
        """Microscale states of our model."""


@dataclass(frozen=True)
class Outcome:
    """An opponent's score.

    Attributes:
        errors: (trajectory,) NRMSE on test, infinite where the forecast is not finite.
        train_seconds: Time spent on fitting and choosing.
        predict_seconds: Time spent on forecasting all test trajectories.
        status: "ok" or what went wrong.
        choice: Which variant was taken.
        steps: Of training.
        coverage_90: (trajectory,) share of the truth inside the central 90 % interval.
        crps: (trajectory,).
    """

    errors: Array
    train_seconds: float = 0.0
    predict_seconds: float = 0.0
    status: str = "ok"
    choice: str = ""
    steps: int = 0
    coverage_90: Array | None = None
    crps: Array | None = None


Opponent = Callable[[Case, str, Splits, int, int], Outcome]


def _noise_floor(case: Case, split: str, data: Splits, seed: int, steps: int) -> Outcome:
    floors = [noise_floor(y, case.problem.noise_sd) for y in data.test.values]
    return Outcome(np.array(floors))


def _oracle(case: Case, split: str, data: Splits, seed: int, steps: int) -> Outcome:
    began = time.perf_counter()
    periodic = coarse_dns.SOLVERS[case.problem.name].periodic
    found = oracle.projections(data.train, case.coarse, periodic)

    def errors(name: str, part: Trajectories) -> Array:
        return np.array([trajectory_error(found[name](y), y) for y in part.values])

    best = min(found, key=lambda name: float(errors(name, data.validation).mean()))
    return Outcome(errors(best, data.test), time.perf_counter() - began, choice=best)


def _dns(case: Case, split: str, data: Splits, seed: int, steps: int) -> Outcome:
    solver = coarse_dns.SOLVERS[case.problem.name]
    began = time.perf_counter()
    choice, _ = coarse_dns.choose(solver, data.validation, case.coarse)
    chosen = time.perf_counter()
    errors, status = coarse_dns.score(solver, data.test, case.coarse, choice)
    return Outcome(
        errors,
        chosen - began,
        time.perf_counter() - chosen,
        status=status,
        choice=f"{choice.start}, {choice.end}, {choice.accuracy:g}",
    )


def _dmd(case: Case, split: str, data: Splits, seed: int, steps: int) -> Outcome:
    began = time.perf_counter()
    models = dmd.candidates(data.train, RANKS)
    name, _ = dmd.choose(models, data.validation)
    seconds = time.perf_counter() - began
    return _scored(
        data.test,
        lambda one: models[name].forecast(one.values[0][0], one.times[0])[None],
        train_seconds=seconds,
        choice=name,
    )


def _persistence(case: Case, split: str, data: Splits, seed: int, steps: int) -> Outcome:
    return _scored(data.test, lambda one: baselines.persistence(_y0(one), len(one.times[0])))


def _mean(case: Case, split: str, data: Splits, seed: int, steps: int) -> Outcome:
    return _scored(
        data.test, lambda one: baselines.mean_trajectory(data.train, _y0(one), len(one.times[0]))
    )


def _nearest(case: Case, split: str, data: Splits, seed: int, steps: int) -> Outcome:
    return _scored(
        data.test,
        lambda one: baselines.nearest_trajectory(
            data.train, _y0(one), len(one.times[0]), covariates=one.covariates
        ),
    )


def _regression(case: Case, split: str, data: Splits, seed: int, steps: int) -> Outcome:
    began = time.perf_counter()
    components, degree = baselines.choose_regression(data.train)
    seconds = time.perf_counter() - began
    return _scored(
        data.test,
        lambda one: baselines.principal_regression(
            data.train,
            _y0(one),
            len(one.times[0]),
            covariates=one.covariates,
            components=components,
            degree=degree,
        ),
        train_seconds=seconds,
        choice=f"{components} components, {'linear' if degree == 1 else 'quadratic'}",
    )


def _pod_sde(extra: bool) -> Opponent:
    def run(case: Case, split: str, data: Splits, seed: int, steps: int) -> Outcome:
        rank = int(np.prod(case.coarse)) + (case.n_eta if extra else 0)
        began = time.perf_counter()
        try:
            fit = _fit_pod(data, rank, seed, steps, start=True)
            if not np.isfinite(min(fit.history.validation)):
                fit = _fit_pod(data, rank, seed, steps, start=False)
        except pyro_msde.NonFiniteLossError as error:
            failed = np.full(len(data.test), np.inf)
            return Outcome(failed, status=str(error), choice=f"rank {rank}", steps=error.step)
        fit = fit.calibrated(data.validation)
        seconds = time.perf_counter() - began
        outcome = _scored(
            data.test,
            lambda one: np.asarray(fit.forecast(one).mean),
            train_seconds=seconds,
            choice=f"rank {rank}",
            steps=fit.steps,
        )
        return _with_spread(outcome, fit, data.test) if outcome.status == "ok" else outcome

    return run


def _fit_pod(data: Splits, rank: int, seed: int, steps: int, *, start: bool) -> pyro_msde.Fit:
    model = pod(data.train, rank, start=start, reference=None, seed=seed)
    recipe = _recipe(data.train, started=model.drift.net.network.has_polynomial)
    return pyro_msde.fit(
        model,
        AmortizedGP(model, seed=seed),
        data.train,
        validation=data.validation,
        steps=steps,
        seed=seed,
        recipe=recipe,
        reference=None,
        progress=False,
    )


OPPONENTS: dict[str, Opponent] = {
    "noise-floor": _noise_floor,
    "oracle": _oracle,
    "persistence": _persistence,
    "mean": _mean,
    "nearest": _nearest,
    "pc-regression": _regression,
    "dns-coarse": _dns,
    "dmd": _dmd,
    "pod-sde": _pod_sde(extra=False),
    "pod-sde-eta": _pod_sde(extra=True),
}


def _recipe(train: Trajectories, *, started: bool) -> pyro_msde.Recipe:
    """The default, with a stride that short trajectories allow; β is one at once after a start."""
    default = pyro_msde.Recipe()
    shortest = min(len(t) for t in train.times)
    stride = max(1, min(default.stride, (shortest - 1) // (default.length - 1)))
    return replace(default, stride=stride, anneal=0 if started else default.anneal)


def _y0(one: Trajectories) -> Array:
    """(1, *space)."""
    return one.values[0][:1]


def _scored(test: Trajectories, forecast: Callable[[Trajectories], Array], **known: Any) -> Outcome:
    """Forecast, (1, time, *space), and score the trajectories one by one: memory stays bounded."""
    errors, seconds = [], 0.0
    for one in test:
        began = time.perf_counter()
        path = forecast(one)[0]
        seconds += time.perf_counter() - began
        errors.append(trajectory_error(path, one.values[0]))
    bad = int(np.isinf(errors).sum())
    status = f"{bad} of {len(test)} forecasts are not finite" if bad else "ok"
    return Outcome(np.array(errors), predict_seconds=seconds, status=status, **known)


def _with_spread(outcome: Outcome, fit: pyro_msde.Fit, test: Trajectories) -> Outcome:
    """With coverage and CRPS at about fifty times."""
    covered, crps = [], []
    for one in test:
        every = max(1, (len(one.times[0]) - 1) // _SCORED)
        truth = one.thinned(every)
        fc = fit.forecast(one, truth.times[0])
        finite = bool(fc.mean.isfinite().all())
        covered.append(float(np.mean(pyro_msde.coverage(fc, truth))) if finite else 0.0)
        crps.append(float(np.mean(pyro_msde.crps(fc, truth))) if finite else np.inf)
    return replace(outcome, coverage_90=np.array(covered), crps=np.array(crps))
