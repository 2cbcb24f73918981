"""What is subtracted from data is in every output: a constant in the data changes no forecast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from linear_fits import linear_fit
from named_fields import TIMES, named_data, plane_data, plane_fit, untrained_fit
from numpy.testing import assert_allclose, assert_array_equal
from problems import NUM_POINTS, same, tiny_fields, tiny_model
from short_runs import weights_of

from pyro_msde import Cycle, Ensemble, Grid, SavedRunError, Trajectories, fit, load, nrmse
from pyro_msde.data import Reference
from pyro_msde.forecasts import posterior_predictive
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale

CLOCK = 0.05 * np.arange(12)
QUICK = {"length": 5, "stride": 1, "num_nodes": 5, "progress": False, "steps": 2}
SHORT = {"num_samples": 4, "max_step": 0.05}


def waves(count=3, mean=0.3, dtype=np.float64):
    """(trajectory, time, x) fields, of which `count` − 1 are for training."""
    rng = np.random.default_rng(2)
    return mean + np.stack([tiny_fields(CLOCK, rng) for _ in range(count)]).astype(dtype)


def trained(values, boundary="periodic", *, channels=1, seed=3, folder=None, **options):
    """A fit of two steps in float64."""
    grid = Grid(NUM_POINTS, 5, boundary=boundary, channels=channels)
    model = tiny_model(1, grid=grid, seed=seed)
    options = {**QUICK, "jackknife": False, "dtype": torch.float64, **options}
    options["checkpoint"] = folder
    return fit(model, AmortizedGP(model, seed=seed), Trajectories(CLOCK, values), **options)


def forecast(result, y0, times=CLOCK[:4]):
    return result.predict(y0, times, **SHORT)


# a constant


@pytest.mark.parametrize("given", ["channel", "point", Cycle(0.3, 1)])
def test_a_forecast_starts_from_the_training_data_whatever_their_mean(given):
    """A snapshot's size is that of its anomaly, at any phase of a cycle; and is refused by it."""
    y = waves()
    result = trained(y[:2] + 1e5, reference=given)
    fc = forecast(result, y[0, 0] + 1e5)
    assert_allclose(
        fc.mean - 1e5, forecast(trained(y[:2], reference=given), y[0, 0]).mean, atol=1e-6
    )
    with pytest.raises(ValueError, match="y0: its largest value"):
        forecast(result, y[0, 0])


@pytest.mark.parametrize(
    ("boundary", "constants"),
    [("periodic", (280.0, 1e5, -3e4)), ("neumann", (1e5,)), ("replicate", (1e5,))],
)
def test_a_constant_in_the_data_changes_no_forecast(boundary, constants):
    """Anomalies in float64 lose five digits of sixteen beside 1e5; two steps multiply that."""
    y = waves()
    options = {"jackknife": boundary == "periodic"}
    expected = forecast(trained(y[:2], boundary, **options), y[2, 0])
    for constant in constants:
        fc = forecast(trained(y[:2] + constant, boundary, **options), y[2, 0] + constant)
        assert_allclose(fc.mean - constant, expected.mean, rtol=0, atol=1e-7)
        assert_allclose(fc.sd, expected.sd, rtol=1e-6)
        error = nrmse(fc, y[2, :4] + constant)
        assert error == pytest.approx(nrmse(expected, y[2, :4]), rel=1e-6)


def test_without_a_reference_a_constant_does_change_forecasts():
    y = waves()
    high = forecast(trained(y[:2] + 280, reference=None), y[2, 0] + 280)
    assert (high.mean - 280 - forecast(trained(y[:2]), y[2, 0]).mean).abs().max() > 0.1


def test_channels_that_vanish_on_a_wall_are_left_alone():
    y = waves()
    for wall in ("dirichlet", "antisymmetric"):
        alone = trained(y[:2], wall)
        assert not alone.scaling.reference
        assert forecast(alone, y[2, 0]).reference is None
    both = np.stack([y, y + 280], 2)
    boundary = {0: "dirichlet", 1: "neumann"}
    reference = trained(both[:2], boundary, channels=2).scaling.reference
    assert_array_equal(reference.coefficients[0, 0], 0)
    assert_allclose(reference.coefficients[0, 1], both[:2, :, 1].mean(), rtol=1e-12)


def test_float32_data_in_kelvins_are_trained_on_as_anomalies():
    """The same numbers, 280 less, in float64: scaled fields in float32 differ by roundings."""
    kelvins = waves(mean=280.0).astype(np.float32)
    anomalies = kelvins.astype(np.float64) - 280
    options = {"dtype": torch.float32}
    warm = forecast(trained(kelvins[:2], **options), kelvins[2, 0])
    cold = forecast(trained(anomalies[:2], **options), anomalies[2, 0])
    assert warm.mean.dtype == torch.float64  # float32 would round anomalies to 3e-5
    assert_allclose(warm.mean - 280, cold.mean, rtol=0, atol=2e-4)
    assert_allclose(warm.sd, cold.sd, rtol=2e-4)


def test_an_inflow_that_is_subtracted_around_a_solid_changes_no_forecast():
    """One number a channel; what is left suits walls on which it is odd."""
    rng, solid = np.random.default_rng(5), np.zeros((12, 8), bool)
    solid[4:6, 3:5] = True
    ends = ("antisymmetric", "neumann")
    boundary = {0: [ends, "neumann"], 1: [ends, "antisymmetric"]}
    fields = np.where(solid, np.nan, rng.standard_normal((2, 12, 2, 12, 8)))
    inflow, means, sds = np.array([1.0, 0.0]).reshape(2, 1, 1), [], []
    for constant, given in ((0.0 * inflow, None), (inflow, [1.0, 0.0])):
        model = multiscale(
            (12, 8), (6, 4), n_eta=1, channels=2, boundary=boundary, mask=~solid, components=3
        )
        data = Trajectories(CLOCK, fields + constant, missing="mask")
        options = QUICK | {"dtype": torch.float64, "reference": given}
        result = fit(model, AmortizedGP(model), data, **options)
        fc = result.predict(fields[0, 0] + constant, CLOCK[:4], **SHORT)
        means.append(fc.mean.numpy() - constant)
        sds.append(fc.sd.numpy())
    reference = result.scaling.reference.coefficients
    assert_array_equal(reference, inflow[None])
    assert_allclose(means[1], means[0], rtol=0, atol=1e-9)  # roundings beside one
    assert_allclose(sds[1], sds[0], rtol=1e-9)
    assert (np.isnan(means[1]) == solid).all()


@pytest.mark.parametrize("given", ["point", Cycle(0.4, 1), 0.3 + np.sin(np.arange(NUM_POINTS))])
def test_any_reference_and_the_fields_less_it_are_forecast_alike(given):
    """A fit of y with r, and one of y − r with none: the same steps, the same forecasts."""
    y = waves() + 3 * np.cos(np.arange(NUM_POINTS))
    result = trained(y[:2], reference=given)
    less = y - result.reference_at(CLOCK)
    other = trained(less[:2], reference=None)
    times = CLOCK[2:6]
    fc = result.predict(y[2, 2], times, **SHORT)
    expected = other.predict(less[2, 2], times, **SHORT)
    assert_allclose(fc.mean, expected.mean.numpy() + result.reference_at(times), rtol=0, atol=1e-8)
    assert_allclose(fc.sd, expected.sd, rtol=1e-7)


def test_a_labelled_reference_is_read_by_its_positions():
    y, x = waves(2), np.arange(NUM_POINTS) / NUM_POINTS
    field = xr.DataArray(y, dims=("trajectory", "time", "x"), coords={"time": CLOCK, "x": x})
    data = Trajectories.from_xarray(field.assign_attrs(units="K"), "u")
    r = (field.isel(x=slice(None, None, -1)) + 1).mean(("trajectory", "time"))
    model = tiny_model(1, grid=Grid(NUM_POINTS, 5), seed=3)
    result = fit(model, AmortizedGP(model, seed=3), data, reference=r, jackknife=False, **QUICK)
    assert_allclose(result.reference_at(0.0), y.mean((0, 1)) + 1, rtol=1e-12)
    with pytest.raises(ValueError, match=r"reference: values in 'degC', .* have u in 'K'"):
        fit(model, AmortizedGP(model), data, reference=r.assign_attrs(units="degC"), **QUICK)


def test_a_channel_that_never_changes_is_trained_on_at_the_references_scale():
    y = np.stack([waves(), np.full((3, len(CLOCK), NUM_POINTS), 280.0)], 2)
    result = trained(y[:2], "neumann", channels=2)
    assert_allclose(result.scaling.channels[1], 280.0, rtol=1e-12)
    fc = forecast(result, y[2, 0])
    assert fc.mean.isfinite().all()
    assert fc.sd.isfinite().all()


# every output


def with_reference(result, coefficients, period=None):
    scaling = replace(result.scaling, reference=Reference(coefficients, period))
    return replace(result, scaling=scaling)


def pairs():
    """A fit without a reference, fields, times, coefficients and a period; one and two channels."""
    rng = np.random.default_rng(5)
    plane, fields = plane_fit(), plane_data()
    yield untrained_fit(), named_data(2), 280 + rng.normal(size=(3, 1, 30)), 0.8
    yield plane, fields, np.array([280.0, -40.0]).reshape(1, 2, 1, 1), None
    yield plane, fields, 280 + rng.normal(size=(1, 2, 12, 18)), None


@pytest.mark.parametrize("case", range(3), ids=["cycle", "channel", "point"])
@pytest.mark.parametrize("batched", [True, False], ids=["batch", "single"])
def test_every_output_has_the_reference_back(case, batched):
    """States are float32's: equal but for roundings of fields of size one."""
    plain, data, coefficients, period = list(pairs())[case]
    fit_ = with_reference(plain, coefficients, period)
    times = data.times[0]
    r = torch.as_tensor(fit_.reference_at(times))
    y = torch.as_tensor(np.stack(data.values)).double()
    start = y[:, 0] if batched else y[0, 0]
    expected = plain.predict(start, times, num_samples=6)
    fc = fit_.predict(start + r[0], times, num_samples=6)
    near = {"rtol": 0, "atol": 2e-4}
    assert fc.mean.dtype == torch.float64
    assert fc.shape == expected.shape
    assert_allclose(fc.mean, expected.mean + r, **near)
    assert_allclose(fc.quantile(0.9), expected.quantile(0.9) + r, **near)
    for name in ("sd", "reconstruction_var", "propagated_var", "parameter_var", "latent"):
        assert_allclose(getattr(fc, name), getattr(expected, name), rtol=2e-3, atol=2e-4)
    truth = y if batched else y[0]
    assert_allclose(fc.cdf(truth + r), expected.cdf(truth), rtol=0, atol=2e-3)
    draws, others = (torch.cat([d for _, d in f.chunks(4)], 1 + batched) for f in (fc, expected))
    assert_allclose(draws, others + r, **near)
    for law, other in zip(fc.mixtures(), expected.mixtures(), strict=True):
        part = r[law.where] if len(r) > 1 else r
        assert_allclose(law.mean, other.mean + part, **near)
        target = y[: len(law.mean), law.where]
        found, wanted = law.log_density(target + part), other.log_density(target)
        assert_allclose(found, wanted, rtol=2e-3, atol=2e-2)


def test_chunks_of_time_have_the_cycle_of_their_times(monkeypatch):
    _, data, coefficients, period = next(pairs())
    fit_ = with_reference(untrained_fit(), coefficients, period)
    whole = fit_.predict(data.values[0][0] + 280, TIMES, num_samples=4)
    mean, high = whole.mean, whole.quantile(0.9)
    monkeypatch.setattr(posterior_predictive, "_CHUNK", 4 * NUM_POINTS * 2)
    parts = fit_.predict(data.values[0][0] + 280, TIMES, num_samples=4)
    assert len(list(parts.mixtures())) > 2
    assert_array_equal(parts.mean, mean)
    assert_array_equal(parts.quantile(0.9), high)


def test_a_forecast_across_a_season_decays_to_the_cycle():
    """dz = −z dt in units of the horizon, without noise: y = r(t) + S(t) (y₀ − r(t₀))."""
    linear = linear_fit()
    with torch.no_grad():
        linear.fit.model.diffusion.net.log_value.fill_(-60)
        linear.fit.guide.node_variance.log_value.fill_(-60)
    rng = np.random.default_rng(8)
    coefficients = 280 + rng.normal(size=(5, 1, NUM_POINTS))
    fit_ = with_reference(linear.fit, coefficients, period=2.3)
    t0, times = 4.1, 4.1 + np.array([0.0, 0.6, 1.2, 2.3, 5.0])
    y0 = 280 + rng.normal(size=NUM_POINTS)
    fc = fit_.predict(y0, times, t0=t0, num_samples=2)

    def cycle(t):
        angle = 2 * np.pi * t / 2.3
        waves = [1, np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle)]
        return sum(c * w for c, w in zip(coefficients[:, 0], waves, strict=True))

    z0 = linear.E @ (y0 - cycle(t0))
    decay = np.exp(-(times - t0) / fit_.scaling.time)
    expected = [cycle(t) + d * linear.H @ z0 for t, d in zip(times, decay, strict=True)]
    # the floor of 1e-10 under variances; the midpoint rule at steps of a thousandth errs by 1e-7
    assert_allclose(fc.mean, expected, rtol=0, atol=2e-4)
    assert np.abs(fc.mean.numpy() - expected[0]).max() > 1


# kept


@pytest.mark.parametrize("given", ["point", Cycle(0.4, 2)])
def test_it_is_saved_loaded_and_pooled(given, tmp_path):
    y = waves(mean=280.0)
    first = trained(y[:2], reference=given)
    first.save(tmp_path / "one")
    model = tiny_model(1)
    found = load(tmp_path / "one", model, AmortizedGP(model))
    assert found.scaling == first.scaling
    times = CLOCK[3:7]
    expected = first.predict(y[2, 3], times, **SHORT)
    assert_array_equal(found.predict(y[2, 3], times, **SHORT).mean, expected.mean)
    second = trained(y[:2], seed=4, reference=given)
    pooled = Ensemble([first, second]).predict(y[2, 3], times, **SHORT | {"num_samples": 8})
    both = [f.predict(y[2, 3], times, **SHORT, seed=k) for k, f in enumerate((first, second))]
    assert_allclose(pooled.mean, (both[0].mean + both[1].mean) / 2, rtol=1e-12)
    other = trained(y[:2] + 1, seed=5, reference=given)
    with pytest.raises(ValueError, match="fits: number 1 "):
        Ensemble([first, other])


def test_a_checkpoint_goes_on_with_its_reference_only(tmp_path):
    y = waves(mean=280.0)
    options = {"reference": Cycle(0.4, 1)}
    whole = trained(y[:2], folder=tmp_path, **options)
    again = trained(y[:2], folder=tmp_path, **options)
    assert same(weights_of(again), weights_of(whole))
    assert again.scaling == whole.scaling
    for other in ("point", Cycle(0.4, 2), Cycle(0.5, 1), None):
        match = "has reference=.* here None" if other is None else "has another reference"
        with pytest.raises(SavedRunError, match=match):
            trained(y[:2], folder=tmp_path, reference=other)


@pytest.mark.parametrize("given", ["mean", np.zeros(7), np.full(NUM_POINTS, np.nan)])
def test_fit_refuses_what_is_no_reference(given):
    with pytest.raises(ValueError, match=r"^reference"):
        trained(waves()[:2], reference=given)
