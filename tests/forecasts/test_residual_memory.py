"""What initial fields leave of themselves in later ones: measured, and in forecasts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from linear_fits import SCALE, linear_fit
from problems import NUM_POINTS, tiny_data, tiny_grid, tiny_model, tiny_pair
from torch.testing import assert_close

import pyro_msde
from pyro_msde import Fit, Trajectories
from pyro_msde.data import Metadata, Scaling, Segments
from pyro_msde.forecasts import ResidualMemory, posterior_predictive, residual_memory
from pyro_msde.guides import AmortizedGP
from pyro_msde.likelihoods import FieldNormal, can_be_moved, laplace, moved, student

pytestmark = pytest.mark.usefixtures("long_steps")

LAGS = torch.tensor([0.1, 0.2, 0.5], dtype=torch.float64)
MEMORY = ResidualMemory(LAGS, torch.tensor([[0.9, 0.5, 0.1]], dtype=torch.float64))
TIMES = np.array([0.0, 0.3, 0.45, 0.6])  # horizon 3: 0, .1, .15 and .2 of it


def autoregression(rows, count, keeps, white, rng):
    """Fields (row, time, 1, point) of variance one: a share of white noise, and what lasts."""
    e = rng.standard_normal((rows, count, 1, NUM_POINTS))
    for i in range(1, count):
        e[:, i] = keeps * e[:, i - 1] + np.sqrt(1 - keeps**2) * e[:, i]
    return np.sqrt(1 - white) * e + np.sqrt(white) * rng.standard_normal(e.shape)


def test_the_correlation_of_an_autoregression_with_a_nugget_is_found():
    """ρ(k) = .75 × .8ᵏ. Of 36 000 numbers: standard errors .01 to .02, false alarms below 1e-4."""
    e = autoregression(3, 400, 0.8, 0.25, np.random.default_rng(0))
    fit = linear_fit().fit
    clock = torch.arange(400, dtype=torch.float64) * 0.01
    segments = Segments([clock] * 3, [torch.as_tensor(v) for v in e], length=7)
    found = residual_memory(fit.model, fit.guide, segments)
    assert_close(found.lags[:4], 0.01 * torch.arange(1, 5, dtype=torch.float64))
    expected = 0.75 * 0.8 ** (found.lags / 0.01)
    assert (found.correlation[0] - expected).abs().max() < 0.08
    assert (found.correlation[0] - expected)[:5].abs().max() < 0.05


def test_white_noise_has_none():
    e = autoregression(3, 400, 0.8, 1.0, np.random.default_rng(1))
    fit = linear_fit().fit
    clock = torch.arange(400, dtype=torch.float64)
    segments = Segments([clock] * 3, [torch.as_tensor(v) for v in e], length=7)
    assert residual_memory(fit.model, fit.guide, segments) is None


def test_between_lags_it_is_linear_and_beyond_them_it_dies_down():
    at = torch.tensor([[0.0, 0.05, 0.15], [0.35, 0.5, 1.0]], dtype=torch.float64)
    expected = torch.tensor([[0.9, 0.9, 0.7], [0.3, 0.1, 0.1 * np.exp(-1)]], dtype=torch.float64)
    assert_close(MEMORY.at(at), expected[..., None])


def decoded(linear, paths):
    """μ_y (sample, batch, time, point) of latent paths, by matrices."""
    return paths.flatten(0, 1).double().numpy() @ linear.H.T


def test_forecasts_are_those_of_the_residual_given_its_first_value():
    linear = linear_fit(adjustments=(MEMORY,))
    y0 = np.random.default_rng(2).standard_normal((2, NUM_POINTS))
    fc = linear.fit.predict(y0, TIMES, num_samples=5)
    mean = decoded(linear, fc.paths)
    rho = np.array([0.9, 0.9, 0.7, 0.5])[:, None]
    left = y0 / SCALE - mean[:, :, 0]
    each = mean + rho * left[:, :, None]
    assert_close(fc.mean.numpy(), SCALE * each.mean(0), rtol=1e-9, atol=1e-12)
    expected = SCALE**2 * each.var(0, ddof=1)
    assert_close(fc.propagated_var.numpy(), expected, rtol=1e-6, atol=1e-12)
    var = SCALE**2 * (1 - rho**2) * linear.var
    found = fc.reconstruction_var.numpy()
    np.testing.assert_allclose(found, np.broadcast_to(var, found.shape), rtol=1e-9)


def test_where_nothing_is_forgotten_every_path_starts_at_the_initial_field():
    certain = ResidualMemory(LAGS, torch.ones(1, 3, dtype=torch.float64))
    fit = linear_fit(adjustments=(certain,)).fit
    y0 = np.random.default_rng(3).standard_normal(NUM_POINTS)
    fc = fit.predict(y0, TIMES)
    assert_close(fc.mean[0].numpy(), y0)
    assert float(fc.sd[0].max()) < 1e-6


def test_gaps_of_the_initial_field_leave_nothing():
    known = Metadata.of(tiny_data(missing="mask"))
    linear = linear_fit(adjustments=(MEMORY,), metadata=known)
    y0 = np.random.default_rng(4).standard_normal(NUM_POINTS)
    y0[[3, 4, 11]] = np.nan
    with_memory, without = (
        f.predict(y0, TIMES, num_samples=64) for f in (linear.fit, linear.fit.without("memory"))
    )
    gaps = np.isnan(y0)
    assert_close(with_memory.mean[:, gaps], without.mean[:, gaps])
    assert_close(with_memory.sd[:, gaps], without.sd[:, gaps])
    assert (with_memory.sd[:, ~gaps] < without.sd[:, ~gaps]).all()


def test_several_snapshots_leave_the_last_ones_residual():
    linear = linear_fit(adjustments=(MEMORY,))
    y = np.random.default_rng(5).standard_normal((3, NUM_POINTS))
    times0 = np.array([-0.6, -0.3, 0.0])
    fc, without = (
        f.predict(y, TIMES, times0=times0, num_samples=8)
        for f in (linear.fit, linear.fit.without("memory"))
    )
    mean = decoded(linear, without.paths)
    rho = np.array([0.9, 0.9, 0.7, 0.5])[:, None]
    each = mean + rho * (y[-1] / SCALE - mean[:, :, 0])[:, :, None]
    assert_close(fc.mean.numpy(), SCALE * each.mean(0)[0], rtol=1e-6, atol=1e-9)


def test_channels_remember_each_by_themselves():
    grid = tiny_grid(2)
    model = tiny_model(0, grid=grid)
    memory = ResidualMemory(LAGS, torch.tensor([[0.0] * 3, [0.5] * 3], dtype=torch.float64))
    fit = Fit(model, AmortizedGP(model), Scaling((1.0, 2.0), 3.0), has_channel=True)
    y0 = np.random.default_rng(6).standard_normal((2, NUM_POINTS))
    fc, without = (f.predict(y0, TIMES, num_samples=2) for f in (fit.adjusted(memory), fit))
    assert_close(fc.mean[:, 0], without.mean[:, 0])
    change = (fc.mean - without.mean)[0, 1].double().numpy()
    assert_close(change, 0.5 * (y0[1] - without.mean[0, 1].numpy()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("law", [FieldNormal, laplace, student])
def test_laws_are_moved_by_mean_and_standard_deviation(law):
    mean, var = torch.randn(2, 3, 4), torch.rand(3, 4) + 0.5
    shift, factor = torch.randn(2, 3, 4), torch.rand(2, 3, 4)
    before = law(mean, var)
    after = moved(before, shift, factor)
    assert can_be_moved(before)
    assert type(after) is type(before)
    assert_close(after.mean, mean + shift)
    assert_close(after.variance, var * factor**2)


def test_laws_of_ones_own_are_left_as_they_are():
    class Own(torch.distributions.Gumbel):
        pass

    law = Own(torch.zeros(3), torch.ones(3))
    assert not can_be_moved(law)
    with pytest.raises(TypeError, match="Own has no location and scale"):
        moved(law, torch.zeros(3), torch.ones(3))


def test_a_fit_measures_it_and_saves_it(tmp_path):
    """Of fields with a pattern that no state holds, and that stays."""
    data = tiny_data()
    pattern = 0.3 * np.random.default_rng(7).standard_normal(NUM_POINTS)
    signs = (1, -1, 1)
    data = Trajectories(
        data.times, [v + s * pattern for v, s in zip(data.values, signs, strict=True)]
    )
    options = {"steps": 3, "length": 5, "stride": 1, "progress": False, "jackknife": False}
    fit = pyro_msde.fit(*tiny_pair(0), data, checkpoint=tmp_path, reference=None, **options)
    memory = fit.adjustment("memory")
    assert float(memory.correlation[0, 0]) > 0.5
    again = tiny_pair(0)
    loaded = pyro_msde.load(tmp_path, *again)
    assert_close(loaded.adjustment("memory").correlation, memory.correlation)
    assert_close(loaded.adjustment("memory").lags, memory.lags)
    y0 = data.values[0][0]
    assert_close(loaded.predict(y0, [0.1]).mean, fit.predict(y0, [0.1]).mean)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lags": torch.tensor([0.2, 0.1, 0.5])}, "lags: not a row of increasing"),
        ({"lags": torch.tensor([0.0, 0.1, 0.5])}, "lags: not a row of increasing"),
        ({"lags": torch.tensor([0.1, 0.2, torch.inf])}, "lags: not a row of increasing"),
        ({"lags": torch.tensor(0.1)}, "lags: not a row of increasing"),
        ({"correlation": torch.ones(2, 3)}, "correlation: .*not of this grid"),
        ({"correlation": 1.1 * torch.ones(1, 3)}, "correlation: not between"),
        ({"correlation": torch.nan * torch.ones(1, 3)}, "correlation: not between"),
        ({"more": 1.0}, "memory: holds"),
    ],
)
def test_what_was_saved_has_to_make_sense(changes, message):
    with pytest.raises(ValueError, match=message):
        ResidualMemory.from_dict({**MEMORY.to_dict(), **changes}, tiny_model(0))


@pytest.mark.parametrize("stays", [True, False])
def test_validation_decides_whether_it_is_kept(stays):
    """Of a pattern that stays in training; in validation data it stays, or turns at once."""
    data = tiny_data()
    pattern = 3.0 * np.random.default_rng(7).standard_normal(NUM_POINTS)

    def with_pattern(turn):
        signs = [np.where(np.arange(len(v)) > 0, turn, 1)[:, None] for v in data.values]
        values = [v + pattern * sign for v, sign in zip(data.values, signs, strict=True)]
        return Trajectories(data.times, values)

    options = {"steps": 3, "length": 5, "stride": 1, "progress": False, "jackknife": False}
    fit = pyro_msde.fit(
        *tiny_pair(0),
        with_pattern(1),
        validation=with_pattern(1 if stays else -1),
        reference=None,
        **options,
    )
    assert (fit.adjustment("memory") is not None) == stays


def test_large_forecasts_are_decoded_without_holding_all_residuals(monkeypatch):
    fit = linear_fit(adjustments=(MEMORY,)).fit
    y0 = np.random.default_rng(8).standard_normal((2, NUM_POINTS))
    expected = fit.predict(y0, TIMES, num_samples=5).mean
    monkeypatch.setattr(posterior_predictive, "_KEEP", 0)
    monkeypatch.setattr(posterior_predictive, "_CHUNK", 1)
    assert_close(fit.predict(y0, TIMES, num_samples=5).mean, expected)


def test_trajectories_of_other_lengths_and_samplings_have_one_row_of_lags():
    """A short, coarse one and a long, fine one of the same autoregression, e^{−τ/.05}."""
    rng = np.random.default_rng(9)
    fine = autoregression(1, 400, np.exp(-0.01 / 0.05), 0.0, rng)[0]
    coarse = autoregression(1, 8, np.exp(-0.1 / 0.05), 0.0, rng)[0]
    fit = linear_fit().fit
    clocks = [torch.arange(n, dtype=torch.float64) * dt for n, dt in ((400, 0.01), (8, 0.1))]
    fields = [torch.as_tensor(e) for e in (fine, coarse)]
    found = residual_memory(fit.model, fit.guide, Segments(clocks, fields, length=5))
    assert (torch.diff(found.lags) > 0).all()
    expected = torch.exp(-found.lags / 0.05)
    assert (found.correlation[0] - expected)[:8].abs().max() < 0.1
    ResidualMemory.from_dict(found.to_dict(), fit.model)


def test_lags_without_pairs_have_what_others_say():
    """Halves of the field that are seen in turn: only even lags have pairs."""
    rng = np.random.default_rng(10)
    e = np.repeat(rng.standard_normal((1, 1, NUM_POINTS)), 60, 0)  # it never changes
    seen = (np.arange(60)[:, None, None] + (np.arange(NUM_POINTS) > 14)) % 2 == 0
    fit = linear_fit().fit

    class Gappy:
        observed = torch.as_tensor(seen)
        dtype = torch.float64

        def __len__(self):
            return 60

        def __getitem__(self, index):
            return torch.as_tensor(np.where(seen, e, 0.0))[index]

    clock = torch.arange(60, dtype=torch.float64) * 0.01
    segments = Segments([clock], [Gappy()], length=5)
    found = residual_memory(fit.model, fit.guide, segments)
    assert found is not None
    assert float(found.correlation.min()) > 0.2
    assert found.lags[0] == pytest.approx(0.02)
