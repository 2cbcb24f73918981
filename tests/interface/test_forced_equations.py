"""Equations with a known wind and a control: identified, given, in the user's units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pyro_msde
from pyro_msde import Trajectories
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale

POINTS, STEPS, DT, NU = 96, 60, 0.01, 0.003
X = np.arange(POINTS) / POINTS
WIND = 0.5 + 0.3 * np.sin(2 * np.pi * X)
K = 2 * np.pi * np.fft.rfftfreq(POINTS, 1 / POINTS)
KEPT = np.arange(len(K)) <= POINTS // 3
SUBSTEPS = 20


def slope(u: Any, control: float) -> Any:
    """−(wind u)_x + ν u_xx + control, pseudo-spectral."""
    spectrum = -1j * K * KEPT * np.fft.rfft(WIND * u) - NU * K**2 * np.fft.rfft(u)
    return np.fft.irfft(spectrum, POINTS) + control


def carried(count: int, seed: int, *, time: float = 1.0) -> Trajectories:
    """Tracers that a wind carries and an oscillating source feeds, by fourth-order Runge–Kutta."""
    rng = np.random.default_rng(seed)
    times, fields, controls = DT * np.arange(STEPS + 1), [], []
    for _ in range(count):
        phase, rate = rng.uniform(0, 6), rng.uniform(1, 3)

        def control(t: Any, phase: float = phase, rate: float = rate) -> Any:
            return 2 * np.sin(2 * np.pi * rate * t + phase)

        waves = [rng.normal(0, 0.5) * np.cos(2 * np.pi * (k * X + rng.uniform())) for k in (1, 2)]
        path, h = [np.sum(waves, 0)], DT / SUBSTEPS
        for start in times[:-1]:
            u = path[-1]
            for n in range(SUBSTEPS):
                t = start + n * h
                a = slope(u, control(t))
                b = slope(u + h / 2 * a, control(t + h / 2))
                c = slope(u + h / 2 * b, control(t + h / 2))
                d = slope(u + h * c, control(t + h))
                u = u + h / 6 * (a + 2 * b + 2 * c + d)
            path.append(u)
        fields.append(np.stack(path) + 5e-3 * rng.standard_normal((STEPS + 1, POINTS)))
        controls.append(control(times)[:, None])
    return Trajectories(
        time * times,
        np.stack(fields),
        dims=("x",),
        coords={"x": X},
        static=WIND[None],
        controls=controls,
    )


def fitted(train: Trajectories, validation: Trajectories, **options: Any) -> Any:
    """A fit of one step."""
    model = multiscale.like(train, coarse=48, boundary="periodic", **options)
    return pyro_msde.fit(
        model, AmortizedGP(model), train, validation=validation, steps=1, progress=False
    )


@pytest.mark.parametrize("time", [1.0, 100.0])
def test_the_wind_and_the_source_are_identified(time: float) -> None:
    """Coefficients within a hundredth, no other term, in whatever units of time."""
    fit = fitted(carried(6, 0, time=time), carried(2, 1, time=time))
    found = fit.equation.coefficients["u"]
    expected = {"u_xx": NU / time, "control_0": 1 / time, "(static_0*u)_x": -1 / time}
    assert found == pytest.approx(expected, rel=0.01)
    fresh = carried(2, 2, time=time)
    fc = fit.forecast(fresh, num_samples=16)
    assert float(np.mean(pyro_msde.nrmse(fc, fresh))) < 0.04


def test_a_given_equation_has_them_and_is_loaded(tmp_path: Any) -> None:
    """By their short names in text; forecasts of the loaded fit are the same."""
    text = "u_t = -(s1*u)_x + 0.003*u_xx + c1"
    fit = fitted(carried(3, 0), carried(1, 1), equation=text)
    fit.save(tmp_path / "run")
    loaded = pyro_msde.load(tmp_path / "run")
    fresh = carried(1, 2)
    one, other = (f.forecast(fresh, num_samples=4, seed=1) for f in (fit, loaded))
    assert (one.paths == other.paths).all()
    assert float(np.mean(pyro_msde.nrmse(one, fresh))) < 0.04


def test_evidence_knows_of_them() -> None:
    """Its closed form finds the truth within five standard deviations."""
    train = carried(6, 0)
    evidence = fitted(train, carried(2, 1)).equation_evidence(train)
    posterior = evidence.posterior(10.0)
    truth = {"u_xx": NU, "control_0": 1.0, "(static_0*u)_x": -1.0}
    sd = np.sqrt(np.diag(posterior.covariance))
    for term, mean, error in zip(evidence.terms, posterior.mean, sd, strict=True):
        assert abs(mean - truth[term]) < 5 * error + 1e-3 * abs(truth[term])


def test_static_fields_in_text_are_refused_where_there_are_none() -> None:
    """With the names that there are; two in a term are refused."""
    train = carried(2, 0)
    with pytest.raises(ValueError, match="s2 is no field"):
        fitted(train, train, equation="u_t = (s2*u)_x")
    with pytest.raises(ValueError, match="two static fields in one term"):
        fitted(train, train, equation="u_t = (s1*s1*u)_x")
