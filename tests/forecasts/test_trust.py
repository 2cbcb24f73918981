"""Signs that a forecast is not to be trusted, against numpy and closed forms."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from linear_fits import HORIZON, SCALE, linear_fit
from numpy.testing import assert_allclose
from problems import NUM_COARSE, tiny_data, tiny_pair
from torch.distributions import Normal

from pyro_msde import Ensemble, Fit, Trajectories, fit, load
from pyro_msde.data import Scaling
from pyro_msde.forecasts import (
    Region,
    Trust,
    share_outside,
    start_misfit,
    variance_over_paths,
)
from pyro_msde.forecasts.trust import LIMITS, doubt
from pyro_msde.interface import usual_forecasts

RNG = np.random.default_rng(8)
FEW = {"num_samples": 16, "max_step": 0.03 * HORIZON}
ONE_STEP = {
    "steps": 1,
    "length": 8,
    "stride": 1,
    "num_nodes": 9,
    "progress": False,
    "jackknife": False,
    "warm_start": False,
}
SHORT = 0.1  # of 0.8 that the data last: forecasts take an eighth of the steps


def linear_data(linear, count, seed, times):
    """Trajectories of y = scale (H z + noise), dz = −z dt + √C dβ, from z(0) ~ N(0, C/2)."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        z = [rng.normal(0, np.sqrt(linear.C / 2))]
        for gap in np.diff(times) / HORIZON:
            noise = np.sqrt(linear.C * (1 - np.exp(-2 * gap)) / 2)
            z.append(np.exp(-gap) * z[-1] + noise * rng.normal(size=len(linear.C)))
        y = np.array(z) @ linear.H.T
        rows.append(SCALE * (y + np.sqrt(linear.var) * rng.normal(size=y.shape)))
    return Trajectories(times, np.array(rows))


@pytest.fixture(scope="module")
def linear():
    return linear_fit()


@pytest.fixture(scope="module")
def times():
    return np.linspace(0, HORIZON, 13)


@pytest.fixture(scope="module")
def known(linear, times):
    trust = usual_forecasts(linear.fit, linear_data(linear, 8, 0, times))
    return linear.fit.adjusted(trust)


class Factor:
    """An adjustment: a multiple of the drift."""

    name = "factor"
    is_random = False

    def __init__(self, factor):
        self.factor = factor

    def apply(self, dynamics):
        drift = dynamics.drift
        return replace(dynamics, drift=lambda z, t, **fixed: self.factor * drift(z, t, **fixed))


def test_states_outside_are_counted():
    box = np.stack([np.full(5, -2.0), np.full(5, 2.0)])  # of data in [−1, 1]
    paths = RNG.normal(size=(2, 3, 4, 6, 5))
    found = share_outside(torch.tensor(paths), torch.tensor(box))
    assert_allclose(found, (np.abs(paths) > 1).mean((0, 1, 3, 4)), rtol=1e-12)


def test_the_misfit_of_a_start_is_in_variances_of_what_was_observed():
    y, mean = RNG.normal(size=(2, 3, 1, 7))
    sd = RNG.uniform(0.5, 2.0, size=(3, 1, 7))
    observed = RNG.uniform(size=y.shape) < 0.6
    law = Normal(torch.tensor(mean), torch.tensor(sd))
    squares = ((y - mean) / sd) ** 2
    assert_allclose(start_misfit(law, torch.tensor(y), None), squares.mean((1, 2)))
    expected = np.where(observed, squares, 0).sum((1, 2)) / observed.sum((1, 2))
    assert_allclose(start_misfit(law, torch.tensor(y), torch.tensor(observed)), expected)


def test_the_variance_of_paths_is_over_all_draws():
    paths = RNG.normal(size=(2, 3, 4, 6, 5))
    expected = paths.reshape(6, 4, 6, 5).var(0, ddof=1).mean(1)
    assert_allclose(variance_over_paths(torch.tensor(paths)), expected, rtol=1e-12)
    assert not variance_over_paths(torch.tensor(paths[:1, :1])).any()


def trust_of(states, rates, times, **changes):
    num_latent = states.shape[-1]
    made = Trust(
        1.0,
        0.0,
        torch.ones(num_latent).double(),
        torch.full((num_latent,), 0.04).double(),
        *(torch.tensor(x) for x in (states, rates, times)),
    )
    return replace(made, **changes)


@pytest.mark.parametrize(("duration", "last"), [(9.0, 10), (0.5, 5), (0.0, 1)])
def test_a_drift_that_is_off_by_a_constant_moves_states_in_proportion_to_time(duration, last):
    times = np.tile(np.linspace(1.0, 2.0, 11), (2, 1))
    states, rates = RNG.normal(size=(2, 2, 11, 3))
    off = np.array([0.1, -0.2, 0.3])
    trust = trust_of(states, rates, times)
    moved = trust.departure(torch.tensor(rates + off), duration)
    squares = (off**2).mean() * (0.1 * np.arange(1, last + 1)) ** 2 / 0.04
    assert_allclose(moved, np.sqrt(squares.mean()), rtol=1e-6)  # the variance is of float32


def test_the_drift_is_asked_at_the_states_and_times_it_was_known_at():
    times = np.tile(np.linspace(1.0, 2.0, 11), (2, 1))
    states = RNG.normal(size=(2, 11, 3))
    trust = trust_of(states, states, times, covariates=torch.tensor([[5.0], [7.0]]).double())

    def drift(z, t, covariates):
        assert z.shape == (1, 22, 1, 3)
        return z * t[..., None] + covariates[:, None]

    expected = states * times[..., None] + np.array([5.0, 7.0])[:, None, None]
    assert_allclose(trust.rates_under(drift), expected, rtol=1e-12)


def test_signs_are_one_at_their_limits():
    """These are multiples of a misfit of 2, a share of 0.2, unit variances and the error."""
    paths = torch.zeros(1, 2, 3, 6, 5).double()
    paths[0, 1] = LIMITS["spread"] * 2**0.5
    box = torch.tensor([[-40.0], [40.0]]).expand(2, 5)
    trust = trust_of(*RNG.normal(size=(2, 1, 4, 5)), np.arange(4.0)[None], misfit=2.0, outside=0.2)
    misfit = torch.full((3,), 2 * LIMITS["start"])
    departure = torch.tensor(LIMITS["drift"])
    signs = doubt(trust, paths, box=box, misfit=misfit, departure=departure)
    for name in ("start", "spread", "drift"):
        assert_allclose(signs[name], np.ones(3))
    assert_allclose(signs["outside"], np.zeros(3))
    away = doubt(trust, paths + 30, box=box, misfit=torch.ones(3), departure=None)
    assert_allclose(away["outside"], np.full(3, 5 / LIMITS["outside"]))
    misfit = torch.full((3,), LIMITS["start"])  # of a model that claims 1
    unknown = doubt(None, paths + 30, box=box, misfit=misfit, departure=None)
    assert sorted(unknown) == ["outside", "start"]
    assert_allclose(unknown["start"], np.ones(3))
    assert_allclose(unknown["outside"], np.full(3, 20 / LIMITS["outside"]))


def test_doubt_is_a_share_that_grows_with_the_largest_sign(known, linear, times):
    fc = known.forecast(linear_data(linear, 3, 1, times), **FEW)
    largest = np.max([sign.numpy() for sign in fc.signs.values()], axis=0)
    assert_allclose(fc.diverged, largest / (1 + largest), rtol=1e-12)
    blown = replace(fc, paths=fc.paths.clone().index_fill_(1, torch.tensor([0]), torch.nan))
    assert_allclose(blown.diverged, np.ones(3))
    lost = replace(fc, signs={**fc.signs, "spread": torch.full((3,), torch.nan).double()})
    assert_allclose(lost.diverged, np.ones(3))
    assert fc.diverged.shape == (3,)
    y0 = linear_data(linear, 1, 1, times).values[0][0]
    assert known.predict(y0, times, **FEW).diverged.shape == ()


def test_forecasts_of_the_same_law_are_trusted(known, linear, times):
    fc = known.forecast(linear_data(linear, 60, 2, times), **FEW)
    assert float((fc.diverged > 0.5).double().mean()) <= 0.05
    assert float(fc.signs["drift"].max()) < 1e-6


@pytest.mark.parametrize("factor", [-9.0, 11.0])
def test_a_drift_that_is_not_the_one_learned_is_doubted(known, linear, times, factor):
    fc = known.adjusted(Factor(factor)).forecast(linear_data(linear, 4, 3, times), **FEW)
    assert (fc.diverged > 0.5).all()
    assert (fc.signs["drift"] > 1).all()


def test_initial_fields_unlike_those_known_are_doubted(known, linear, times):
    y0 = np.array([v[0] for v in linear_data(linear, 4, 4, times).values])
    short = SCALE * RNG.normal(size=y0.shape)  # white, which the coarse grid cannot hold
    fc = known.predict(y0 + 2 * short, times, **FEW)
    assert (fc.diverged > 0.5).all()
    assert (fc.signs["start"] > 1).all()


def test_paths_that_spread_more_than_usual_are_doubted(known, linear, times):
    with torch.no_grad():
        wide = known.adjusted(Wide())
    fc = wide.forecast(linear_data(linear, 4, 5, times), **FEW)
    assert (fc.signs["spread"] > 1).all()


class Wide:
    """An adjustment: sixteen times the diffusion."""

    name = "wide"
    is_random = False

    def apply(self, dynamics):
        return replace(dynamics, diffusion=16 * dynamics.diffusion)


def test_a_fit_knows_what_is_usual_and_a_saved_one_still_does(tmp_path):
    pair = tiny_pair(2)
    data = tiny_data((17, 17))
    result = fit(*pair, data, validation=data.until(SHORT), **ONE_STEP)
    result.save(tmp_path)
    saved = load(tmp_path, *pair)
    for name, value in vars(result.adjustment("trust")).items():
        if value is not None:
            assert_allclose(getattr(saved.adjustment("trust"), name), value, rtol=1e-6)
    y0 = data.values[0][0]
    few = {"num_samples": 4, "max_step": 0.02}
    signs = [f.predict(y0, [0.0, SHORT], **few).signs for f in (result, saved)]
    assert sorted(signs[0]) == ["drift", "outside", "spread", "start"]
    for name, sign in signs[0].items():
        assert_allclose(signs[1][name], sign, rtol=1e-4, atol=1e-4)  # rates are of float32


def test_runs_of_earlier_versions_have_fewer_signs():
    model, guide = tiny_pair(0)
    box = torch.tensor([[-1.0], [1.0]]).expand(2, NUM_COARSE)
    old = Fit(model, guide, Scaling((2.0,), 3.0), adjustments=(Region(box),))
    fc = old.predict(tiny_data().values[0][0], [0.0, 0.5], num_samples=4)
    assert sorted(fc.signs) == ["outside", "start"]


def test_without_validation_nothing_is_known_till_the_fit_is_calibrated():
    data = tiny_data((17, 17))
    result = fit(*tiny_pair(0), data, **ONE_STEP)
    assert result.adjustment("trust") is None
    assert result.calibrated(data.until(SHORT)).adjustment("trust") is not None


def test_what_trajectories_of_single_snapshots_say_is_nothing(linear):
    single = Trajectories([0.0], RNG.normal(size=(2, 1, len(linear.var))))
    assert usual_forecasts(linear.fit, single) is None


def test_an_ensemble_has_the_mean_sign_of_its_fits(linear, times):
    fits = [replace(linear_fit().fit) for _ in range(2)]
    data = linear_data(linear, 2, 6, times)
    pooled = Ensemble(fits).forecast(data, **FEW)
    each = [
        f.forecast(data, num_samples=8, max_step=0.03 * HORIZON, seed=k) for k, f in enumerate(fits)
    ]
    for name, sign in pooled.signs.items():
        assert_allclose(sign, np.mean([fc.signs[name].numpy() for fc in each], axis=0), rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"misfit": -1.0}, "trust.misfit"),
        ({"outside": "much"}, "trust.outside"),
        ({"error": None}, "trust: holds"),
        ({"more": 1.0}, "trust: holds"),
        ({"states": torch.zeros(2, 4, 3)}, "trust.states"),
        ({"rates": torch.zeros(2, 4, 4)}, "trust.rates"),
        ({"variance": torch.full((5,), torch.nan)}, "trust.variance: NaN"),
        ({"times": torch.zeros(3)}, "trust"),
        ({"times": torch.zeros(2, 4, dtype=torch.int64)}, "trust.times: no tensor"),
        ({"covariates": torch.zeros(3, 1)}, "trust.covariates"),
    ],
)
def test_numbers_without_sense_are_refused(changes, message):
    zeros = {name: torch.zeros(2, 4, 5) for name in ("states", "rates")}
    saved = {
        "misfit": 1.0,
        "outside": 0.1,
        "variance": torch.ones(5),
        "error": torch.ones(5),
        **zeros,
        "times": torch.zeros(2, 4),
    }
    model = SimpleNamespace(num_latent=5)
    assert Trust.from_dict(saved, model).misfit == 1.0
    spoilt = {name: x for name, x in {**saved, **changes}.items() if x is not None}
    with pytest.raises(ValueError, match=message):
        Trust.from_dict(spoilt, model)
