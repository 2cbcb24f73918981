"""What our model is compared with, by name: each fits, forecasts the test trajectories, and scores.

`dns-coarse`, `oracle`, `dmd`, `analogue` and `pc-regression` choose between variants, the last by
leaving one out, the others on validation trajectories; `Outcome.choice` says what was chosen. Where
the parts are of one trajectory cut in time, look-ups and regression see windows of what is to train
on that are as long as the test, and "mean" is over the last period; "period" is for such data only.
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
from benchmarks import (
    analogues,
    coarse_cylinder,
    coarse_dns,
    conformal,
    dmd,
    fno,
    oracle,
    pde_find,
)
from benchmarks.errors import noise_floor, trajectory_error
from benchmarks.solids import is_finite, without_solids
from pyro_msde import Trajectories, baselines
from pyro_msde.datasets.problem import Problem, Splits
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import cylinder, pod_sde

__all__ = ["OPPONENTS", "Case", "Outcome"]

Array = NDArray[Any]

RANKS = (2, 4, 8, 16, 24, 32, 64)  # among which DMD's is chosen
_WINDOWS = 10  # begin within the length of one, where a trajectory is cut into windows
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
    if case.problem.name == "cylinder":
        inflow = np.array([1.0, 0.0])[:, None, None]
        grid = cylinder(0, n_coarse=case.coarse[1]).grid
        found = oracle.projections_on(grid, inflow)
    else:
        periodic = coarse_dns.SOLVERS[case.problem.name].periodic
        found = oracle.projections(data.train, case.coarse, periodic)

    def errors(name: str, part: Trajectories) -> Array:
        return np.array([trajectory_error(found[name](y), y) for y in part.values])

    best = min(found, key=lambda name: float(errors(name, data.validation).mean()))
    return Outcome(errors(best, data.test), time.perf_counter() - began, choice=best)


def _dns(case: Case, split: str, data: Splits, seed: int, steps: int) -> Outcome:
    if case.problem.name == "cylinder":
        return _dns_of_cylinder(data)
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


def _dns_of_cylinder(data: Splits) -> Outcome:
    began = time.perf_counter()
    name, errors = coarse_cylinder.choose(data.validation)
    shown = "; ".join(f"{n} {100 * e:.3g} % on validation" for n, e in errors.items())
    return _scored(
        data.test,
        lambda one: coarse_cylinder.forecast(one, name)[None],
        train_seconds=time.perf_counter() - began,
        choice=f"{name} ({shown})",
    )


def _dmd(case: Case, split: str, data: Splits, seed: int, steps: int) -> Outcome:
    began = time.perf_counter()
    data = Splits(*map(without_solids, data))
    models: dict[str, Any] = dict(dmd.candidates(data.train, RANKS))
    if split in case.problem.cuts:
        late = data.train.after(data.train.times[0][len(data.train.times[0]) // 2])
        found = dmd.candidates(late, RANKS)
        models |= {f"{name}, of the later half": model for name, model in found.items()}
    if data.train.covariates is not None:
        wanted = np.concatenate([_covariates(data.validation), _covariates(data.test)])
        models |= dmd.nearest_candidates(data.train, RANKS, wanted)
    name, _ = dmd.choose(models, data.validation)
    seconds = time.perf_counter() - began
    return _scored(
        data.test,
        lambda one: models[name].forecast(_y0(one)[0], one.times[0], _row(one))[None],
        train_seconds=seconds,
        choice=name,
    )


def _persistence(case: Case, split: str, data: Splits, seed: int, steps: int) -> Outcome:
    return _scored(data.test, lambda one: baselines.persistence(_y0(one), len(one.times[0])))


def _mean(case: Case, split: str, data: Splits, seed: int, steps: int) -> Outcome:
    train = without_solids(data.train)
    if split in case.problem.cuts:
        period = analogues.period_in(train.values[0])
        mean = train.values[0][-period:].mean(0, dtype=np.float64)[None]
        return _scored(
            data.test,
            lambda one: baselines.persistence(mean, len(one.times[0])),
            choice=f"of the last {period} snapshots",
        )
    return _scored(
        data.test, lambda one: baselines.mean_trajectory(train, _y0(one), len(one.times[0]))
    )


def _nearest(case: Case, split: str, data: Splits, seed: int, steps: int) -> Outcome:
    train = _to_look_up(case, split, data)
    return _scored(
        data.test,
        lambda one: baselines.nearest_trajectory(
            train, _y0(one), len(one.times[0]), covariates=one.covariates
        ),
    )


def _period(case: Case, split: str, data: Splits, seed: int, steps: int) -> Outcome:
    if split not in case.problem.cuts:
        return _failed(data, "no earlier snapshots of test trajectories to train on")
    (values,), (times,) = without_solids(data.train).values, data.train.times

    def forecast(one: Trajectories) -> Array:
        first = round((one.times[0][0] - times[0]) / (times[1] - times[0]))
        return analogues.followed(values, first, len(one.times[0]))[None]

    return _scored(data.test, forecast, choice=f"{analogues.period_in(values)} snapshots")


def _analogue(case: Case, split: str, data: Splits, seed: int, steps: int) -> Outcome:
    began = time.perf_counter()
    train = without_solids(data.train)

    def forecast(one: Trajectories, name: str) -> Array:
        rows, own = np.arange(len(train)), _row(one)
        if name == "nearest covariates" and train.covariates is not None and own is not None:
            rows = rows[[dmd.nearest(train.covariates, own)]]
        k, first = analogues.nearest_snapshot(train, _y0(one)[0], rows)
        return analogues.followed(train.values[k], first, len(one.times[0]))[None]

    def error(name: str) -> float:
        return float(_scored(data.validation, lambda one: forecast(one, name)).errors.mean())

    names = ["all trajectories"] + ["nearest covariates"] * (train.covariates is not None)
    best = min(names, key=error) if len(names) > 1 else names[0]
    seconds = time.perf_counter() - began
    return _scored(
        data.test, lambda one: forecast(one, best), train_seconds=seconds, choice=f"among {best}"
    )


def _regression(case: Case, split: str, data: Splits, seed: int, steps: int) -> Outcome:
    began = time.perf_counter()
    train = _to_look_up(case, split, data)
    components, degree = baselines.choose_regression(train)
    seconds = time.perf_counter() - began
    return _scored(
        data.test,
        lambda one: baselines.principal_regression(
            train,
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
            return _failed(data, str(error), choice=f"rank {rank}", steps=error.step)
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
    model = pod_sde(data.train, rank, start=start, reference=None, seed=seed)
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


_ORDERS = {"kdv": 4, "burgers1d": 2, "ks": 4}  # of derivatives that PDE-FIND may find
_OPERATORS = {
    "kdv": fno.Sizes(250, True, (25, 50), width=32, modes=48, batch=16),
    "burgers1d": fno.Sizes(500, True, (25, 50), width=32, modes=64, batch=16),
    "burgers2d": fno.Sizes(64, False, (25, 50), width=20, modes=16, batch=4),
    "ks": fno.Sizes(128, True, (2, 4), width=32, modes=24, batch=16),
}
_FNO_SECONDS = 600.0
_LEADS = 100


def _pde_find(case: Case, split: str, data: Splits, seed: int, steps: int) -> Outcome:
    name = case.problem.name
    if name not in _ORDERS:
        return _failed(data, "for one channel on a ring")
    began = time.perf_counter()
    validation, test = _at_leads(data.validation, data.test)
    found = pde_find.best_equation(data.train, validation, _ORDERS[name])
    seconds = time.perf_counter() - began
    choice = f"{found}, waves up to {found.limit:.2g} of the grid's"
    return _with_conformal(found.forecast, validation, test, train_seconds=seconds, choice=choice)


def _fno(case: Case, split: str, data: Splits, seed: int, steps: int) -> Outcome:
    name = case.problem.name
    if name not in _OPERATORS:
        return _failed(data, "for one channel on a square or a ring")
    began = time.perf_counter()
    validation, test = _at_leads(data.validation, data.test)
    found, choice = fno.trained(data.train, validation, _OPERATORS[name], _FNO_SECONDS, seed)
    seconds = time.perf_counter() - began
    return _with_conformal(found.forecast, validation, test, train_seconds=seconds, choice=choice)


def _at_leads(*parts: Trajectories) -> list[Trajectories]:
    """At about a hundred times, from the first."""
    return [part.thinned(max(1, (len(part.times[0]) - 1) // _LEADS)) for part in parts]


def _with_conformal(
    forecast: Callable[[Trajectories], Array],
    validation: Trajectories,
    test: Trajectories,
    **known: Any,
) -> Outcome:
    outcome = _scored(test, lambda one: forecast(one)[None], **known)
    if outcome.status != "ok":
        return outcome
    quantiles = conformal.error_quantiles(forecast, validation)
    pairs = [(forecast(one), one.values[0]) for one in test]
    return replace(
        outcome,
        coverage_90=np.array([conformal.coverage(path, quantiles, y) for path, y in pairs]),
        crps=np.array([conformal.crps(path, quantiles, y) for path, y in pairs]),
    )


OPPONENTS: dict[str, Opponent] = {
    "noise-floor": _noise_floor,
    "oracle": _oracle,
    "persistence": _persistence,
    "mean": _mean,
    "nearest": _nearest,
    "period": _period,
    "analogue": _analogue,
    "pc-regression": _regression,
    "dns-coarse": _dns,
    "dmd": _dmd,
    "pde-find": _pde_find,
    "fno": _fno,
    "pod-sde": _pod_sde(extra=False),
    "pod-sde-eta": _pod_sde(extra=True),
}


def _recipe(train: Trajectories, *, started: bool) -> pyro_msde.Recipe:
    """The default, with a stride that short trajectories allow; β is one at once after a start."""
    default = pyro_msde.Recipe()
    shortest = min(len(t) for t in train.times)
    stride = max(1, min(default.stride, (shortest - 1) // (default.length - 1)))
    return replace(default, stride=stride, anneal=0 if started else default.anneal)


def _to_look_up(case: Case, split: str, data: Splits) -> Trajectories:
    """Training trajectories, or windows of one as long as the test."""
    train = without_solids(data.train)
    if split not in case.problem.cuts:
        return train
    length = max(map(len, data.test.times))
    return train.cut(length, every=max(1, length // _WINDOWS))


def _y0(one: Trajectories) -> Array:
    """(1, *field), zero within solids."""
    return np.nan_to_num(one.values[0][:1], nan=0.0)


def _row(one: Trajectories) -> Array | None:
    """(p,) covariates of a trajectory."""
    return None if one.covariates is None else one.covariates[0]


def _covariates(data: Trajectories) -> Array:
    """(trajectory, p)."""
    return np.zeros((len(data), 0)) if data.covariates is None else data.covariates


def _failed(data: Splits, status: str, **known: Any) -> Outcome:
    """No forecasts."""
    return Outcome(np.full(len(data.test), np.inf), status=status, **known)


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
        finite = is_finite(fc)
        covered.append(float(np.mean(pyro_msde.coverage(fc, truth))) if finite else 0.0)
        crps.append(float(np.mean(pyro_msde.crps(fc, truth))) if finite else np.inf)
    return replace(outcome, coverage_90=np.array(covered), crps=np.array(crps))
