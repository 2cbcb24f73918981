"""Fits with `link="log"`: forecasts that are never negative, wherever they go from there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import same, tiny_data, tiny_model, tiny_pair
from short_runs import QUICK, weights_of

import pyro_msde
from pyro_msde import Ensemble, Fit, Log, SavedRunError, Trajectories, fit, load, plot
from pyro_msde.data import Metadata, Scaling, linked_scaling, reference_of
from pyro_msde.guides import AmortizedGP
from pyro_msde.inference import Trainer
from pyro_msde.likelihoods import student

pytestmark = pytest.mark.usefixtures("long_steps")

SIZES = (10, 9, 11)


def rain(sizes=SIZES, dry=0.4):
    """A third of the values is zero, and some are missing."""
    rng = np.random.default_rng(5)
    values = [np.maximum(np.exp(v) - dry, 0).astype(v.dtype) for v in tiny_data(sizes).values]
    values = [np.where(rng.random(v.shape) < 0.1, np.nan, v) for v in values]
    units = {"rain": "mm", "time": "day"}
    clock = tiny_data(sizes).times
    return Trajectories(clock, values, name="rain", units=units, missing="mask")


DATA = rain()


def trained(data=DATA, folder=None, **options):
    options = {**QUICK, "steps": 3, "checkpoint": folder, "link": "log", **options}
    return fit(*tiny_pair(1), data, **options)


@pytest.fixture(scope="module")
def result():
    """Of a model that is not trained, with a long horizon, so that forecasts take few steps."""
    fields = DATA.fields(1, (30,))
    plain = Scaling.of(fields, 80.0, reference=reference_of("channel", fields, DATA.times, (True,)))
    scaling = linked_scaling(plain, "log", fields, DATA.times, "channel", (True,))
    model, guide = tiny_pair(1)
    for part in (model.var_zeta, model.var_eta):
        torch.nn.init.zeros_(part.net.log_value)
    return Fit(model, guide, scaling, metadata=Metadata.of(DATA))


def test_forecasts_are_never_negative_and_in_the_users_units(result):
    fc = result.forecast(DATA, num_samples=6)
    draws = torch.cat([part for _, part in fc.chunks()], 2)
    for values in (fc.mean, fc.sd, fc.quantile(0.01), draws, fc.var):
        assert values.min() >= 0
    assert draws.min() == 0
    dry = fc.cdf(torch.zeros(fc.shape))
    assert dry.max() > 0.05
    assert torch.equal(fc.quantile(0.01) == 0, dry >= 0.01)
    assert fc.atoms(torch.zeros(fc.shape)).all()
    one = result.predict(np.nan_to_num(DATA.values[0][0]), DATA.times[0], num_samples=6)
    assert one.atoms(torch.zeros(one.shape)).shape == one.shape
    assert pyro_msde.pit(one, np.zeros(one.shape)).shape == one.shape
    for score in (pyro_msde.nrmse, pyro_msde.crps, pyro_msde.coverage, pyro_msde.skill):
        assert np.isfinite(score(fc, DATA)).all()
    assert pyro_msde.calibration(fc, DATA, bins=2, levels=[0.5], interval=0.5).coverage.size
    table = pyro_msde.compare(result, DATA, DATA, num_samples=4)
    assert np.isfinite(table["rmse"].sel(forecaster="fit")).any()


def test_the_reference_of_scores_is_the_mean_of_the_fields(result):
    """Not that of their logarithm, which would flatter: it errs more."""
    mean = np.nanmean(np.concatenate([v.ravel() for v in DATA.values]))
    np.testing.assert_allclose(result.scaling.reference.coefficients.ravel(), mean, rtol=1e-6)
    seen = result.scaling.link.forward(torch.as_tensor(np.concatenate(DATA.values))[:, None])
    inside = result.scaling.seen.reference.coefficients.item()
    assert inside == pytest.approx(seen.nanmean().item(), rel=1e-6)


def test_the_bound_is_of_fields_in_the_users_units():
    """In units a thousand times smaller each density is a thousandth."""
    data = Trajectories(DATA.times, [1000.0 * v for v in DATA.values], missing="mask")
    own, small = (trained(d, dtype=torch.float64).history for d in (DATA, data))
    count = sum(int(np.isfinite(v).sum()) for v in DATA.values)
    difference = own.terms["log_likelihood"][0] - small.terms["log_likelihood"][0]
    # float32 of the fields, times the number of values
    assert difference == pytest.approx(count * np.log(1000.0), abs=1e-4 * count)


def test_it_is_saved_loaded_resumed_and_pooled(tmp_path, monkeypatch):
    whole = trained(folder=tmp_path / "whole")
    one_step = Trainer.one_step

    def stopped(trainer):
        if trainer.step == 2:
            raise KeyboardInterrupt
        return one_step(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "one_step", stopped)
        assert trained(folder=tmp_path / "parts").steps == 2
    assert same(weights_of(whole), weights_of(trained(folder=tmp_path / "parts")))
    with pytest.raises(SavedRunError, match="link="):
        trained(folder=tmp_path / "whole", link=None)
    with pytest.raises(SavedRunError, match="link="):
        trained(folder=tmp_path / "whole", link=Log(0.5))
    model = tiny_model(1)
    again = load(tmp_path / "whole", model, AmortizedGP(model))
    assert again.scaling == whole.scaling
    options = {"num_samples": 2, "max_step": 0.1}
    ours, theirs = (f.forecast(DATA, **options).mean for f in (whole, again))
    assert torch.equal(ours, theirs)
    pooled = Ensemble([whole, again]).forecast(DATA, **options)
    assert pooled.mean.min() >= 0
    with pytest.raises(ValueError, match="fits: number 1"):
        Ensemble([whole, trained(link=Log(0.5))])


def test_a_cycle_and_an_array_as_reference(tmp_path):
    for reference in (pyro_msde.Cycle(0.4, 1), np.full(30, 1.5)):
        found = trained(reference=reference)
        fc = found.forecast(DATA, num_samples=2, max_step=0.1)
        assert fc.mean.isfinite().all()
        found.save(tmp_path / "run")
        model = tiny_model(1)
        again = load(tmp_path / "run", model, AmortizedGP(model))
        assert again.scaling.seen.reference == found.scaling.seen.reference
        again = again.forecast(DATA, num_samples=2, max_step=0.1)
        assert torch.equal(again.mean, fc.mean)


def test_it_reaches_xarray_arviz_and_pictures(result, tmp_path):
    fc = result.forecast(DATA, num_samples=4)
    ds = fc.to_xarray(quantiles=(0.05, 0.95))
    assert (ds.rain_mean >= 0).all()
    assert (ds.rain_quantile >= 0).all()
    assert ds.rain_mean.attrs["units"] == "mm"
    ds.to_netcdf(tmp_path / "forecast.nc")
    groups = result.to_arviz(DATA, num_samples=4, prior=3)
    for group in (groups.posterior_predictive, groups.prior_predictive):
        assert (group["rain"].fillna(0) >= 0).all()
    assert groups.constant_data["link_offset"] == pytest.approx(result.scaling.link.offsets[0])
    assert groups.posterior["observation_sd"].attrs["units"] == "1"
    assert groups.posterior_predictive["zeta"].attrs["units"] == "1"
    seen = np.isfinite(groups.observed_data["rain"])
    for name in ("rain_probes", "rain_forecast_probes"):
        assert np.isfinite(groups.log_likelihood[name].where(seen, 0)).all()
    first = result.forecast(DATA[:1], num_samples=4)
    (ax, *_) = plot.forecast_snapshots(first, DATA[:1], times=2)
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() >= 0
    plot.scale_separation(result, DATA.values[0][0])


def test_one_channel_of_two():
    """Rain beside a field of either sign."""
    other = tiny_data(SIZES)
    both = [np.stack([a, b], 1) for a, b in zip(DATA.values, other.values, strict=True)]
    data = Trajectories(DATA.times, both, missing="mask")
    model, guide = tiny_pair(0, grid=pyro_msde.Grid(30, 5, channels=2))
    found = fit(model, guide, data, **{**QUICK, "steps": 1, "link": ["log", None]})
    fc = found.forecast(data, num_samples=4, max_step=0.1)
    assert fc.mean[:, :, 0].min() >= 0
    assert fc.mean[:, :, 1].min() < -0.1
    assert not fc.atoms(torch.zeros(fc.shape))[:, :, 1].any()


def test_what_it_cannot_be_used_for_is_refused(result):
    low = [v.copy() for v in DATA.values]
    low[2][4, 7] = -0.3
    bad = Trajectories(DATA.times, low, missing="mask")
    told = r": -0\.3 at trajectory 2, index 4, point \(7,\), and 0 more; link='log' takes no neg"
    with pytest.raises(ValueError, match=f"values{told}"):
        trained(bad)
    with pytest.raises(ValueError, match=f"validation{told}"):
        trained(validation=bad)
    with pytest.raises(ValueError, match=r"y0: -0\.3 at index 0"):
        result.predict(low[2][4], DATA.times[0])
    with pytest.raises(ValueError, match="link: what the model sees has to be normal"):
        fit(*tiny_pair(0, likelihood=student), DATA, **{**QUICK, "link": "log"})
    positive = Trajectories(DATA.times, [v + 1 for v in DATA.values], missing="mask")
    found = trained(positive)
    assert found.scaling.link.offsets == (0.0,)
    with pytest.raises(ValueError, match=r"y0: 0 at .* takes no zeros, .*pyro_msde.Log\(offset"):
        found.predict(np.zeros(30), DATA.times[0])
    assert (found.forecast(positive, num_samples=2, max_step=0.1).mean > 0).all()
