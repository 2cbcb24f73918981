"""Controls from data to forecast: kept with a fit, asked for beyond the data, refused if wrong."""

from __future__ import annotations

import signal
from dataclasses import replace
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from problems import tiny_grid
from short_runs import QUICK, weights_of

import pyro_msde
from pyro_msde import Ensemble, SavedRunError, Trajectories, fit, load
from pyro_msde.guides import AmortizedGP, UnamortizedGP
from pyro_msde.inference import Trainer
from pyro_msde.models import multiscale, pod_sde
from pyro_msde.plot import power_spectra
from pyro_msde.testing import check_drift, check_guide, check_model

pytestmark = pytest.mark.usefixtures("long_steps")

SMALL = {"half_width": 1, "width": 7, "rank": 2, "components": 3}
NAMES = ("heating", "wind")


def forced_fields(sizes=(17, 19, 17), seed=0, **options):
    """Fields of 30 points that two controls push, with one covariate."""
    rng = np.random.default_rng(seed)
    x = 2 * np.pi * np.arange(30) / 30
    times, fields, controls = [], [], []
    for n in sizes:
        t = np.linspace(0, 1, n)
        u = np.stack([np.sin(7 * t + rng.uniform(0, 6)), 20 + rng.standard_normal(n)], 1)
        fields.append(np.cumsum(u[:, :1], 0) / n + np.sin(x + u[:, 1:]) + 0.1)
        times.append(t)
        controls.append(u)
    known = {"covariates": rng.uniform(1, 2, len(sizes)), "control_names": NAMES}
    return Trajectories(times, fields, controls=controls, **{**known, **options})


def small_model(n_eta=1, **options):
    sizes = {"num_covariates": 1, "num_controls": 2, "n_eta": n_eta, **SMALL}
    return multiscale(tiny_grid(), **{**sizes, **options})


def pair(n_eta=1, **options):
    model = small_model(n_eta, **options)
    return model, AmortizedGP(model)


DATA = forced_fields()
TEST = forced_fields((17, 17), seed=1)


@pytest.fixture(scope="module")
def trained():
    return fit(*pair(), DATA, **QUICK, validation=TEST, validate_every=3)


def test_model_drift_and_guide_keep_what_the_library_asks_of_them():
    model, guide = pair()
    check_model(model)
    check_guide(model, guide)
    assert check_drift(model.drift.net, model.num_latent, num_covariates=3)


@pytest.mark.parametrize("n_eta", [0, 2])
def test_controls_reach_the_drift_the_encoder_and_forecasts(n_eta):
    result = fit(*pair(n_eta), DATA, **QUICK, refine=True)
    assert np.allclose([m for m, _ in result.scaling.controls][1], 20, atol=1)
    assert {a.name for a in result.adjustments} >= {"jackknife", "region"}
    fc = result.forecast(TEST, num_samples=8)
    n = len(TEST.times[0])
    imposed = np.stack(TEST.controls)
    given = partial(
        result.predict, np.stack([v[0] for v in TEST.values]), TEST.times[0], num_samples=8
    )
    same = given(covariates=TEST.covariates, controls=imposed)
    assert torch.equal(fc.paths, same.paths)
    other = given(covariates=TEST.covariates, controls=imposed + 5)
    assert not torch.allclose(fc.paths[..., -1, :], other.paths[..., -1, :])
    # what is imposed later than a time does not change the forecast up to it
    late = imposed.copy()
    late[:, n // 2 + 1 :] += 5
    changed = given(covariates=TEST.covariates, controls=late)
    assert torch.equal(fc.paths[..., : n // 2 + 1, :], changed.paths[..., : n // 2 + 1, :])
    if n_eta:  # the encoder has the controls of the snapshot
        first = imposed.copy()
        first[:, 0] += 5
        start = given(covariates=TEST.covariates, controls=first).paths[..., 0, -n_eta:]
        assert not torch.allclose(start, fc.paths[..., 0, -n_eta:])


def test_times_of_their_own_say_the_same_in_more_detail(trained):
    whole, some = TEST.times[0], TEST.times[0][::4]
    given = {"covariates": TEST.covariates[:1], "num_samples": 4}
    y0, u = TEST.values[0][0], TEST.controls[0]
    detailed = trained.predict(y0, some, controls=u, control_times=whole, **given)
    assert torch.equal(detailed.paths, trained.forecast(TEST[:1], some, num_samples=4).paths)
    coarse = trained.predict(y0, some, controls=u[::4], **given)
    assert not torch.allclose(coarse.paths[..., -1, :], detailed.paths[..., -1, :])
    early = trained.predict(y0, some[1:], t0=0.0, controls=u[::4], **given)  # one more, at t0
    assert torch.allclose(early.paths, coarse.paths[..., 1:, :], atol=1e-5)


def test_windows_count_their_controls_from_their_starts(trained):
    windows = TEST.cut(length=6, every=3)
    fc = trained.forecast(windows, num_samples=4)
    assert fc.starts is not None
    k = 2
    alone = trained.forecast(windows[[k]], num_samples=4)
    again = trained.predict(
        windows.values[k][0],
        windows.times[k],
        controls=windows.controls[k],
        covariates=windows.covariates[k],
        num_samples=4,
    )
    assert torch.allclose(alone.paths, again.paths, atol=1e-5)
    past = trained.forecast(windows, history=3, num_samples=8)  # a filter moves with them
    assert past.paths.shape[-2] == 4
    assert bool(past.paths.isfinite().all())
    ragged = trained.forecast(forced_fields((9, 12), seed=3), num_samples=4)
    assert ragged.paths.shape[-2] > 12 - 1  # times of both


def test_a_fit_is_saved_and_loaded_with_its_controls(trained, tmp_path):
    trained.save(tmp_path / "run")
    loaded = load(tmp_path / "run")
    assert loaded.scaling == trained.scaling
    assert loaded.metadata.controls == NAMES
    assert loaded.model.num_controls == 2
    for name, value in weights_of(trained).items():
        assert torch.equal(value, weights_of(loaded)[name])
    assert torch.equal(
        loaded.forecast(TEST, num_samples=8).paths, trained.forecast(TEST, num_samples=8).paths
    )


def test_static_fields_are_saved_with_the_model(tmp_path):
    static = np.random.default_rng(3).standard_normal((2, 30))
    data = forced_fields(static=static, static_names=["height", "land"])
    model = multiscale.like(data, n_eta=1, coarse=5, channels=None, modes=0, **SMALL)
    result = fit(model, AmortizedGP(model), data, **QUICK, checkpoint=tmp_path / "run")
    loaded = load(tmp_path / "run")
    assert torch.equal(loaded.model.static, model.static)
    assert loaded.metadata.static == ("height", "land")
    fc = result.forecast(TEST, num_samples=8)  # which the model knows them of
    assert torch.equal(fc.paths, loaded.forecast(TEST, num_samples=8).paths)
    data_of_arviz = result.to_arviz(data, num_samples=4, times=5)
    np.testing.assert_array_equal(data_of_arviz.constant_data["height"], static[0])
    other = multiscale.like(forced_fields(static=static[::-1]), n_eta=1, coarse=5, modes=0, **SMALL)
    with pytest.raises(SavedRunError, match="another static"):
        fit(
            other,
            AmortizedGP(other),
            forced_fields(static=static[::-1]),
            **QUICK,
            checkpoint=tmp_path / "run",
        )
    with pytest.raises(ValueError, match="trajectories: its static fields are not those"):
        result.forecast(forced_fields(static=static + [[0], [1]] * static**2))


def test_a_run_is_resumed_to_the_last_bit_and_only_with_its_controls(tmp_path, monkeypatch):
    options = {**QUICK, "validate_every": 2, "validation": TEST}
    whole = fit(*pair(), DATA, **options)
    one_step = Trainer.one_step

    def stopped(trainer):
        if trainer.step == 2:
            signal.raise_signal(signal.SIGINT)
        return one_step(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "one_step", stopped)
        assert fit(*pair(), DATA, **options, checkpoint=tmp_path / "run").training.interrupted
    other = replace_controls(DATA, [c + 1 for c in DATA.controls])
    with pytest.raises(SavedRunError, match="another data"):
        fit(*pair(), other, **options, checkpoint=tmp_path / "run")
    resumed = fit(*pair(), DATA, **options, checkpoint=tmp_path / "run")
    for name, value in weights_of(whole).items():
        assert torch.equal(value, weights_of(resumed)[name])


def replace_controls(data, controls):
    return Trajectories(
        data.times,
        data.values,
        controls=controls,
        covariates=data.covariates,
        control_names=None if controls is None else data.control_names,
    )


def test_ensembles_pool_forecasts_under_one_forcing(trained):
    other = fit(*pair(seed=1), DATA, **QUICK, seed=1)
    both = Ensemble([trained.without("jackknife", "trust"), other.without("jackknife", "trust")])
    fc = both.forecast(TEST, num_samples=8)
    assert fc.paths.shape[:2].numel() == 8
    first = np.stack([v[0] for v in TEST.values])
    given = {"controls": np.stack(TEST.controls), "covariates": TEST.covariates}
    assert torch.equal(fc.paths, both.predict(first, TEST.times[0], num_samples=8, **given).paths)


def test_arviz_data_have_the_controls(trained):
    data = trained.to_arviz(TEST, num_samples=4, times=5, prior=2)
    for c, name in enumerate(NAMES):
        kept = data.constant_data[name]
        assert kept.dims == ("trajectory", "time")
        np.testing.assert_array_equal(kept[1], TEST.controls[1][::4, c])
    assert np.isfinite(data.prior_predictive["u"]).all()
    assert np.isfinite(data.sample_stats["drift_residual"]).all()


def test_arviz_predictions_beyond_the_data_take_controls(trained):
    """Those of `forecast` with the same controls, for all trajectories or for each."""
    clock = np.linspace(0, 1.5, 31)
    u = np.stack([np.cos(clock), 20 + np.sin(clock)], 1)
    each, own = np.stack([u, u + 1]), np.stack([clock, clock])
    options = {"num_samples": 4, "times": 5, "horizon": 1.5, "log_likelihood": False}
    for controls, times in ((u, clock), (each, clock), (each, own)):
        data = trained.to_arviz(TEST, controls=controls, control_times=times, **options)
        ahead = np.asarray(data.predictions["time"])
        all_times = np.concatenate([TEST.times[0][::4], ahead])
        fc = trained.forecast(
            TEST, all_times, num_samples=4, controls=controls, control_times=times, num_theta=8
        )
        found = data.predictions["zeta"].to_numpy()[0]
        zeta = fc.latent[..., -len(ahead) :, : found.shape[-1]]
        np.testing.assert_allclose(found.reshape(zeta.shape), zeta, rtol=1e-5)
    with pytest.raises(ValueError, match="controls: go with control_times"):
        trained.to_arviz(TEST, controls=u, **options)
    with pytest.raises(ValueError, match="controls: 3 rows for 2 trajectories"):
        trained.to_arviz(TEST, controls=np.stack([u] * 3), control_times=clock, **options)
    with pytest.raises(ValueError, match=r"controls: known from 0 to 1\.25"):
        trained.to_arviz(TEST, controls=u[:26], control_times=clock[:26], **options)


def test_pictures_of_fields_are_told_their_controls(trained):
    y, given = TEST.values[0][:2], {"covariates": [1.5]}
    axes = power_spectra(trained, y, controls=TEST.controls[0][:2], **given)
    assert np.ravel(axes)[0].lines
    plt.close("all")
    with pytest.raises(ValueError, match="controls: the model takes 2 at each time"):
        power_spectra(trained, y, **given)
    with pytest.raises(ValueError, match=r"controls: shape \(3, 2\)"):
        power_spectra(trained, y, controls=TEST.controls[0][:3], **given)


def test_calibration_and_comparison_go_on_with_controls(trained):
    calibrated = trained.calibrated(TEST, num_times=10)
    assert calibrated.calibration is not None
    windows = TEST.cut(length=6, every=3)
    table = pyro_msde.compare(trained, windows, DATA)
    assert np.isfinite(table["skill"]).all()


def test_other_guides_and_models_take_controls():
    model = small_model()
    result = fit(model, UnamortizedGP(model, DATA), DATA, **QUICK)
    assert bool(result.forecast(TEST, num_samples=4).paths.isfinite().all())
    modal = pod_sde(DATA, 2)
    assert modal.num_controls == 2
    result = fit(modal, AmortizedGP(modal), DATA, **QUICK)
    assert bool(result.forecast(TEST, num_samples=4).paths.isfinite().all())


def test_growing_keeps_what_was_learned_of_controls():
    small, large = fit(*pair(0, smoothing="gaussian"), DATA, **QUICK), pair(2, smoothing="gaussian")
    pyro_msde.grow(small.model, small.guide, *large)
    z = torch.randn(2, 3, small.model.num_latent)
    inputs = torch.randn(2, 3, 3)
    clock = torch.zeros(2, 3, dtype=torch.float64)
    before = small.model.bind({}).drift(z, clock, inputs)
    after = large[0].bind({}).drift(torch.cat([z, torch.zeros(2, 3, 2)], -1), clock, inputs)
    torch.testing.assert_close(after[..., : z.shape[-1]], before)
    with pytest.raises(ValueError, match="larger_model: 0 controls, the smaller one has 2"):
        pyro_msde.grow(small.model, small.guide, *pair(2, num_controls=0))


def test_like_reads_the_number_of_controls():
    assert multiscale.like(DATA).num_controls == 2
    assert multiscale.like(replace_controls(DATA, None)).num_controls == 0
    with pytest.raises(ValueError, match="num_controls: read from the data"):
        multiscale.like(DATA, num_controls=1)


U = TEST.controls[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"controls: the model takes 2 at each time; pass \(17, 2\)"),
        ({"controls": U[:5]}, r"controls: shape \(5, 2\); the model takes 2 at each of 17 times"),
        ({"controls": U[:, :1]}, r"controls: shape \(17, 1\)"),
        ({"controls": np.where(U > 20, np.nan, U)}, "controls: hold NaN or infinite"),
        ({"controls": np.stack([U, U, U])}, "controls: 3 rows of them at 1 of times for 1 initial"),
        (
            {"controls": U[:9], "control_times": TEST.times[0][:9]},
            "controls: known from 0 to 0.5, but the forecast goes from 0 to 1",
        ),
        (
            {"controls": U[1:], "control_times": TEST.times[0][1:]},
            "controls: known from 0.0625 to 1, but the forecast goes from 0",
        ),
        (
            {"controls": U, "control_times": TEST.times[0][::-1]},
            "control_times: not finite and increasing",
        ),
    ],
)
def test_controls_that_do_not_suit_a_forecast_are_refused(trained, given, message):
    with pytest.raises(ValueError, match=message):
        trained.predict(TEST.values[0][0], TEST.times[0], covariates=[1.5], **given)


def test_controls_end_where_the_data_do(trained):
    later = np.linspace(0, 1.5, 7)
    with pytest.raises(ValueError, match=r"controls of trajectory 0 end at 1\. Pass controls="):
        trained.forecast(TEST, later)
    given = {"controls": np.zeros((7, 2)) + 20, "num_samples": 4}
    assert trained.forecast(TEST, later, **given).paths.shape[-2] == 7
    with pytest.raises(ValueError, match="controls of trajectory 0 end at 1"):
        trained.to_arviz(TEST, horizon=1.5)


def test_data_and_model_have_to_agree_on_controls(trained):
    blind = replace_controls(DATA, None)
    with pytest.raises(ValueError, match="data: 0 controls, the model takes 2"):
        fit(*pair(), blind, **QUICK)
    with pytest.raises(ValueError, match=r"multiscale.like\(data\)"):
        fit(*pair(num_controls=0), DATA, **QUICK)
    swapped = Trajectories(
        TEST.times,
        TEST.values,
        controls=[c[:, ::-1] for c in TEST.controls],
        covariates=TEST.covariates,
        control_names=NAMES[::-1],
    )
    with pytest.raises(ValueError, match=r"trajectories: controls .* Transpose or sort them"):
        trained.forecast(swapped)
    without = fit(*pair(num_controls=0), blind, **QUICK)
    with pytest.raises(ValueError, match="controls: the model takes no controls"):
        without.predict(DATA.values[0][0], DATA.times[0], covariates=[1.5], controls=U)
    with pytest.raises(ValueError, match="fits: number 1 was trained on other data"):
        Ensemble([trained, replace(trained, scaling=without.scaling)])
