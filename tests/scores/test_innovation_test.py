"""Innovations against a Kalman filter of the whole field; the test's size and power."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from oracles.kalman import LinearSystem, Smoother
from oracles.tolerance import standard_errors
from torch import nn

from pyro_msde import Trajectories
from pyro_msde.data import Reference, Scaling
from pyro_msde.datasets import gle as data
from pyro_msde.interface import Fit
from pyro_msde.models.gle import gle
from pyro_msde.scores.innovation_test import (
    innovations,
    kalman_innovations,
    linear_model,
    ljung_box,
)

TIMES = np.array([0.0, 0.3, 0.4, 1.1, 1.5, 2.4, 2.5])


def filtered_innovations(system, times, observed, num_tested):
    """Of the field's least-squares reading of the state, from the oracle's filter of the field."""
    smoother = Smoother(system, times, observed)
    weighted = np.linalg.solve(system.R, system.H).T
    noise = np.linalg.inv(weighted @ system.H)
    found = []
    for i in range(1, len(times)):
        phi, Q = system.transition(times[i] - times[i - 1])
        mean, cov = smoother.filtered[i - 1]
        e = noise @ weighted @ observed[i] - phi @ mean
        total = (phi @ cov @ phi.T + Q + noise)[:num_tested, :num_tested]
        found.append(np.linalg.solve(np.linalg.cholesky(total), e[:num_tested]))
    return np.array(found), noise, observed @ weighted.T @ noise


def test_agree_with_a_filter_of_the_whole_field():
    rng = np.random.default_rng(1)
    system = LinearSystem(
        A=rng.standard_normal((3, 3)) - np.eye(3),
        C=np.diag(rng.uniform(0.1, 1, 3)),
        H=rng.standard_normal((5, 3)),
        R=np.diag(rng.uniform(0.05, 0.3, 5)),
        m0=np.zeros(3),
        P0=np.diag(rng.uniform(0.5, 1.5, 3)),
    )
    observed = system.simulate(TIMES, rng)
    expected, noise, readings = filtered_innovations(system, TIMES, observed, 2)
    found = kalman_innovations(
        system.A, system.C, noise, readings, TIMES, np.diag(system.P0), num_tested=2
    )
    assert found.shape == (6, 2)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)  # rounding


def exact_fit(scale=0.7, horizon=5.0):
    """A `Fit` whose model is the data's own, in other units."""
    model, noise_var = gle(2).double(), data.GLE.noise_sd**2
    modes = torch.as_tensor(data.modes(data.points()))
    with torch.no_grad():
        A = torch.as_tensor(data.DRIFT) * horizon
        model.drift.net.macro.weight.copy_(A[:1])
        model.drift.net.micro.weight.copy_(A[1:, [1, 2, 0]])  # takes (η, ζ)
        C = torch.tensor(data.DIFFUSION.diagonal().copy()) * horizon / scale**2
        model.diffusion.net.log_value.copy_(torch.log(C + 1e-10))
        # experts of variances v and 3 v: the product has ¾ v, and a quarter of the detail counts
        model.var_zeta.net.log_value.fill_(np.log(noise_var / 0.75 / scale**2))
        model.var_eta.net.log_value.fill_(np.log(noise_var / 0.25 / scale**2))
        model.decoder.net[0].weight.copy_(4 * modes[1:].T)
    return Fit(model, SimpleNamespace(theta=None), Scaling((scale,), horizon))


def test_of_a_fit_are_those_of_its_model_in_the_datas_units():
    trajectories = data.GLE.fresh("relaxation", 2, 3, 0.8)
    fit = exact_fit()
    found = innovations(fit, trajectories)
    modes = data.modes(data.points())
    system = LinearSystem(
        A=data.DRIFT,
        C=data.DIFFUSION,
        H=modes.T,
        R=np.eye(33) * data.GLE.noise_sd**2,
        m0=np.zeros(3),
        P0=np.eye(3) * (fit.model.initial_sd * 0.7) ** 2,
    )
    for t, y, e in zip(trajectories.times, trajectories.values, found, strict=True):
        expected = filtered_innovations(system, t, y.astype(float), 1)[0]
        assert e.shape == (8, 1)
        # the floor of 1e-10 under variances that are zero
        np.testing.assert_allclose(e, expected, rtol=1e-4, atol=1e-4)


def test_of_the_true_model_are_standard_white_noise():
    """6000 values; fails by chance at the rate of 1e-3 (the p-value) + 2e-5 (the variance)."""
    found = innovations(exact_fit(), data.GLE.fresh("stationary", 20, 6, 30.0))
    assert ljung_box(found).p_value > 1e-3
    count = sum(map(len, found))
    mean_square = np.mean(np.concatenate(found) ** 2)
    assert abs(mean_square - 1) < standard_errors(1) * np.sqrt(2 / count)


def test_ljung_box_of_one_series_is_the_textbook_formula():
    x = np.random.default_rng(2).standard_normal(61)
    lags = np.arange(1, 6)
    r = np.array([x[k:] @ x[:-k] for k in lags]) / (x @ x)
    expected = 61 * 63 * np.sum(r**2 / (61 - lags))
    assert ljung_box([x], num_lags=5).statistic == pytest.approx(expected, rel=1e-12)


def test_ljung_box_has_its_nominal_size_when_pooled():
    """700 data sets at level .05; fails by chance at the rate of 2e-5."""
    rng = np.random.default_rng(3)
    p = [
        ljung_box([rng.standard_normal((n, 2)) for n in (61, 83, 107)], num_lags=7).p_value
        for _ in range(700)
    ]
    error = np.sqrt(0.05 * 0.95 / 700)
    assert abs(np.mean(np.array(p) < 0.05) - 0.05) < standard_errors(1) * error


def test_ljung_box_finds_an_autoregression():
    rng = np.random.default_rng(4)
    x = rng.standard_normal((3, 2000))
    for k in range(1, 2000):
        x[:, k] += 0.3 * x[:, k - 1]
    result = ljung_box(list(x), num_lags=3)
    assert result.p_value < 1e-20
    # Bartlett's variance of the autocorrelations is at most (1 + φ²)/(1 − φ²) times the white one
    tolerance = standard_errors(3) * result.standard_error * np.sqrt(1.09 / 0.91)
    assert (np.abs(result.autocorrelation - [0.3, 0.09, 0.027]) < tolerance).all()


def test_what_is_not_linear_is_refused():
    trajectories = data.GLE.fresh("relaxation", 1, 3, 0.4)
    fit = exact_fit()
    fit.model.drift.net.macro = nn.Sequential(fit.model.drift.net.macro, nn.Tanh())
    with pytest.raises(ValueError, match="drift is not linear"):
        innovations(fit, trajectories)
    fit = exact_fit()
    fit.model.decoder.net[0] = nn.Linear(2, 33).double()  # with a bias
    with pytest.raises(ValueError, match="decoder is not linear"):
        innovations(fit, trajectories)


def test_microscale_states_that_look_alike_are_refused():
    fit = exact_fit()
    with torch.no_grad():
        weight = fit.model.decoder.net[0].weight
        weight[:, 1] = weight[:, 0]
    with pytest.raises(ValueError, match="tell all latent states apart"):
        innovations(fit, data.GLE.fresh("relaxation", 1, 3, 0.4))


def test_too_many_lags_are_refused():
    with pytest.raises(ValueError, match="num_lags: 20"):
        ljung_box([np.zeros(20)])


def test_of_data_with_gaps_are_those_of_the_rows_that_were_observed():
    """Against the same filter with other H and R at each time; a snapshot too few is left out."""
    whole = data.GLE.fresh("relaxation", 1, 3, 0.8)
    (times,), (y,) = whole.times, whole.values
    rng = np.random.default_rng(7)
    seen = rng.uniform(size=y.shape) > 0.4
    seen[3] = False
    seen[3, 5:7] = True  # two values, for three states
    gappy = Trajectories(times, np.where(seen, y, np.nan)[None], missing="mask")
    fit = exact_fit()
    (found,) = innovations(fit, gappy)
    assert found.shape == (8, 1)
    assert np.isnan(found[2]).all()
    system = linear_model(fit)
    kept = np.delete(np.arange(len(times)), 3)
    grams = [(system.decoder[s] / system.variance[s, None]).T @ system.decoder[s] for s in seen]
    noise = np.linalg.inv(np.array([grams[i] for i in kept]))
    readings = [
        np.linalg.lstsq(
            system.decoder[seen[i]] / np.sqrt(system.variance[seen[i], None]),
            y[i, seen[i]].astype(float) / 0.7 / np.sqrt(system.variance[seen[i]]),
            rcond=None,
        )[0]
        for i in kept
    ]
    expected = kalman_innovations(
        system.drift,
        system.diffusion,
        noise,
        np.array(readings),
        times[kept] / 5.0,
        np.full(3, fit.model.initial_sd**2),
        1,
    )
    np.testing.assert_allclose(np.delete(found, 2, 0), expected, rtol=1e-7, atol=1e-8)


def test_a_reference_is_taken_off_before_they_are_formed():
    trajectories = data.GLE.fresh("relaxation", 2, 3, 0.8)
    fit = exact_fit()
    r = 280 + np.random.default_rng(1).normal(size=(1, 1, 33))
    less = replace(fit, scaling=replace(fit.scaling, reference=Reference(r)))
    shifted = Trajectories(trajectories.times, [v + r[0] for v in trajectories.values])
    for found, expected in zip(
        innovations(less, shifted), innovations(fit, trajectories), strict=True
    ):
        # numbers about 280 have lost three of sixteen digits; readings divide noise of .1
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)


def test_pairs_with_missing_values_do_not_count_in_ljung_box():
    x = np.random.default_rng(2).standard_normal(61)
    x[[3, 17, 18, 40]] = np.nan
    seen, z = ~np.isnan(x), np.nan_to_num(x)
    count, lags = seen.sum(), np.arange(1, 6)
    pairs = np.array([(seen[k:] & seen[:-k]).sum() for k in lags])
    r = np.array([z[k:] @ z[:-k] for k in lags]) / pairs / (z @ z / count)
    found = ljung_box([x], num_lags=5)
    np.testing.assert_allclose(found.autocorrelation, r, rtol=1e-12)
    assert found.statistic == pytest.approx((count + 2) / count * np.sum(pairs * r**2), rel=1e-12)
    with pytest.raises(ValueError, match=r"num_lags: 2, but no two values are 1 apart"):
        ljung_box([np.where(np.arange(9) % 2, np.nan, 1.0)], num_lags=2)


def test_innovations_of_half_of_the_values_are_standard_white_noise():
    """3000 values or more; fails by chance at the rate of 1e-3 (the p-value) + 2e-5."""
    rng = np.random.default_rng(8)
    whole = data.GLE.fresh("stationary", 10, 6, 30.0)
    values = [np.where(rng.uniform(size=v.shape) < 0.5, v, np.nan) for v in whole.values]
    found = innovations(exact_fit(), Trajectories(whole.times, values, missing="mask"))
    assert ljung_box(found).p_value > 1e-3
    count = sum(map(len, found))
    mean_square = np.nanmean(np.concatenate(found) ** 2)
    assert abs(mean_square - 1) < standard_errors(1) * np.sqrt(2 / count)
