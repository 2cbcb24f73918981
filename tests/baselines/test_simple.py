"""Simple baselines against closed forms: linear systems, AR(1), cycles, normals."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from scipy import integrate
from scipy.linalg import fractional_matrix_power
from scipy.stats import norm

from pyro_msde import Trajectories, baselines
from pyro_msde.baselines.linear_inverse import powers
from pyro_msde.baselines.records import Records, following

STEP = 0.25
A = np.array([[0.9, 0.3, 0.0], [-0.3, 0.9, 0.0], [0.1, 0.0, 0.6]]) * 0.95


def data(times, values):
    """What baselines ask of trajectories; NaN may stand among the values."""
    return SimpleNamespace(times=tuple(times), values=tuple(values))


def linear_paths(starts: np.ndarray, n: int, matrix: np.ndarray = A) -> list[np.ndarray]:
    """x_{k+1} = A x_k, from each start and from its mirror image, so that the mean is zero."""
    paths = []
    for x0 in (*starts, *-starts):
        path = [x0]
        for _ in range(n - 1):
            path.append(matrix @ path[-1])
        paths.append(np.array(path))
    return paths


def modes(points: int, rng: np.random.Generator) -> np.ndarray:
    """(3, point) orthonormal."""
    return np.linalg.qr(rng.normal(size=(points, 3)))[0].T


def autoregression(rho, n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, point) stationary AR(1) of variance 1, about 7."""
    rho = np.asarray(rho, dtype=float)
    y = [rng.normal(size=rho.shape)]
    for _ in range(n - 1):
        y.append(rho * y[-1] + np.sqrt(1 - rho**2) * rng.normal(size=rho.shape))
    return 7 + np.array(y)


def test_the_linear_inverse_model_recovers_a_linear_system():
    rng = np.random.default_rng(0)
    E = modes(7, rng)
    paths = linear_paths(rng.normal(size=(4, 3)), 21)
    times = [STEP * np.arange(21)] * len(paths)
    train = data(times, [p @ E for p in paths])
    fitted = baselines.LinearInverseModel().fit(train, train)
    assert fitted.choice == "3 components, ridge 0"
    law = fitted.law
    basis = law.states.modes[:3] @ E.T  # principal components in coordinates of x, orthonormal
    np.testing.assert_allclose(basis.T @ law.A @ basis, A, atol=1e-7)  # normal equations' rounding
    x = rng.normal(size=(2, 3))
    steps = np.array([0.0, 1.0, 2.0, 5.0, 9.0, 0.4, 3.7])
    fc = fitted.forecast(x @ E, STEP * steps)
    for k, s in enumerate(steps):
        expected = x @ fractional_matrix_power(A, s).real.T @ E
        np.testing.assert_allclose(fc.mean[:, k], expected, atol=1e-6)


def test_powers_are_those_of_scipy_and_of_the_real_part_where_no_real_one_exists():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 3))
    exponents = np.array([2.5, 0.0, 7.0, 1.0, 0.25])
    found = powers(A, x, exponents)
    for k, s in enumerate(exponents):
        expected = x @ fractional_matrix_power(A, s).real.T
        np.testing.assert_allclose(found[:, k], expected, atol=1e-12)
    flips = powers(np.array([[-0.5]]), np.ones((1, 1)), np.array([1.0, 1.5, 2.0]))[0, :, 0]
    np.testing.assert_allclose(flips, [-0.5, 0.5**1.5 * np.cos(1.5 * np.pi), 0.25], atol=1e-15)
    assert np.isfinite(powers(A, x, np.array([1e300]))).all()


def test_what_grows_is_held():
    rng = np.random.default_rng(2)
    paths = linear_paths(rng.normal(size=(3, 3)), 9, np.diag([1.3, 0.9, 0.5]))
    train = data([STEP * np.arange(9)] * len(paths), paths)
    fitted = baselines.LinearInverseModel().fit(train)
    assert np.abs(np.linalg.eigvals(fitted.law.A)).max() == pytest.approx(1.0)
    assert np.isfinite(fitted.forecast(paths[0][0], [1e6]).mean).all()


def test_missing_values_and_a_mask_leave_the_linear_system_as_it_is():
    """Values missing at random are filled by the components; points never observed are left out."""
    rng = np.random.default_rng(3)
    E = modes(60, rng)
    paths = linear_paths(rng.normal(size=(6, 3)), 31)
    values = [p @ E for p in paths]
    for v in values:
        v[rng.random(v.shape) < 0.3] = np.nan
        v[:, :5] = np.nan
    times = [STEP * np.arange(31)] * len(paths)
    fitted = baselines.LinearInverseModel().fit(data(times, values), data(times, values))
    x = rng.normal(size=3)
    y0 = x @ E
    y0[rng.random(60) < 0.5] = np.nan
    fc = fitted.forecast(y0, [3 * STEP])
    truth = np.linalg.matrix_power(A, 3) @ x @ E
    assert np.isnan(fc.mean[0, :5]).all()
    # the mean of what was observed is not zero as that of all is, but a few percent off
    assert np.linalg.norm(fc.mean[0, 5:] - truth[5:]) < 0.1 * np.linalg.norm(truth[5:])


def test_a_weight_of_two_is_a_point_twice():
    rng = np.random.default_rng(4)
    values = [autoregression(np.linspace(0.3, 0.9, 5), n, rng) for n in (40, 33, 28)]
    twice = [np.concatenate([v, v[:, :1]], 1) for v in values]
    times = [np.arange(len(v)) for v in values]
    kinds = (baselines.LinearInverseModel(), baselines.DampedPersistence())
    for kind in kinds:
        weighted = kind.fit(data(times, values), weights=[2.0, 1, 1, 1, 1])
        doubled = kind.fit(data(times, twice))
        one = weighted.forecast(values[0][0], [1.0, 2.5]).mean
        other = doubled.forecast(twice[0][0], [1.0, 2.5]).mean
        np.testing.assert_allclose(one, other[:, :5], atol=1e-8)


def test_labelled_weights_are_read_by_their_positions():
    rng = np.random.default_rng(4)
    values = autoregression(np.linspace(0.3, 0.9, 5), 40, rng)
    x = np.arange(5.0)
    record = Trajectories(np.arange(40.0), values[None], dims=["x"], coords={"x": x})
    weights = xr.DataArray([2.0, 1, 1, 1, 7], {"x": x}, "x")
    kind = baselines.DampedPersistence()
    plain = kind.fit(record, weights=weights.values).forecast(values[0], [1.0]).mean
    turned = kind.fit(record, weights=weights[::-1]).forecast(values[0], [1.0]).mean
    np.testing.assert_array_equal(turned, plain)


def test_damped_persistence_is_the_regression_on_pairs_that_are_observed():
    """Against a loop over pairs: lengths differ, a snapshot is left out, values are missing."""
    rng = np.random.default_rng(5)
    values = [autoregression([0.8] * 4, n, rng) for n in (50, 31)]
    for v in values:
        v[rng.random(v.shape) < 0.2] = np.nan
    times = [STEP * np.arange(len(v)) for v in values]
    times[0], values[0] = np.delete(times[0], 20), np.delete(values[0], 20, axis=0)
    fitted = baselines.DampedPersistence().fit(data(times, values))
    mean = np.nanmean(np.concatenate(values), 0)
    above = below = 0.0
    for t, v in zip(times, values, strict=True):
        for i in range(len(t) - 1):
            if t[i + 1] - t[i] < 1.5 * STEP:
                now, later = v[i] - mean, v[i + 1] - mean
                both = ~np.isnan(now * later)
                above += (now * later)[both].sum()
                below += (now**2)[both].sum()
    rho = above / below
    y0 = np.array([9.0, 6.0, np.nan, 7.5])
    fc = fitted.forecast(y0, [STEP, 2.6 * STEP])
    anomaly = np.nan_to_num(y0 - mean)
    for k, s in enumerate((1.0, 2.6)):
        np.testing.assert_allclose(fc.mean[k], mean + rho**s * anomaly, rtol=1e-12)


def test_the_coefficient_of_an_autoregression_is_found_and_may_differ_between_points():
    rho = np.array([0.2, 0.95])
    rng = np.random.default_rng(6)
    train, held = (
        data([np.arange(n)] * 2, [autoregression(rho, n, rng) for _ in range(2)])
        for n in (2000, 500)
    )
    fitted = baselines.DampedPersistence().fit(train, held)
    assert fitted.choice.startswith("ρ of each point")
    # standard error √((1 − ρ²)/4000); five of them: one false alarm in 10⁶
    assert (np.abs(fitted.law.rho - rho) < 5 * np.sqrt((1 - rho**2) / 4000)).all()


@pytest.mark.parametrize("fill", [1.0, 0.6])
def test_a_mean_cycle_is_found_again(fill):
    period, rng = 12.3, np.random.default_rng(7)
    b = rng.normal(size=(5, 3))

    def cycle(t):
        angle = 2 * np.pi * np.asarray(t)[:, None] / period
        waves = (np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle))
        return b[0] + sum(w * c for w, c in zip(waves, b[1:], strict=True))

    times = [np.arange(40.0), 100 + np.arange(25.0)]
    values = [np.where(rng.random((len(t), 3)) < fill, cycle(t), np.nan) for t in times]
    fitted = baselines.Climatology(period).fit(data(times, values))
    leads = np.array([0.0, 1.5, 50.0])
    y0 = rng.normal(size=(2, 3))
    fc = fitted.forecast(y0, leads, t0=[3.0, 4.2])
    for k, t0 in enumerate((3.0, 4.2)):
        np.testing.assert_allclose(fc.mean[k], cycle(t0 + leads), atol=1e-9)


def test_spreads_of_white_noise_are_its_own_and_root_two_times_it():
    sizes = np.array([0.5, 1.0, 2.0, 4.0])
    rng = np.random.default_rng(8)
    train, held = (data([np.arange(400)], [3 + sizes * rng.normal(size=(400, 4))]) for _ in "ab")
    y0 = np.full(4, 3.0)
    for validation in (None, held):
        usual = baselines.Climatology().fit(train, validation).forecast(y0, [1.0, 7.0]).sd
        last = baselines.Persistence().fit(train, validation).forecast(y0, [1.0, 7.0]).sd
        # variances of 64 errors, χ²: standard error √(2/64) = 18 % of a variance, 9 % of an sd;
        # 16 numbers within four of them: one false alarm in 1000
        np.testing.assert_allclose(usual, np.tile(sizes, (2, 1)), rtol=0.36)
        np.testing.assert_allclose(last, np.tile(np.sqrt(2) * sizes, (2, 1)), rtol=0.36)


def test_a_spread_is_what_errors_on_validation_data_are():
    """Validation data three times as wild as training data make it three times as wide."""
    rng = np.random.default_rng(9)
    noise = rng.normal(size=(300, 5))
    noise -= noise.mean(0)
    train, held = (data([np.arange(300)], [s * noise]) for s in (1.0, 3.0))
    plain, wide = (
        baselines.Climatology().fit(train, v).forecast(np.zeros(5), [1.0, 4.0]).sd
        for v in (None, held)
    )
    np.testing.assert_allclose((wide**2).sum(1), 9 * (plain**2).sum(1), rtol=1e-9)


def test_persistence_keeps_what_was_seen_and_the_mean_elsewhere():
    values = np.array([[1.0, np.nan], [3.0, 5.0], [5.0, 9.0]])
    fitted = baselines.Persistence().fit(data([np.arange(3)], [values]))
    fc = fitted.forecast([4.0, np.nan], [0.0, 2.0])
    assert fc.mean.tolist() == [[4.0, 7.0], [4.0, 7.0]]
    assert fc.sd[0, 0] == 0.0


def test_crps_is_the_integral_that_defines_it():
    m, s, y = 0.4, 1.7, np.array([-3.0, 0.4, 2.2, np.nan])
    fc = baselines.GaussianForecast(np.full(4, m), np.full(4, s))
    for value, found in zip(y[:3], fc.crps(y), strict=False):
        law = norm(m, s)
        expected = (
            integrate.quad(lambda x, f=law: f.cdf(x) ** 2, -np.inf, value)[0]
            + integrate.quad(lambda x, f=law: f.sf(x) ** 2, value, np.inf)[0]
        )
        assert found == pytest.approx(expected, rel=1e-7)  # of the quadrature
    assert np.isnan(fc.crps(y)[3])
    exact = baselines.GaussianForecast(np.full(4, m), np.zeros(4))
    np.testing.assert_allclose(exact.crps(y), np.abs(y - m))
    inside = np.abs(y - m) <= norm.ppf(0.95) * s
    assert (fc.covers(y, 0.9) == inside).all()


@pytest.mark.parametrize("kind", baselines.simple_baselines(), ids=lambda b: b.name)
def test_shape_scale_and_offset_of_fields_do_not_matter(kind):
    rng = np.random.default_rng(10)
    values = [autoregression(np.linspace(0.3, 0.9, 6), n, rng) for n in (30, 25, 18)]
    times = [np.arange(len(v)) for v in values]
    held = data(times[:1], [autoregression(np.full(6, 0.5), 30, rng)])

    def forecast(change):
        train = data(times, [change(v) for v in values])
        validation = data(held.times, [change(v) for v in held.values])
        return kind.fit(train, validation).forecast(change(values[0])[0], [1.0, 3.0])

    plain = forecast(lambda v: v)
    grid = forecast(lambda v: v.reshape(-1, 2, 3))
    assert grid.mean.shape == grid.sd.shape == (2, 2, 3)
    np.testing.assert_array_equal(grid.mean.reshape(2, 6), plain.mean)
    large = forecast(lambda v: v * 2.0**700)
    np.testing.assert_array_equal(large.mean, plain.mean * 2.0**700)
    np.testing.assert_array_equal(large.sd, plain.sd * 2.0**700)
    moved = forecast(lambda v: v + 1000)
    np.testing.assert_allclose(moved.mean, plain.mean + 1000, atol=1e-8)
    np.testing.assert_allclose(moved.sd, plain.sd, atol=1e-8)


def test_the_next_snapshot_is_the_nearest_one_later():
    rng = np.random.default_rng(11)
    times = np.sort(rng.uniform(0, 20, 60))
    for lag, within in ((0.4, 0.1), (1.0, 0.25)):
        expected = []
        for i, t in enumerate(times):
            off = np.abs(times - (t + lag))
            off[: i + 1] = np.inf
            expected.append(int(off.argmin()) if off.min() <= within else -1)
        assert following(times, lag, within).tolist() == expected
    assert following(np.array([3.0]), 1.0, 0.25).tolist() == [-1]


def test_uneven_steps_are_taken_where_they_are_about_one_step_long():
    """Months of 28 to 31 days: all follow each other, and a step is a month on average."""
    days = np.cumsum([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] * 5)[:60]
    days = np.unique(days)
    rng = np.random.default_rng(12)
    values = autoregression([0.7] * 5, len(days), rng)
    fitted = baselines.DampedPersistence().fit(data([days], [values]))
    assert fitted.law.step == pytest.approx(np.diff(days).mean())


def test_the_last_quarter_is_held_out():
    records = Records.of(data([np.arange(n) for n in (8, 5)], [np.ones((n, 2)) for n in (8, 5)]))
    first, last = records.held_out()
    assert [len(t) for t in first.times] == [6, 4]
    assert [t.tolist() for t in last.times] == [[6, 7], [4]]
    many = Records.of(data([np.arange(3)] * 9, [np.ones((3, 2))] * 9))
    assert [len(part.times) for part in many.held_out()] == [7, 2]


def test_large_data_are_read_in_part(monkeypatch):
    monkeypatch.setattr("pyro_msde.baselines.records._MOST_NUMBERS", 600)
    monkeypatch.setattr("pyro_msde.baselines.records._BLOCK", 20)
    values = np.arange(2000.0).reshape(1000, 2)
    records = Records.of(data([np.arange(1000)], [values]))
    times = np.concatenate([t for t, _ in records.blocks(600)])
    rows = np.concatenate([y for _, y in records.blocks(600)])
    assert 200 < len(times) < 400  # a binomial number of 300 with standard deviation 15
    np.testing.assert_array_equal(rows * records.unit, values[times.astype(int)])
    assert all(len(y) <= 10 for _, y in records.blocks())
    for t, now, later_t, later in records.pairs():
        assert (later_t - t == 1).all()
        assert (later - now == 2 / records.unit).all()


def test_what_makes_no_sense_is_refused_by_name():
    train = data([np.arange(5)], [np.ones((5, 3))])
    single = data([np.zeros(1)], [np.ones((1, 3))])
    kind = baselines.LinearInverseModel
    fitted = baselines.Persistence().fit(train)
    for call, message in (
        (lambda: kind().fit([1, 2]), "train: got list. Pass pyro_msde.Trajectories"),
        (lambda: kind().fit(single), "train: no trajectory has a second snapshot"),
        (lambda: kind().fit(train, data([np.arange(5)], [np.ones((5, 2))])), "validation: fields"),
        (lambda: kind().fit(train, weights=[1.0, 2.0]), "weights: shape .2,. does not broadcast"),
        (lambda: kind().fit(train, weights=[1.0, -2.0, 1.0]), "weights: negative"),
        (lambda: kind(period=-1.0), "period=-1.0: give a number above 0"),
        (lambda: baselines.Climatology(1.0, harmonics=0), "harmonics=0: give a whole number"),
        (lambda: fitted.forecast(np.ones(4), [1.0]), "y0: shape .4,., but training fields are"),
        (lambda: fitted.forecast([1.0, np.inf, 2.0], [1.0]), "y0: holds infinite values"),
        (lambda: fitted.forecast(np.ones(3), [-1.0]), "leads=-1.0: give a number at least 0"),
        (lambda: fitted.forecast(np.ones(3), [[1.0]]), "leads: shape .1, 1."),
        (lambda: fitted.forecast(np.ones(3), [1.0], [1.0, 2.0]), "t0: shape .2,."),
        (lambda: fitted.forecast(np.ones(3), [1.0]).covers(np.ones((1, 3)), 90), "level=90"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("kind", baselines.simple_baselines(), ids=lambda b: b.name)
@pytest.mark.filterwarnings("error")
def test_poor_data_make_a_forecast_all_the_same(kind):
    """Two snapshots, constants, a point and a snapshot without a value, gaps of many steps."""
    rng = np.random.default_rng(13)
    gappy = rng.normal(size=(6, 3))
    gappy[2], gappy[:, 1] = np.nan, np.nan
    for times, values in (
        (np.arange(2.0), rng.normal(size=(2, 3))),
        (np.arange(9.0), np.ones((9, 3))),
        (np.arange(9.0), np.zeros((9, 3))),
        (np.arange(6.0), gappy),
        (np.array([0.0, 1.0, 30.0, 31.0, 80.0]), rng.normal(size=(5, 3))),
    ):
        for validation in (None, data([times], [values])):
            fc = kind.fit(data([times], [values]), validation).forecast(values[0], [0.5, 1.0, 99.0])
            known = np.isfinite(values).any(0)
            assert np.isfinite(fc.mean[:, known]).all()
            assert np.isfinite(fc.sd[:, known]).all()
