"""How surely windows tell their coverage, and forecasts calibrated on few of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from linear_fits import linear_fit
from numpy.testing import assert_allclose
from problems import tiny_fields
from scipy.integrate import quad
from scipy.stats import norm

from pyro_msde.data import Trajectories, num_separate
from pyro_msde.scores.diffusion_scale import choose_diffusion_scale, shrunk
from pyro_msde.scores.window_scores import WindowScores, window_scores


@dataclass(frozen=True)
class Gaussian:
    """N(mean, sd²) at times, both (batch, time, x)."""

    times: np.ndarray
    mean: torch.Tensor
    sd: torch.Tensor
    batched: bool = True
    metadata: Any = None
    mask: Any = None

    @property
    def shape(self):
        return tuple(self.sd.shape)

    def cdf(self, values):
        return torch.special.ndtr((values - self.mean) / self.sd)


@dataclass(frozen=True)
class LinearCase:
    """y = H z + noise, dz = −z dt + √2 dβ from a known z(0); forecasts take `factor` √2 for √2."""

    num_latent: int
    num_leads: int
    factor: float
    points: int = 30
    noise: float = 0.1

    @property
    def times(self):
        return np.linspace(0, 1, self.num_leads + 1)

    @property
    def H(self):
        apart = np.arange(self.points)[:, None] / self.points
        apart = (apart - np.arange(self.num_latent) / self.num_latent + 0.5) % 1 - 0.5
        H = np.exp(-((apart * self.num_latent) ** 2))
        return H / np.linalg.norm(H, axis=1, keepdims=True)

    def variance(self, scale):
        spread = scale**2 * (1 - np.exp(-2 * self.times))
        return spread[:, None] + self.noise**2 + np.zeros(self.points)

    def windows(self, count, rng):
        """Values (window, time, point) and the true mean of each forecast, shaped alike."""
        z = [rng.normal(size=(count, self.num_latent))]
        decay = np.exp(-1 / self.num_leads)
        for _ in range(self.num_leads):
            z.append(decay * z[-1] + (1 - decay**2) ** 0.5 * rng.normal(size=z[-1].shape))
        signal = np.stack(z, 1) @ self.H.T
        mean = np.exp(-self.times)[:, None] * signal[:, :1]
        return signal + self.noise * rng.normal(size=signal.shape), mean

    def calibrated(self, count, rng):
        values, mean = self.windows(count, rng)
        truth = Trajectories(self.times, values)

        def predict(scale):
            sd = np.broadcast_to(self.variance(self.factor * scale) ** 0.5, mean.shape).copy()
            return [(Gaussian(self.times, torch.tensor(mean), torch.tensor(sd)), truth)]

        bins = min(10, self.num_leads)
        return choose_diffusion_scale(
            lambda scale: window_scores(predict(scale), level=0.9, bins=bins)
        )

    def coverage(self, scale):
        """Exactly, of the 90 % interval over all leads."""
        ratio = np.sqrt(self.variance(self.factor * scale) / self.variance(1.0))[1:]
        return float((2 * norm.cdf(norm.ppf(0.95) * ratio) - 1).mean())


SEEDS = 12


# Mean coverage over seeds, and the lowest of any: what is claimed of the rule in
# docs/calibration.md. Single seeds would fail each bound of a mean in about one of three.
@pytest.mark.parametrize(("num_latent", "num_leads"), [(1, 3), (6, 20)])
@pytest.mark.parametrize(
    ("factor", "count", "lowest", "highest", "worst"),
    [
        (1.0, 1, 0.89, 0.94, 0.75),
        (1.0, 3, 0.89, 0.95, 0.80),
        (1.0, 10, 0.89, 0.94, 0.70),
        (0.4, 1, 0.75, 0.92, 0.45),
        (0.4, 3, 0.85, 0.94, 0.65),
        (0.4, 10, 0.84, 0.94, 0.60),
        (2.5, 1, 0.95, 1.00, 0.90),
        (2.5, 3, 0.95, 1.00, 0.80),
        (2.5, 10, 0.94, 0.99, 0.75),
        pytest.param(1.0, 100, 0.895, 0.92, 0.85, marks=pytest.mark.slow),
        pytest.param(0.4, 100, 0.87, 0.92, 0.82, marks=pytest.mark.slow),
        pytest.param(2.5, 100, 0.93, 0.98, 0.88, marks=pytest.mark.slow),
    ],
)
def test_coverage_after_calibration_on_few_windows(
    num_latent, num_leads, factor, count, lowest, highest, worst
):
    case = LinearCase(num_latent, num_leads, factor)
    found = [
        case.calibrated(count, np.random.default_rng([seed, count, num_leads])).scale
        for seed in range(SEEDS)
    ]
    covered = np.array([case.coverage(scale) for scale in found])
    assert lowest < covered.mean() < highest
    assert covered.min() > worst


def test_one_window_that_covers_all_does_not_make_the_diffusion_narrow():
    """Seen: a single window, calm by chance, chose √C × .2, whose intervals covered .73."""
    case = LinearCase(1, 3, 1.0)
    values, mean = case.windows(1, np.random.default_rng(0))
    calm = Trajectories(case.times, mean + 0.05 * (values - mean))

    def predict(scale):
        sd = torch.tensor(case.variance(scale) ** 0.5)[None]
        return [(Gaussian(case.times, torch.tensor(mean), sd), calm)]

    found = choose_diffusion_scale(lambda s: window_scores(predict(s), level=0.9, bins=3))
    assert found.chosen < 0.25
    assert case.coverage(found.chosen) < 0.4
    assert case.coverage(found.scale) > 0.8
    assert "moved from" in repr(found)


@pytest.mark.parametrize(("scale", "sd"), [(0.4, 0.5), (3.0, 1.0)])
def test_a_moved_scale_is_the_posterior_mean_of_its_logarithm(scale, sd):
    """By quadrature, of N(0, sd²) before and log ŝ ± error/slope."""
    error, slope = 0.12, 0.3

    def density(log):
        return norm.pdf(log, 0, sd) * norm.pdf(np.log(scale), log, error / slope)

    mean = quad(lambda log: log * density(log), -9, 9)[0] / quad(density, -9, 9)[0]
    assert_allclose(np.log(shrunk(scale, error, slope)), mean, rtol=1e-6)
    assert shrunk(scale, error, 0.0) == shrunk(1.0, error, slope) == 1.0
    assert shrunk(scale, 0.0, slope) == pytest.approx(scale, rel=1e-12)


@pytest.mark.parametrize(("num_latent", "num_leads"), [(1, 3), (6, 20)])
def test_the_standard_error_is_that_of_repeated_sets_of_windows(num_latent, num_leads):
    """Ten windows each: it is not underestimated by more than a fifth."""
    case, rng = LinearCase(num_latent, num_leads, 1.0, noise=0.01), np.random.default_rng(1)
    means, errors = [], []
    for _ in range(100):
        values, mean = case.windows(10, rng)
        sd = np.broadcast_to(case.variance(1.0) ** 0.5, mean.shape).copy()
        fc = Gaussian(case.times, torch.tensor(mean), torch.tensor(sd))
        scores = window_scores([(fc, Trajectories(case.times, values))], level=0.9, bins=3)
        means.append(scores.average)
        errors.append(scores.error(0.9, 10.0))
    # 100 sets tell a standard deviation to 7 %
    assert 0.8 < np.sqrt(np.mean(np.square(errors))) / np.std(means) < 1.6


def test_independent_values_are_counted_by_singular_values():
    rng = np.random.default_rng(2)
    times = np.arange(21.0)

    def count(x):
        zero, one = torch.zeros(1, 21, 40), torch.ones(1, 21, 40)
        fc = Gaussian(times, zero.double(), one.double())
        return window_scores([(fc, Trajectories(times, x[None]))], level=0.9, bins=1).independent[0]

    assert count(np.full((21, 40), 0.7)) == pytest.approx(1.0)
    assert count(rng.normal(size=(21, 1)) + np.zeros(40)) == pytest.approx(1.0)
    # of independent ones: 1/(1/20 + 1/40), as the trace of a Wishart matrix's square says
    assert count(rng.normal(size=(21, 40))) == pytest.approx(40 / 3, rel=0.15)


def test_windows_of_one_record_count_by_what_is_new_in_them():
    times = np.arange(60.0)
    record = Trajectories(times, np.random.default_rng(3).normal(size=(1, 60, 5)))
    assert num_separate(record.cut(20, 20)) == 3
    assert num_separate(record.cut(20, 5)) == 1 + 8 * 5 / 20
    apart = Trajectories(times, np.random.default_rng(3).normal(size=(4, 60, 5)))
    assert num_separate(apart) == 4
    values = np.random.default_rng(3).normal(size=(3, 6, 64, 64))
    values[..., [0, -1]] = 0.0  # walls, where all are alike
    assert num_separate(Trajectories(np.arange(6.0), values)) == 3


def test_overlapping_windows_tell_as_much_as_the_separate_ones():
    shares = np.random.default_rng(4).uniform(0.7, 1.0, size=(6, 3))
    ends = np.arange(1.0, shares.shape[1] + 1)
    own = WindowScores(*(shares,) * 4, np.full(6, 2.0), ends)
    twice = WindowScores(*(np.repeat(shares, 4, axis=0),) * 4, np.full(24, 2.0), ends)
    assert twice.error(0.9, 6.0) == pytest.approx(own.error(0.9, 6.0), rel=1e-12)
    between = np.square(shares.mean(1) - shares.mean()).sum()
    assert_allclose(own.error(0.9, 6.0), np.sqrt((0.09 / 2 + between) / 6 / 6), rtol=1e-12)


@pytest.fixture(scope="module")
def fit():
    return linear_fit().fit


def test_windows_of_three_leads_calibrate(fit):
    times = 7.0 + 0.2 * np.arange(25)
    values = tiny_fields(times - 7.0, np.random.default_rng(4))
    record = Trajectories(times, values[None])
    found = fit.calibrated(record.cut(4, 3)).calibration
    assert_allclose(found.leads, [0.2, 0.4, 0.6], rtol=1e-9)
    assert np.shape(found.coverage) == np.shape(found.spread_skill) == (len(found.scales), 3)
    assert found.windows == pytest.approx(1 + 7 * 3 / 4)  # their ends are shared


def test_windows_at_irregular_times_of_their_own_calibrate(fit):
    rng = np.random.default_rng(5)
    rows = [np.sort(rng.uniform(0, 0.4, size=n)) for n in (4, 5, 1, 5)]
    values = [tiny_fields(t, rng) for t in rows]
    for v in values:
        v[1:][rng.uniform(size=v[1:].shape) < 0.3] = np.nan
    found = fit.calibrated(Trajectories(rows, values, missing="mask")).calibration
    assert found.windows == 3  # a single snapshot is no window
    assert len(found.leads) <= 4
    assert 0.1 < found.scale < 5.6
    with pytest.raises(ValueError, match="validation: single snapshots"):
        fit.calibrated(Trajectories(rows[2:3], values[2:3], missing="mask"))
