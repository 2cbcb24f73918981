from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from linear_fits import HORIZON, SCALE, linear_fit
from named_fields import land, sea_data, sea_fit
from numpy.testing import assert_allclose, assert_array_equal
from oracles.tolerance import standard_errors
from problems import tiny_data
from scipy.stats import norm
from torch import Tensor

from pyro_msde.data import Trajectories
from pyro_msde.scores import coverage
from pyro_msde.scores.diffusion_scale import choose_diffusion_scale
from pyro_msde.scores.parameter_scale import choose_parameter_scale
from pyro_msde.scores.recalibration import Calibration
from pyro_msde.scores.window_scores import window_scores
from pyro_msde.sde import CHOOSING_STEP

POINTS = 999
TIMES = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
SCALES = (1.0, 2.0, 4.0)
# The truth holds evenly spaced quantiles of its law, so a share is off by one point at most.
ONE_POINT = {"rtol": 0, "atol": 1.001 / POINTS}
SURE = {"wider": SCALES[1:], "windows": 1e6}  # so many that nothing is moved towards 1


@dataclass(frozen=True)
class Normal:
    """What coverage needs of a forecast, N(0, sd²) with sd (batch, time, x)."""

    times: np.ndarray
    sd: Tensor
    batched: bool = True
    metadata: None = None
    mask: None = None

    @property
    def mean(self) -> Tensor:
        return torch.zeros_like(self.sd)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.sd.shape)

    def cdf(self, values: Tensor) -> Tensor:
        return torch.special.ndtr(values / self.sd)


def truth_of(spread: np.ndarray) -> Trajectories:
    """Trajectories whose snapshots are N(0, spread²) exactly, spread (batch, time)."""
    unit = norm.ppf((np.arange(POINTS) + 0.5) / POINTS)
    return Trajectories([TIMES] * len(spread), [s[:, None] * unit for s in spread])


def case_of(spread: np.ndarray, sd_at_one: float = 1.0):
    """`predict` of a forecast whose standard deviation is the scale times `sd_at_one`."""
    truth = truth_of(spread)

    def predict(scale):
        width = max(scale * sd_at_one, 1e-6)  # a forecast has a standard deviation
        sd = torch.full((len(spread), len(TIMES), POINTS), width, dtype=torch.float64)
        return [(Normal(TIMES, sd), truth)]

    return predict


def scoring(predict, level: float = 0.9, bins: int = 3):
    """Scores of what `predict` gives, by scale."""
    return lambda scale: window_scores(predict(scale), level=level, bins=bins)


def closed_form(spread: np.ndarray, level: float, bins: int, sd_at_one: float = 1.0):
    """(scale, bin): P(|N(0, spread²)| ≤ q scale sd) with q the normal quantile of (1 + level)/2.

    After the initial time.
    """
    reach = norm.ppf((1 + level) / 2) * np.multiply(SCALES, sd_at_one)
    share = 2 * norm.cdf(reach[:, None, None] / spread) - 1
    parts = [share[:, :, 1 + b * 6 // bins : 1 + (b + 1) * 6 // bins] for b in range(bins)]
    return np.stack([part.mean((1, 2)) for part in parts], axis=1)


@pytest.mark.parametrize("ratio", SCALES)
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_the_scale_that_makes_up_for_a_wrong_spread_is_chosen(ratio, level):
    spread = np.full((2, len(TIMES)), 0.7 * ratio)
    predict = case_of(spread, sd_at_one=0.7)
    result = choose_diffusion_scale(scoring(predict, level), level=level, **SURE)
    assert result.scale == result.chosen == ratio
    assert result.level == level
    assert result.scales[:1] == SCALES[:1]
    best = result.scales.index(ratio)
    assert_allclose(result.coverage[best], level, **ONE_POINT)
    assert_allclose(result.after, level, **ONE_POINT)
    assert_allclose(result.before, closed_form(spread, level, 3, 0.7)[0], **ONE_POINT)
    assert result.misfit[best] == result.misfit.min()
    assert_allclose(result.leads, [0.2, 0.4, 0.6], rtol=1e-12)


@pytest.mark.parametrize(("sd", "expected"), [(1.02, 1.0), (1.2, 1.0), (1.85, 0.65), (9.0, 0.2)])
def test_intervals_that_are_plainly_too_wide_are_narrowed_with_room_to_spare(sd, expected):
    """The smallest scale that still covers .95; nearer to .9, at √C × .8 say, none is tried."""
    predict = case_of(np.ones((2, len(TIMES))), sd_at_one=sd)
    result = choose_diffusion_scale(scoring(predict), windows=1e6)
    assert result.scale == expected
    reach = norm.ppf(0.95) * sd
    kept, next_one = (2 * norm.cdf(reach * s) - 1 for s in (expected, result.scales[-1]))
    assert kept > 0.95 or expected == 1.0
    assert next_one < 0.95
    assert choose_diffusion_scale(scoring(predict), narrower=()).scale == 1.0


def test_wide_intervals_are_not_widened_until_chaos_saturates_them():
    """Where larger scales cover less, but still too much: nearer to the level, and no better."""

    def predict(scale):
        sd = torch.full((1, len(TIMES), POINTS), 1.3 if scale <= 1 else 1.3 / scale**0.1)
        return [(Normal(TIMES, sd), truth_of(np.ones((1, len(TIMES)))))]

    result = choose_diffusion_scale(scoring(predict, bins=1), narrower=())
    shares = [2 * norm.cdf(1.645 * sd) - 1 for sd in (1.3, 1.3 / 5.6**0.1)]
    assert shares[0] > shares[1] > 0.9  # else this test says nothing
    assert result.scale == 1.0
    assert result.scales == (1.0,)


@pytest.mark.parametrize(("level", "bins"), [(0.9, 1), (0.5, 2), (0.9, 3)])
def test_coverage_by_lead_time_is_the_closed_form(level, bins):
    """Averaged over trajectories, whose spreads differ and grow with time."""
    spread = np.outer([0.6, 1.0, 1.7], 0.5 + 2 * TIMES)
    result = choose_diffusion_scale(scoring(case_of(spread), level, bins), level=level, **SURE)
    expected = closed_form(spread, level, bins)
    assert expected[0].mean() < level  # else this test says nothing
    assert_allclose(result.coverage, expected, **ONE_POINT)
    assert result.chosen == SCALES[np.square(expected - level).mean(1).argmin()]


def test_every_lead_time_counts_not_their_average():
    """Intervals far too wide early and far too narrow later cover the right share on average."""
    spread = np.where(TIMES < 0.31, 0.4, 9.0)[None]
    result = choose_diffusion_scale(scoring(case_of(spread), 0.5, 2), level=0.5, **SURE)
    expected = closed_form(spread, 0.5, 2)
    by_time = np.square(expected - 0.5).mean(1)
    by_average = np.square(expected.mean(1) - 0.5)
    assert by_time.argmin() != by_average.argmin()  # else this test says nothing
    assert result.chosen == SCALES[by_time.argmin()]


def test_misfit_is_the_root_mean_square_over_lead_times():
    table = np.array([[0.9, 0.9, 0.9], [0.9, 0.7, 0.5], [0.6, 1.0, 0.9]])
    result = Calibration(1.0, 0.9, (0.5, 1.0, 2.0), table)
    expected = np.sqrt([0, (0.2**2 + 0.4**2) / 3, (0.3**2 + 0.1**2) / 3])
    assert_allclose(result.misfit, expected, rtol=1e-12, atol=1e-15)  # rounding


def test_predict_is_asked_for_each_scale_once():
    asked = []

    def recording(scale):
        asked.append(scale)
        return predict(scale)

    predict = case_of(np.full((1, len(TIMES)), 2.0))
    choose_diffusion_scale(scoring(recording, bins=1), **SURE)
    assert_array_equal(asked, SCALES)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, 90.0, float("nan")])
def test_a_level_outside_its_range_is_refused_before_any_forecast(level):
    def predict(scale):
        raise AssertionError("predicted")

    with pytest.raises(ValueError, match=r"^level=.*: give one number inside \(0, 1\)"):
        choose_diffusion_scale(predict, level=level)


def crps_of(sd):
    """Of N(0, sd²) where the truth is N(0, 1)."""
    return np.sqrt(2 / np.pi) * (np.sqrt(1 + sd**2) - sd / np.sqrt(2))


@pytest.mark.parametrize("sd", [0.3, 1.0, 4.0])
def test_the_score_of_normal_laws_is_the_closed_form(sd):
    """Quantiles stand for the truth: their mean size is off by 7e-4."""
    pairs = case_of(np.ones((2, len(TIMES))), sd_at_one=sd)(1.0)
    found = window_scores(pairs, level=0.9, bins=3)
    assert_allclose(found.crps, crps_of(sd), rtol=1e-3)
    other = window_scores(case_of(np.ones((2, len(TIMES))))(1.0), level=0.9, bins=3)
    assert found.gain_over(other) == pytest.approx(1 - crps_of(sd) / crps_of(1.0), abs=2e-3)


@pytest.mark.parametrize(
    ("sd", "expected"), [(1.1, None), (1.7, None), (2.0, 0.5), (4.0, 0.25), (12.0, 0.1)]
)
def test_noise_is_turned_down_as_long_as_forecasts_gain_by_far(sd, expected):
    score = scoring(case_of(np.ones((2, len(TIMES))), sd_at_one=sd))
    found = choose_diffusion_scale(score, quieter=score, narrower=(), windows=1e6)
    tried = [1.0, 0.5, 0.25, 0.1, 0.0]
    gains = [1 - crps_of(b * sd) / crps_of(a * sd) for a, b in pairwise(tried)]
    last = next((k for k, gain in enumerate(gains) if gain < 0.1), len(gains))
    if expected is None:
        assert last == 0
        assert (found.scale, found.start, found.scales) == (1.0, 1.0, (1.0,))
        return
    assert found.scale == found.start == found.chosen == tried[last] == expected
    assert found.scales == tuple(tried[: last + 1])
    assert_allclose(found.after, 2 * norm.cdf(1.64485 * sd * expected) - 1, **ONE_POINT)


def test_a_quiet_start_is_one_of_less_spread():
    linear = linear_fit()
    y0, times = tiny_data(seed=3).values[0][0], [0.0]
    spread = [
        linear.fit.adjusted(Calibration(s, start=s)).predict(y0, times, t0=0.0, num_samples=8).paths
        for s in (1.0, 0.25, 0.0)
    ]
    middle = spread[2]
    assert_allclose(spread[1] - middle, 0.25 * (spread[0] - middle), rtol=1e-5, atol=1e-7)
    assert float((spread[0] - middle).abs().min()) > 0
    assert_allclose(middle, middle[:1].expand_as(middle), rtol=0, atol=0)


@pytest.mark.parametrize(("sd", "expected"), [(1.0, 1.0), (0.5, 2.0), (0.02, 4.0)])
def test_the_spread_of_weights_is_made_wider_until_intervals_cover(sd, expected):
    predict = case_of(np.ones((2, len(TIMES))), sd_at_one=sd)
    level = 0.9 - 2e-3  # two points are missed by sd = 1, of which the truth has quantiles
    none = window_scores(predict(1.0), level=level, bins=3)
    table = (1.0,) * 3, tuple(none.by_bin)
    found = Calibration(0.1, level, (1.0, 0.1), table, ((1.0,) * 3,) * 2, windows=1e6)
    scale, calibration = choose_parameter_scale(scoring(predict, level), found)
    assert scale == expected
    reach = norm.ppf((1 + level) / 2)
    assert_allclose(calibration.after, 2 * norm.cdf(reach * sd * scale) - 1, **ONE_POINT)
    assert calibration.coverage[:2] == found.coverage
    assert (calibration.weights or (1.0,))[-1] == scale
    assert_array_equal(calibration.before, found.coverage[0])


def test_the_spread_of_weights_is_left_alone_where_forecasts_lose_by_it():
    """Wider where they cover already, and no wider where they do not."""
    right = case_of(np.where(np.arange(len(TIMES)) % 2, 1.0, 3.0)[None])

    def predict(weights):
        [(fc, truth)] = right(1.0)
        sd = torch.where(torch.arange(len(TIMES)) % 2 == 1, weights, 1.0)
        return [(Normal(TIMES, sd[None, :, None] * fc.sd), truth)]

    plain, wider = (window_scores(predict(s), level=0.9, bins=6) for s in (1.0, 1.4))
    assert plain.average < 0.9  # else this test says nothing
    assert wider.average > plain.average
    table = (tuple(plain.by_bin),)
    found = Calibration(1.0, 0.9, (1.0,), table, ((1.0,) * 6,), windows=1e6)
    assert choose_parameter_scale(scoring(predict, bins=6), found) == (1.0, found)


def test_the_spread_of_weights_is_left_alone_by_what_may_be_chance():
    """Of one trajectory that is one number .9 has a standard error of .3."""
    score = scoring(case_of(np.ones((1, len(TIMES))), sd_at_one=0.55))
    plain = score(1.0)
    assert 0.6 < plain.average < 0.7
    found = Calibration(1.0, 0.9, (1.0,), (tuple(plain.by_bin),), ((1.0,) * 3,), windows=1.0)
    assert choose_parameter_scale(score, found) == (1.0, found)
    sure = replace(found, windows=1e6)
    assert choose_parameter_scale(score, sure)[0] == 2.0


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.7])
def test_the_variance_of_forecasts_grows_by_the_square_of_the_scale(scale):
    """dz = −z dt + s √C dβ has Σ(t) = e^(−2t) Σ(0) + s² C (1 − e^(−2t))/2; false alarms 2e-5."""
    linear = linear_fit(adjustments=(Calibration(scale),))
    draws, times = 4000, np.array([0.6, 3.0, 6.0])
    y0 = tiny_data(seed=3).values[0][0]
    fc = linear.fit.predict(y0, times, t0=0.0, num_samples=draws, max_step=0.03 * HORIZON)
    decay = np.exp(-2 * times / HORIZON)[:, None]
    states = decay * linear.node_var + scale**2 * linear.C * (1 - decay) / 2
    expected = SCALE**2 * states @ linear.H.T**2
    # variances of normal draws; the midpoint rule's bias is 0.03² / 6, a hundredth of that
    error = np.abs(fc.propagated_var.numpy() / expected - 1) / np.sqrt(2 / (draws - 1))
    assert error.max() < standard_errors(expected.size)


def test_parts_of_the_horizon_without_observations_are_left_out():
    spread = np.full((2, len(TIMES)), 1.4)
    whole = truth_of(spread)
    values = [np.where(TIMES[:, None] > 0.4, np.nan, v) for v in whole.values]
    values[1][1] = np.nan  # a snapshot that only one has
    gappy = Trajectories(TIMES, values, missing="mask")
    predict = case_of(spread, sd_at_one=0.7)
    complete = choose_diffusion_scale(scoring(predict), **SURE)
    score = scoring(lambda scale: [(predict(scale)[0][0], gappy)])
    result = choose_diffusion_scale(score, **SURE)
    assert result.scale == complete.scale == 2.0
    assert_allclose(result.coverage, np.asarray(complete.coverage)[:, :2], **ONE_POINT)


def test_a_fit_is_calibrated_on_what_was_observed():
    """The forecast's coverage of the values that are there, as `coverage` counts it."""
    fit, times = sea_fit(), 4.0 + 0.1 * np.arange(13)
    rng = np.random.default_rng(0)
    values = 0.2 * rng.normal(size=(2, 13, 8, 12))
    values[rng.uniform(size=values.shape) < 0.3] = np.nan
    values[0, 4] = np.nan
    values[..., ~land()] = np.nan
    known = sea_data()
    names = {"name": known.name, "dims": known.dims, "coords": known.coords, "units": known.units}
    validation = Trajectories(times, values, missing="mask", **names)
    found = fit.calibrated(validation).calibration
    fc = fit.adjusted(Calibration(found.scales[0])).forecast(
        validation, num_samples=32, max_step=CHOOSING_STEP * fit.scaling.time
    )
    expected = np.nanmean(coverage(fc, validation, level=0.9, bins=10), axis=0)
    # the first part has the initial time, too, which is left out here
    assert_allclose(found.coverage[0][1:], expected[1:], rtol=1e-12)
