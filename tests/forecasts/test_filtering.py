"""Forecasts from several snapshots, against the Kalman filter of a linear SDE."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from linear_fits import HORIZON, SCALE, LinearFit, linear_fit
from numpy.testing import assert_allclose
from oracles.kalman import LinearSystem
from oracles.tolerance import standard_errors
from problems import NUM_COARSE, NUM_POINTS, tiny_data, tiny_fields, tiny_model, tiny_pair

from pyro_msde import Ensemble, Fit, Trajectories, fit, nrmse
from pyro_msde.data import Metadata, Scaling
from pyro_msde.forecasts.filtering import corrected, shrunk_covariance
from pyro_msde.guides import AmortizedGP
from pyro_msde.priors import bayesian, fan_in_normal
from pyro_msde.scores import Calibration

PAST = np.array([0.0, 0.05, 0.08, 0.2])  # the past counts, as C adds little in between
FEW = {"num_samples": 10, "max_step": 0.1}


def with_gaps(result: Fit) -> Fit:
    return replace(result, metadata=Metadata("u", None, {}, {}, None, (), "mask"))


def posterior(m, P, H, R, y):
    """Mean and covariance of z ~ N(m, P) given y = H z + N(0, R), by the gain."""
    S = H @ P @ H.T + R
    gain = np.linalg.solve(S, H @ P).T
    return m + gain @ (y - H @ m), P - gain @ S @ gain.T


def kalman(linear: LinearFit, times, values, seen):
    """Moments of z at the last time, from an encoding of the first snapshot with its noise."""
    system = LinearSystem(-np.eye(NUM_COARSE), np.diag(linear.C), linear.H, None, None, None)
    y = values / SCALE
    m = linear.E @ y[0]
    P = np.diag(linear.node_var) + linear.E @ np.diag(linear.var) @ linear.E.T
    for i in range(1, len(times)):
        phi, noise = system.transition((times[i] - times[i - 1]) / HORIZON)
        m, P = phi @ m, phi @ P @ phi.T + noise
        at = seen[i]
        m, P = posterior(m, P, linear.H[at], np.diag(linear.var[at]), y[i][at])
    return m, P


def observed(linear: LinearFit, times, rng):
    """A snapshot of one path at each time, in the user's units."""
    system = LinearSystem(
        -np.eye(NUM_COARSE),
        np.diag(linear.C),
        linear.H,
        np.diag(linear.var),
        np.zeros(NUM_COARSE),
        np.diag(linear.C / 2),
    )
    return SCALE * system.simulate(times / HORIZON, rng)


GAPS = {
    "none": lambda shape, rng: np.ones(shape, dtype=bool),
    "random": lambda shape, rng: np.r_[
        np.ones((1, shape[1]), dtype=bool), rng.uniform(size=(shape[0] - 1, shape[1])) > 0.3
    ],
    "seen earlier": lambda shape, rng: np.r_[
        np.ones((shape[0] - 1, shape[1]), dtype=bool), np.arange(shape[1])[None] >= 12
    ],
    "last whole": lambda shape, rng: np.arange(shape[0])[:, None] < shape[0] - 1,
}


@pytest.mark.parametrize("gaps", GAPS)
def test_the_start_is_the_kalman_filters(gaps):
    """Moments of 4000 paths; false alarms 2e-5 for each kind of gap.

    Gains are of the ensemble's own covariance, whose error adds one standard error at most, and
    midpoint steps of .03 horizons err by 1e-4 of the decay.
    """
    linear, rng, count = linear_fit(), np.random.default_rng(8), 4000
    values = observed(linear, PAST, rng)
    seen = np.broadcast_to(GAPS[gaps](values.shape, rng), values.shape)
    fc = with_gaps(linear.fit).predict(
        np.where(seen, values, np.nan),
        PAST[-1:],
        times0=PAST,
        num_samples=count,
        max_step=0.03 * HORIZON,
    )
    z = fc.paths[0, :, 0, 0].numpy()
    m, P = kalman(linear, PAST, values, seen)
    sd = np.sqrt(np.diag(P))
    allowed = 2 * standard_errors(2 * NUM_COARSE)
    assert np.abs((z.mean(0) - m) / sd).max() < allowed / count**0.5
    assert np.abs(z.var(0, ddof=1) / sd**2 - 1).max() < allowed * (2 / count) ** 0.5
    if gaps == "seen earlier":  # and one snapshot would know less
        alone = posterior(
            np.zeros(NUM_COARSE), np.diag(linear.C / 2), linear.H[12:], np.diag(linear.var[12:]),
            values[-1, 12:] / SCALE,
        )[1]  # fmt: skip
        assert (np.diag(P) < np.diag(alone)).all()


class LeastSquares(AmortizedGP):
    """An encoder without bias: z ↦ the best fit of H z to the snapshot."""

    def encoder_mean(self, values, bound, covariates=None):
        return values[..., 0, :] @ self.inverse.mT


def test_as_few_paths_as_usual_are_calibrated():
    """Sixty-four paths, 300 series: error and variance of the start; false alarms 2e-5.

    The exact filter has E e² = P. In an ensemble of 64 with n = 5 states the gain's own error adds
    up to n/N = 8 %, and the variance may lack as much.
    """
    linear, rng, rows = linear_fit(), np.random.default_rng(3), 300
    C, H, var = linear.C, linear.H, linear.var
    guide = LeastSquares(linear.fit.model).double()
    inverse = np.linalg.solve((H.T / var) @ H, H.T / var)
    guide.inverse = torch.from_numpy(inverse)
    unbiased = linear._replace(E=inverse, node_var=guide.node_variance().detach().numpy())
    phi_of = LinearSystem(-np.eye(NUM_COARSE), np.diag(C), H, None, None, None).transition
    z, values = rng.standard_normal((rows, NUM_COARSE)) * np.sqrt(C / 2), []
    for i, t in enumerate(PAST):
        if i:
            phi, noise = phi_of((t - PAST[i - 1]) / HORIZON)
            z = z @ phi.T + rng.multivariate_normal(np.zeros(NUM_COARSE), noise, rows)
        noise = rng.standard_normal((rows, NUM_POINTS)) * np.sqrt(var)
        values.append(SCALE * (z @ H.T + noise))
    series = np.stack(values, 1)
    fc = replace(linear.fit, guide=guide).predict(
        series, PAST[-1:], times0=PAST, num_samples=64, max_step=0.03 * HORIZON
    )
    paths = fc.paths[0, :, :, 0].numpy()
    error = np.square(paths.mean(0) - z).mean(0)
    exact = np.diag(kalman(unbiased, PAST, series[0], np.ones(series[0].shape, bool))[1])
    assert_allclose(paths.var(0, ddof=1).mean(0), exact, rtol=0.08)
    slack = standard_errors(NUM_COARSE) * (2 / rows) ** 0.5
    assert (np.abs(error / exact - 1) < slack + 0.08).all()
    alone = var @ inverse.T**2  # what the last snapshot says by itself
    assert (exact < 0.75 * alone).all()


def test_members_are_moved_to_the_posterior_exactly():
    """An ensemble with the moments that it is said to have gets those of the gain's formula."""
    rng = np.random.default_rng(2)
    n, count, points = 4, 9, 7
    m, root = rng.standard_normal(n), rng.standard_normal((n, n))
    P, H = root @ root.T, rng.standard_normal((points, n))
    R, y = np.diag(rng.uniform(0.3, 2, points)), rng.standard_normal(points)
    unit = rng.standard_normal((count, n))
    unit = np.linalg.qr(unit - unit.mean(0))[0] * (count - 1) ** 0.5
    states = m + unit @ np.linalg.cholesky(P).T
    b, J = H.T @ np.linalg.solve(R, y - H @ m), H.T @ np.linalg.solve(R, H)
    moved = corrected(*map(torch.from_numpy, (states, m, P, b, J))).numpy()
    mean, cov = posterior(m, P, H, R, y)
    assert_allclose(moved.mean(0), mean, rtol=1e-6, atol=1e-7)  # the jitter is 1e-9
    assert_allclose(np.cov(moved.T), cov, rtol=1e-5, atol=1e-7)


def test_what_does_not_vary_and_what_was_not_seen_stays():
    states = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).double()
    states[:, 1] = 2.0
    cov = shrunk_covariance(states[:, None])[0]
    moved = corrected(
        states, states.mean(0), cov, torch.zeros(3).double(), torch.zeros(3, 3).double()
    )
    assert_allclose(moved, states, rtol=1e-6, atol=1e-8)
    J = torch.diag(torch.tensor([1.0, 1.0, 0.0]).double())
    moved = corrected(states, states.mean(0), cov, torch.ones(3).double(), J)
    assert_allclose(moved[:, 1], states[:, 1], atol=1e-8)


def test_correlations_are_shrunk_by_their_uncertainty():
    """λ = Σ Var(r_ij) / Σ r_ij², each sum in loops; λ → 0 where correlations are certain."""
    rng = np.random.default_rng(1)
    mixed = rng.standard_normal((3, 3)) + np.eye(3)
    for count, most in ((12, 1.0), (40_000, 0.01)):
        x = rng.standard_normal((count, 3)) @ mixed.T
        cov = shrunk_covariance(torch.from_numpy(x)[:, None])[0].numpy()
        u = (x - x.mean(0)) / x.std(0, ddof=1)
        top = bottom = 0.0
        for i in range(3):
            for j in range(3):
                if i != j:
                    w = u[:, i] * u[:, j]
                    top += w.var() / (count - 1)
                    bottom += w.mean() ** 2
        share = min(1, top / bottom)
        assert share < most
        expected = np.cov(x.T) * (1 - share + share * np.eye(3))
        assert_allclose(cov, expected, rtol=1e-10)


def test_a_start_of_less_spread_is_that_of_the_filter_drawn_together():
    """Not one that the filter itself starts from: what snapshots say is worth as much as before."""
    linear, rng = linear_fit(), np.random.default_rng(5)
    y = observed(linear, PAST, rng)
    states = [
        linear.fit.adjusted(Calibration(1.0, start=start))
        .predict(y, PAST[-1:], times0=PAST, num_samples=400, max_step=0.1)
        .paths[0, :, 0, 0]
        for start in (1.0, 0.5, 0.0)
    ]
    mean = states[0].mean(0)
    for start, found in zip((0.5, 0.0), states[1:], strict=True):
        assert_allclose(found, mean + start * (states[0] - mean), rtol=1e-9, atol=1e-12)


# layouts, times, other guides


@pytest.fixture(scope="module")
def result():
    return fit(*tiny_pair(2), tiny_data(), steps=3, length=5, stride=1, progress=False)


@pytest.fixture(scope="module")
def series():
    return np.stack([v[:4] for v in tiny_data(seed=3).values])


def test_one_snapshot_in_a_row_is_that_snapshot(result, series):
    fc = result.predict(series[:, :1], [0.4, 0.5], times0=[0.3], **FEW)
    assert torch.equal(fc.paths, result.predict(series[:, 0], [0.4, 0.5], t0=0.3, **FEW).paths)


def test_one_series_is_a_batch_of_one(result, series):
    one = result.predict(series[1], [1.0, 1.1], times0=PAST, **FEW)
    batch = result.predict(series[1:2], [1.0, 1.1], times0=PAST, **FEW)
    assert one.mean.shape == (2, NUM_POINTS)
    assert torch.equal(one.mean, batch.mean[0])


def test_rows_of_times_are_counted_from_the_last(result, series):
    rows = 5.0 + PAST + np.arange(3)[:, None]
    fc = result.predict(series, [0.0, 0.1], times0=rows, **FEW)
    assert_allclose(fc.starts, rows[:, -1])
    same = result.predict(series, PAST[-1] + np.array([0, 0.1]), times0=PAST, **FEW)
    assert_allclose(fc.paths, same.paths, rtol=1e-3, atol=1e-4)  # float32, other roundings of times


@pytest.mark.parametrize("shifted", [False, True])
def test_trajectories_give_their_first_snapshots_and_are_scored_on_the_rest(result, shifted):
    data = tiny_data(sizes=(9, 9, 9), seed=3)
    shift = np.arange(3) if shifted else np.zeros(3)
    data = Trajectories([t + s for t, s in zip(data.times, shift, strict=True)], data.values)
    fc = result.forecast(data, history=4, **FEW)
    past = np.stack([t[:4] for t in data.times])
    y0, times = np.stack([v[:4] for v in data.values]), data.times[0][3:]
    same = result.predict(
        y0,
        times - times[0] if shifted else times,
        times0=past if shifted else past[0],
        **FEW,
    )
    assert torch.equal(fc.paths, same.paths)
    rest = data.snapshots([slice(3, None)] * 3)
    assert_allclose(fc.valid_times, np.stack(rest.times) if shifted else rest.times[0])
    assert_allclose(nrmse(fc, data), nrmse(fc, rest), rtol=0)
    assert nrmse(fc, data).shape == (3,)


def test_equal_ends_of_unequal_histories_are_taken(result, series):
    data = Trajectories(
        [np.r_[PAST[:-1] - k * 0.01, 0.2, 0.3] for k in range(3)],
        [v[:5] for v in tiny_data(seed=3).values],
    )
    fc = result.forecast(data, history=4, **FEW)
    assert_allclose(fc.times, [0, 0.1], atol=1e-12)
    assert_allclose(fc.starts, 0.2)


def test_dates_are_times_of_snapshots():
    days = np.datetime64("1999-12-30") + np.arange(12) * np.timedelta64(1, "D")
    values = tiny_fields(0.1 * np.arange(12), np.random.default_rng(4))
    data = Trajectories([days], values[None], units={"time": "days since 2000-01-01"})
    plain = Fit(*tiny_pair(0), Scaling((1.7,), 30.0), metadata=Metadata.of(data))
    fc = plain.predict(values[:3], days[2:5], times0=days[:3], num_samples=10, max_step=1.0)
    assert_allclose(fc.times, [0, 1, 2])


def test_draws_of_theta_and_pooled_fits_are_one_ensemble(series):
    models = [tiny_model(2, seed=seed) for seed in (3, 4)]
    fits = []
    for model in models:
        bayesian(model.drift, fan_in_normal(1.0))
        fits.append(Fit(model, AmortizedGP(model), Scaling((1.7,), 3.0)))
    fc = Ensemble(fits).predict(
        series, [0.9], times0=PAST, num_samples=32, num_theta=4, max_step=0.1
    )
    assert fc.paths.shape[:3] == (8, 4, 3)
    assert fc.mean.isfinite().all()
    again = fits[0].predict(series, [0.9], times0=PAST, num_samples=16, num_theta=4, max_step=0.1)
    assert torch.equal(fc.paths[:4], again.paths)


def test_random_state_is_left_alone(result, series):
    before = torch.get_rng_state()
    ask = {"times0": PAST, **FEW}
    first, second = (result.predict(series, [0.9], seed=s, **ask).paths for s in (1, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, result.predict(series, [0.9], seed=2, **ask).paths)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("y0", "times", "options", "message"),
    [
        ("series", [0.9], {"times0": PAST[:3]}, r"y0: shape \(3, 4, 30\); with 3 times0"),
        ("series", [0.9], {"times0": PAST[::-1]}, "times0: not increasing"),
        ("series", [0.9], {"times0": [0, 1, 2, np.nan]}, "times0: shape"),
        ("series", [0.1], {"times0": PAST}, "times: begin at 0.1, before t0=0.2"),
        ("series", [0.9], {"times0": PAST, "t0": 0.2}, "t0: the last of times0"),
        ("series", [0.9], {"times0": PAST, "num_samples": 3}, "num_samples: 3 paths are too few"),
        ("series", [0.9], {"times0": np.tile(PAST, (2, 1))}, "times0: 2 times, but y0 is 3"),
        ("gappy", [0.9], {"times0": PAST}, "y0: holds NaN"),
    ],
)
def test_what_cannot_be_started_from_is_named(result, series, y0, times, options, message):
    given = series.copy()
    if y0 == "gappy":
        given[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match=message):
        result.predict(given, times, **FEW | options)


def test_the_first_snapshot_shows_something_and_there_are_enough(result, series):
    given = series.copy()
    given[1, 0] = np.nan
    with pytest.raises(ValueError, match="nothing was observed of one of the fields"):
        with_gaps(result).predict(given, [0.9], times0=PAST, **FEW)
    with pytest.raises(ValueError, match="history=20: a trajectory has 17 snapshots"):
        result.forecast(tiny_data(), history=20)
