"""What the user's units are changes nothing but units: forecasts and scores at any scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussian_forecasts import Gaussian
from named_fields import HORIZON, SCALE, TIMES, named_data, plane_data, plane_fit
from numpy.testing import assert_allclose
from problems import tiny_data, tiny_pair
from torch.testing import assert_close

import pyro_msde
from pyro_msde import Fit, Trajectories, fit
from pyro_msde.data import Scaling
from pyro_msde.interface.validation import validation_score

# in float32 squares overflow beyond 1.8e19, and vanish below 1e-23
FACTORS = {torch.float32: (2.0**66, 2.0**-77, 2.0**98), torch.float64: (2.0**330, 2.0**-330)}
QUICK = {"steps": 3, "length": 7, "stride": 1, "num_nodes": 5, "progress": False}


def forecast_at(factor, dtype):
    """An untrained fit's forecast of data in other units, and these data in float64."""
    data = named_data()
    values = [v.astype(np.float64) * factor for v in data.values]
    truth = Trajectories(TIMES, values)
    model, guide = tiny_pair(2)
    result = Fit(model.to(dtype), guide.to(dtype), Scaling((SCALE * factor,), HORIZON))
    return result.predict(np.stack([v[0] for v in values]), TIMES, num_samples=30), truth


def test_forecasts_in_other_units_are_the_same(dtype):
    """Powers of two divide and multiply without rounding, so all bits agree."""
    fc, _ = forecast_at(1.0, dtype)
    for factor in FACTORS[dtype]:
        other, truth = forecast_at(factor, dtype)
        assert other.mean.dtype == other.sd.dtype == other.quantile(0.9).dtype == dtype
        for name in ("mean", "sd", "latent"):
            first, second = getattr(fc, name), getattr(other, name)
            if name == "latent":  # the microscale has no units
                first, second = first[..., :5], second[..., :5]
            assert torch.equal(second, first * factor)
        assert torch.equal(other.quantile(0.9), fc.quantile(0.9) * factor)
        assert torch.equal(next(other.chunks())[1], next(fc.chunks())[1] * factor)
        for name in ("var", "reconstruction_var", "propagated_var", "parameter_var"):
            first, second = getattr(fc, name), getattr(other, name)
            assert second.dtype == torch.float64
            assert torch.equal(second, first * factor**2)
        y = np.stack(truth.values)
        assert torch.equal(other.cdf(y), fc.cdf(y / factor))


def test_the_root_of_the_variance_is_the_standard_deviation():
    fc, _ = forecast_at(1e20, torch.float32)
    assert_close(fc.sd.double(), fc.var.sqrt(), rtol=1e-6, atol=0)  # float32
    assert 1e38 < float(fc.var.mean()) < 1e40


def test_scores_in_other_units_are_the_same(dtype):
    fc, truth = forecast_at(1.0, dtype)
    reports = {}
    for factor in (1.0, *FACTORS[dtype]):
        other, y = forecast_at(factor, dtype)
        for score in (pyro_msde.nrmse, pyro_msde.coverage, pyro_msde.spread_skill, pyro_msde.pit):
            assert np.array_equal(score(other, y), score(fc, truth))
        assert np.array_equal(pyro_msde.crps(other, y), factor * pyro_msde.crps(fc, truth))
        reports[factor] = pyro_msde.calibration(other, y, levels=(0.5, 0.9), bins=2)
    first = reports.pop(1.0)
    for factor, report in reports.items():
        for name, power in (
            ("coverage", 0),
            ("pit", 0),
            ("crps", 1),
            ("energy", 1),
            ("winkler", 1),
            ("variance", 2),
            ("squared_error", 2),
        ):
            expected = getattr(first, name) * factor**power
            assert np.array_equal(getattr(report, name), expected), name
        assert np.array_equal(report.spread_skill, first.spread_skill)
        for name in ("truth", "mean", "draws"):
            own, before = getattr(report.power, name), getattr(first.power, name)
            assert_allclose(own / factor**2, before, rtol=1e-12)  # of the FFT's rounding


def test_log_densities_are_of_the_units():
    """log p(f y) = log p(y) − log f at each point, of two channels with scales of their own."""
    data = plane_data()
    values = data.values[0][None].astype(np.float64)
    factor = np.array([1e25, 1e-25]).reshape(2, 1, 1)
    plain, scaled = plane_fit(), plane_fit()
    channels = tuple(np.asarray(plain.scaling.channels) * factor.ravel())
    scaled = replace(scaled, scaling=Scaling(channels, HORIZON))
    first = plain.to_arviz(data, num_samples=4, log_likelihood=True)
    second = scaled.to_arviz(
        Trajectories(data.times, values * factor), num_samples=4, log_likelihood=True
    )
    volume = 12 * 18 * np.log(factor).sum()
    for kind in ("", "_forecast"):
        before = np.asarray(first["log_likelihood"][f"w{kind}"])
        after = np.asarray(second["log_likelihood"][f"u{kind}"])
        assert_allclose(after + volume, before, rtol=1e-4)  # sums of 432 float32 numbers


def test_training_in_other_units():
    """float32 model, float64 data: the log likelihood but for its units, and forecasts."""
    plain = tiny_data(sizes=(21, 21))
    found = []
    for f in (1.0, 1e20, 1e-29):
        data = Trajectories(plain.times, [v.astype(np.float64) * f for v in plain.values])
        result = fit(*tiny_pair(2), data, **QUICK)
        nats = result.history.terms["log_likelihood"][-1] + 42 * 30 * np.log(f)
        fc = result.predict(data.values[0][0], data.times[0], num_samples=8, max_step=0.05)
        found.append((nats, fc.mean.double() / f, fc.sd.double() / f))
    for other in found[1:]:
        # float32, through three steps of Adam
        assert other[0] == pytest.approx(found[0][0], rel=1e-4)
        assert_close(other[1:], found[0][1:], rtol=1e-3, atol=1e-4)


def test_validation_in_other_units():
    data = tiny_data(sizes=(5, 5))
    times, values = data.times, [v.astype(np.float64) for v in data.values]
    pairs = []
    for factor in (1.0, 1e20, 1e-29):
        own = Fit(*tiny_pair(2), Scaling((factor,), 80.0))
        pairs.append(validation_score(own, Trajectories(times, [v * factor for v in values])))
    assert_allclose(pairs[1:], pairs[0], rtol=1e-5)  # float32


def test_a_snapshot_of_zeros_leaves_the_validation_score_finite():
    """√(mean ‖error‖² / mean ‖y‖²) of each; one that is zero throughout against the scale."""
    data = tiny_data(sizes=(5, 5, 5))
    values = [v.copy() for v in data.values]
    values[0][3] = 0.0
    values[2][:] = 0.0
    truth = Trajectories(data.times, values)
    result = Fit(*tiny_pair(2), Scaling((SCALE,), 80.0))
    found = validation_score(result, truth)
    y = np.stack(values).astype(np.float64)
    fc = result.predict(y[:, 0], data.times[0], num_samples=16, max_step=80.0 / 250)
    error = np.square(fc.mean.numpy() - y).mean((1, 2))
    size = np.append(np.square(y[:2]).mean((1, 2)), SCALE**2)
    assert found == pytest.approx(float(np.sqrt(error / size).mean()), rel=1e-5)  # float32


def test_float64_holds_what_float32_cannot():
    plain = tiny_data(sizes=(21, 21))
    for factor in (1e40, 1e-90):
        data = Trajectories(plain.times, [v.astype(np.float64) * factor for v in plain.values])
        with pytest.raises(ValueError, match=r"the field has .* float32 has room for .*float64"):
            fit(*tiny_pair(2), data, **QUICK)
        result = fit(*tiny_pair(2), data, dtype=torch.float64, **QUICK)
        y0 = np.stack([v[0] for v in data.values])
        fc = result.predict(y0, data.times[0], num_samples=8, max_step=0.05)
        assert 0 < float(fc.sd.mean()) / factor < 10
        assert (pyro_msde.nrmse(fc, data) < 10).all()


def test_beyond_every_dtype_other_units_are_asked_for():
    data = Trajectories([0.0, 0.1, 0.2], np.full((1, 3, 30), 1e200))
    message = r"root mean square of 1e\+200, but float64 has .* to 1e\+100\. Change its units\.$"
    with pytest.raises(ValueError, match=message):
        fit(*tiny_pair(2), data, dtype=torch.float64, **QUICK)
    covariates = np.array([[1e200], [1e180]])  # of trajectories have no such limits
    scaling = Scaling.of([np.ones((2, 1, 3))], 1.0, covariates)
    scaled = scaling.scaled_covariates(torch.as_tensor(covariates))
    assert_close(scaled.square().mean(0), torch.ones(1, dtype=torch.float64))


# what is not finite has no score


def gaussian(mean, sd):
    return Gaussian(np.arange(4.0), torch.as_tensor(mean), torch.as_tensor(sd), samples=50)


@pytest.mark.parametrize("score", ["nrmse", "coverage", "crps", "spread_skill", "pit"])
@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("what", ["mean", "sd"])
def test_a_forecast_that_is_not_finite_has_no_score(score, bad, what):
    fields = {"mean": np.ones((2, 4, 5)), "sd": np.ones((2, 4, 5))}
    fields[what][1, 2, 3] = bad
    fc = gaussian(**fields)
    if (score, what) == ("nrmse", "sd"):
        assert np.isfinite(pyro_msde.nrmse(fc, np.zeros((2, 4, 5)) + 0.5)).all()
        return
    with pytest.raises(ValueError, match=r"fc: its .* is NaN or infinite in trajectory 1 at t=2"):
        getattr(pyro_msde, score)(fc, np.zeros((2, 4, 5)) + 0.5)


def test_neither_error_nor_spread():
    fc = gaussian(np.ones((2, 4, 5)), np.zeros((2, 4, 5)))
    y = np.ones((2, 4, 5))
    with pytest.raises(ValueError, match="fc: trajectory 0 neither errs nor spreads"):
        pyro_msde.spread_skill(fc, y)
    spreads = gaussian(np.ones((2, 4, 5)), np.ones((2, 4, 5)))
    assert np.isinf(pyro_msde.spread_skill(spreads, y)).all()  # the mean is exact


def test_nrmse_needs_no_squares_that_a_number_holds():
    fc = gaussian(np.full((2, 4, 5), 1.25e-170), np.ones((2, 4, 5)))
    assert_allclose(pyro_msde.nrmse(fc, np.full((2, 4, 5), 1e-170)), 0.25, rtol=1e-12)
    fc = gaussian(np.full((2, 4, 5), 1.25e170), np.full((2, 4, 5), 5e170))
    assert_allclose(pyro_msde.nrmse(fc, np.full((2, 4, 5), 1e170)), 0.25, rtol=1e-12)
    assert_allclose(pyro_msde.spread_skill(fc, np.full((2, 4, 5), 1e170)), 20.0, rtol=1e-12)
