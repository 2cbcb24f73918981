from __future__ import annotations

import numpy as np
import pytest
import torch
from gaussian_forecasts import Gaussian
from numpy.testing import assert_allclose
from scipy.stats import norm
from torch import Tensor

from pyro_msde.data import Trajectories
from pyro_msde.scores.anomalies import relative_squares
from pyro_msde.scores.forecast_scores import coverage, crps, nrmse, pit, spread_skill

BATCH, FIELD = 3, (2, 7)
TIMES = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
ROUNDING = {"rtol": 1e-12, "atol": 1e-14}  # sums of some hundred float64 numbers


def forecast(field=FIELD, times=TIMES, dtype=torch.float64, samples=3) -> Gaussian:
    shape = (BATCH, len(times), *field)
    mean = torch.randn(shape, dtype=torch.float64)
    sd = 0.5 + torch.rand(shape, dtype=torch.float64)
    return Gaussian(times, mean.to(dtype), sd.to(dtype), samples=samples)


def only(fc: Gaussian, k: int) -> Gaussian:
    return Gaussian(fc.times, fc.mean[k], fc.sd[k], batched=False, samples=fc.samples)


def relative(errors: np.ndarray, fc: Gaussian) -> Tensor:
    """A truth that the mean misses by `errors` (batch, time), relative to its norm."""
    shape = (*errors.shape, *(1,) * len(FIELD))
    return fc.mean / (1 + torch.as_tensor(errors).reshape(shape))


def test_nrmse_is_the_root_mean_square_of_relative_errors():
    fc = forecast()
    errors = np.random.default_rng(0).uniform(-0.4, 0.4, (BATCH, len(TIMES)))
    assert_allclose(nrmse(fc, relative(errors, fc)), np.sqrt((errors**2).mean(1)), **ROUNDING)


def test_bins_hold_their_end_and_the_first_the_initial_time():
    fc = forecast()
    errors = np.random.default_rng(1).uniform(-0.4, 0.4, (BATCH, len(TIMES)))
    score = nrmse(fc, relative(errors, fc), bins=2)
    first, second = errors[:, :3], errors[:, 3:]  # 0, .25, .5 and .75, 1
    expected = np.sqrt([(first**2).mean(1), (second**2).mean(1)]).T
    assert_allclose(score, expected, **ROUNDING)


def test_rounding_of_times_does_not_move_them_over_an_edge():
    times = 3.7 + 0.1 * np.arange(11)  # (times − 3.7)·10 is off the integers by some 1e-15
    fc = forecast(times=times)
    errors = np.random.default_rng(2).uniform(-0.4, 0.4, (BATCH, 11))
    score = nrmse(fc, relative(errors, fc), bins=10)
    first = np.sqrt((errors[:, :2] ** 2).mean(1))
    assert_allclose(score, np.column_stack([first, np.abs(errors[:, 2:])]), **ROUNDING)


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_coverage_is_the_share_of_central_probabilities(level):
    fc = forecast()
    p = np.random.default_rng(3).uniform(0, 1, fc.mean.shape)
    truth = fc.mean + fc.sd * torch.as_tensor(norm.ppf(p))
    inside = (p > (1 - level) / 2) & (p < (1 + level) / 2)
    assert_allclose(coverage(fc, truth, level=level), inside.mean((1, 2, 3)), **ROUNDING)
    halves = np.stack([inside[:, :3].mean((1, 2, 3)), inside[:, 3:].mean((1, 2, 3))], axis=1)
    assert_allclose(coverage(fc, truth, level=level, bins=2), halves, **ROUNDING)
    # two error functions, one the other's inverse
    assert_allclose(pit(fc, truth), p, rtol=0, atol=1e-13)


def gaussian_crps(mean: np.ndarray, sd: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gneiting & Raftery 2007, eq. 21, with the sign that makes it a loss."""
    z = (y - mean) / sd
    return sd * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))


def pairwise_crps(draws: np.ndarray, y: np.ndarray) -> np.ndarray:
    n = len(draws)
    pairs = np.abs(draws[:, None] - draws[None]).sum((0, 1)) / (n * (n - 1))
    return np.abs(draws - y).mean(0) - pairs / 2


@pytest.mark.parametrize("samples", [2, 5])
def test_crps_is_the_mean_over_pairs_of_different_draws(samples):
    fc = forecast(samples=samples)
    y = torch.randn_like(fc.mean)
    draws = torch.cat([d for _, d in fc.chunks()], dim=2).numpy()
    expected = pairwise_crps(draws, y.numpy())
    assert_allclose(crps(fc, y), expected.mean((1, 2, 3)), **ROUNDING)
    halves = np.stack([expected[:, :3].mean((1, 2, 3)), expected[:, 3:].mean((1, 2, 3))], axis=1)
    assert_allclose(crps(fc, y, bins=2), halves, **ROUNDING)


@pytest.mark.parametrize("samples", [2, 7])
def test_crps_of_few_draws_has_the_gaussian_mean(samples):
    fc = forecast(field=(5, 701), samples=samples)
    y = torch.randn_like(fc.mean)
    error = crps(fc, y) - gaussian_crps(fc.mean.numpy(), fc.sd.numpy(), y.numpy()).mean((1, 2, 3))
    draws = torch.cat([d for _, d in fc.chunks()], dim=2).numpy()
    cells = pairwise_crps(draws, y.numpy()) - gaussian_crps(
        fc.mean.numpy(), fc.sd.numpy(), y.numpy()
    )
    standard_error = cells.std((1, 2, 3)) / np.sqrt(cells[0].size)
    # 4.4 standard errors: false alarm 1e-5 a trajectory. Without the correction it is off by
    # mean(sd)/(samples √π), here 10 or more.
    assert (np.abs(error) < 4.4 * standard_error).all()
    assert (fc.sd.numpy().mean() / samples / np.sqrt(np.pi) > 10 * standard_error).all()


def test_spread_skill_averages_variances():
    fc = forecast()
    sd = torch.ones_like(fc.mean)
    sd[..., 1, :] = 3.0  # one of two channels: mean variance (1 + 9)/2
    fc = Gaussian(fc.times, fc.mean, sd)
    error = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64).reshape(BATCH, 1, 1, 1)
    score = spread_skill(fc, fc.mean + error)
    assert_allclose(score, np.sqrt(5) / np.array([0.5, 1, 2]), **ROUNDING)
    late = torch.ones(5, 1, 1, dtype=torch.float64)
    late[3:] = 4.0
    expected = np.sqrt(5) / np.outer([0.5, 1, 2], [1, 4])
    assert_allclose(spread_skill(fc, fc.mean + error * late, bins=2), expected, **ROUNDING)


def test_spread_skill_is_infinite_where_the_mean_is_exact():
    fc = forecast()
    assert np.isinf(spread_skill(fc, fc.mean)).all()


def test_relative_squares_are_numpys_at_any_scale():
    rng = np.random.default_rng(5)
    y, mean = rng.standard_normal((2, 2, 3, 5, 7)).astype(np.float32)
    expected = np.square(mean - y, dtype=float).sum((2, 3)) / np.square(y, dtype=float).sum((2, 3))
    for factor in (1.0, 2.0**-100, 2.0**100):  # whose squares float32 does not hold
        found = relative_squares(*(torch.as_tensor(factor * x) for x in (mean, y)))
        assert_allclose(found, expected, rtol=1e-6)  # differences are rounded in float32
    assert np.isinf(relative_squares(torch.full((1, 1, 5), np.inf), torch.ones(1, 1, 5))).all()


@pytest.mark.parametrize("score", [nrmse, coverage, spread_skill])
def test_a_single_forecast_scores_as_in_a_batch(score):
    fc = forecast()
    y = torch.randn_like(fc.mean)
    alone = [score(only(fc, k), y[k]) for k in range(BATCH)]
    assert all(type(s) is float for s in alone)
    assert_allclose(alone, score(fc, y), **ROUNDING)
    binned = [score(only(fc, k), y[k], bins=2) for k in range(BATCH)]
    assert_allclose(binned, score(fc, y, bins=2), **ROUNDING)


def test_crps_of_a_single_forecast():
    fc = only(forecast(), 1)
    y = torch.randn_like(fc.mean)
    draws = torch.cat([d for _, d in fc.chunks()], dim=1).numpy()
    score = crps(fc, y)
    assert type(score) is float
    assert_allclose(score, pairwise_crps(draws, y.numpy()).mean(), **ROUNDING)
    assert pit(fc, y).shape == fc.mean.shape


@pytest.mark.parametrize("score", [nrmse, coverage, crps, spread_skill, pit])
def test_truth_as_tensor_array_or_trajectories(score, dtype):
    fc = forecast(dtype=dtype)
    y = torch.randn_like(fc.mean)
    expected = score(fc, y)
    assert np.isfinite(expected).all()
    assert_allclose(score(fc, y.numpy()), expected, rtol=0, atol=0)
    nudged = TIMES * (1 + 1e-15)
    assert_allclose(score(fc, Trajectories(nudged, y.numpy())), expected, rtol=0, atol=0)
    one = Trajectories(TIMES, y[1:2].numpy())
    assert_allclose(score(only(fc, 1), one), score(only(fc, 1), y[1]), rtol=0, atol=0)


def test_truth_of_another_shape():
    fc = forecast()
    with pytest.raises(ValueError, match=r"truth: shape \(3, 5, 2\), .* has \(3, 5, 2, 7\)"):
        nrmse(fc, fc.mean[..., 0])
    with pytest.raises(ValueError, match=r"truth: shape \(3, 5, 7, 2\), .* has \(3, 5, 2, 7\)"):
        nrmse(fc, Trajectories(TIMES, fc.mean.mT.contiguous()))


def test_truth_of_other_trajectories_or_times():
    fc = forecast()
    with pytest.raises(ValueError, match=r"number of trajectories 2, but the forecast has 3"):
        crps(fc, Trajectories(TIMES, fc.mean[:2]))
    with pytest.raises(ValueError, match=r"number of trajectories 3, but the forecast has 1"):
        crps(only(fc, 0), Trajectories(TIMES, fc.mean))
    with pytest.raises(
        ValueError,
        match=r"trajectory 0 has 4 times \(0 to 0\.75\), but the forecast 5 times \(0 to 1\)",
    ):
        coverage(fc, Trajectories(TIMES[:4], fc.mean[:, :4]))
    shifted = [TIMES, TIMES + np.array([0, 0, 0.01, 0, 0]), TIMES]
    with pytest.raises(ValueError, match=r"trajectory 1 has t=0\.51 at index 2, .* t=0\.5\."):
        pit(fc, Trajectories(shifted, list(fc.mean)))


def test_truth_that_is_not_finite():
    fc = forecast()
    y = fc.mean.clone()
    y[1, 3, 0, 2] = torch.nan
    y[2, 0, 1, 1] = torch.inf
    message = r"NaN or infinite in trajectory 1, index 3 \(t=0\.75\), 2 snapshots in all"
    with pytest.raises(ValueError, match=message):
        coverage(fc, y)
    with pytest.raises(ValueError, match=r"NaN or infinite in index 3 \(t=0\.75\), 1 snapshots"):
        coverage(only(fc, 1), y[1])


def test_a_snapshot_of_zeros_has_no_relative_error():
    fc = forecast()
    y = torch.ones_like(fc.mean)
    y[2, 4] = 0
    with pytest.raises(ValueError, match=r"trajectory 2 at index 4 \(t=1\) is zero everywhere, 1"):
        nrmse(fc, y)
    assert np.isfinite(crps(fc, y)).all()


def test_bins_level_and_draws_out_of_range():
    fc = forecast()
    for bins in (0, -1):
        with pytest.raises(ValueError, match=rf"bins={bins}: give a whole number, from 1"):
            nrmse(fc, fc.mean, bins=bins)
    with pytest.raises(ValueError, match=r"bins: part 2 of 5 has none of the 4 times"):
        nrmse(forecast(times=TIMES[[0, 1, 3, 4]]), fc.mean[:, :4], bins=5)
    for level in (0, 1, 90, [0.5, 0.9]):
        with pytest.raises(ValueError, match=r"level=.*: give one number inside \(0, 1\)"):
            coverage(fc, fc.mean, level=level)
    with pytest.raises(ValueError, match=r"1 draw, but the CRPS needs pairs"):
        crps(forecast(samples=1), fc.mean)
