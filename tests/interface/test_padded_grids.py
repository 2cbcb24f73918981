"""Fields that the coarse grid does not divide, from training to pictures.

The answer to compare with is that of a larger grid whose further points lie off its mask.
"""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from named_fields import draw

import pyro_msde
from pyro_msde import Grid, Trajectories, plot
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale

pytestmark = pytest.mark.usefixtures("long_steps")

SHAPE, COARSE = (11, 13), (3, 4)
TIMES = np.linspace(0.0, 1.0, 20)
HOW = {"steps": 4, "length": 6, "stride": 1, "progress": False}
NETWORKS = {"width": 8, "rank": 3, "components": 4, "n_eta": 1}


def fields(count=3):
    rng = np.random.default_rng(0)
    a, b = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    phase = 0.3 * a + 0.2 * b + 4 * TIMES[:, None, None] + np.arange(count)[:, None, None, None]
    noise = rng.normal(size=(count, len(TIMES), *SHAPE))
    return (280 + np.sin(phase) + 0.05 * noise).astype(np.float32)


def pair(grid, *sizes, **walls):
    model = multiscale(grid, *sizes, **walls, **NETWORKS)
    return model, AmortizedGP(model)


@pytest.fixture(scope="module")
def data():
    return Trajectories(TIMES, fields())


@pytest.fixture(scope="module")
def fit(data):
    return pyro_msde.fit(*pair(SHAPE, COARSE, boundary="neumann"), data, validation=data[:1], **HOW)


@pytest.fixture(scope="module")
def larger(data):
    """The same with the padding as points of the fields, off the mask."""
    grid = Grid(SHAPE, COARSE, boundary="neumann", unit_gain=True)
    values = np.full((len(data), len(TIMES), *grid.shape), np.nan, np.float32)
    index = (..., *(slice(a, n - b) for n, (a, b) in zip(grid.shape, grid.padding, strict=True)))
    values[index] = np.stack(data.values)
    mask = np.isfinite(values[0, 0])
    all_of_it = Grid(grid.shape, COARSE, boundary="neumann", mask=mask, unit_gain=True)
    whole = Trajectories(TIMES, values, missing="mask")
    return pyro_msde.fit(*pair(all_of_it), whole, validation=whole[:1], **HOW), whole, index


def test_training_is_that_of_a_larger_grid_with_a_mask(fit, larger):
    expected, _, _ = larger
    for ours, theirs in ((fit.model, expected.model), (fit.guide, expected.guide)):
        for name, weights in ours.state_dict().items():
            assert torch.equal(weights, theirs.state_dict()[name]), name
    assert fit.history.terms == expected.history.terms
    # the mean of squares is taken in another order
    assert fit.history.validation == pytest.approx(expected.history.validation, rel=1e-12)


@pytest.mark.parametrize("what", ["mean", "sd", "quantile", "chunks", "cdf", "parts"])
def test_forecasts_are_those_of_a_larger_grid_at_the_points_of_the_fields(fit, larger, data, what):
    expected, whole, index = larger
    small, large = (
        f.forecast(d[:2], TIMES[:3], num_samples=6, max_step=0.01)
        for f, d in ((fit, data), (expected, whole))
    )
    ask = {
        "mean": lambda fc, _: fc.mean,
        "sd": lambda fc, _: fc.sd,
        "quantile": lambda fc, _: fc.quantile(0.8),
        "chunks": lambda fc, _: next(fc.chunks())[1].std(0),
        "cdf": lambda fc, y: fc.cdf(np.nan_to_num(y)),
        "parts": lambda fc, _: fc.reconstruction_var + 2 * fc.propagated_var,
    }[what]
    values = np.stack(whole.values)[:2, :3]
    ours, theirs = ask(small, np.stack(data.values)[:2, :3]), ask(large, values)
    assert small.shape == (2, 3, *SHAPE)
    if what != "chunks":
        assert torch.equal(ours, theirs[index])
    else:  # other draws of the noise
        assert ours.shape == theirs[index].shape
        assert bool((ours.isfinite() & (ours > 0)).all())


def test_several_snapshots_say_what_they_do_on_a_larger_grid(fit, larger, data):
    expected, whole, index = larger
    ours, theirs = (
        f.forecast(d[:2], TIMES[2:4], history=3, num_samples=8, max_step=0.01)
        for f, d in ((fit, data), (expected, whole))
    )
    assert torch.equal(ours.mean, theirs.mean[index])


def test_what_a_folder_keeps_and_an_ensemble_pools(fit, data, tmp_path):
    fit.save(tmp_path)
    loaded = pyro_msde.load(tmp_path)
    assert loaded.model.grid == fit.model.grid
    start = {"y0": data.values[0][0], "times": TIMES[:2], "num_samples": 4, "max_step": 0.01}
    assert torch.equal(loaded.predict(**start).mean, fit.predict(**start).mean)
    pooled = pyro_msde.Ensemble([fit, loaded]).predict(**start)
    assert pooled.mean.shape == (2, *SHAPE)


def test_an_interrupted_run_goes_on(data, tmp_path):
    how = {**HOW, "validation": data[:1], "validate_every": 2}
    pyro_msde.fit(*pair(SHAPE, COARSE, boundary="neumann"), data, checkpoint=tmp_path, **how)
    resumed = pyro_msde.fit(
        *pair(SHAPE, COARSE, boundary="neumann"), data, checkpoint=tmp_path, **how
    )
    assert resumed.steps == HOW["steps"]


def test_scores_and_arviz_have_the_points_of_the_fields(fit, data):
    fc = fit.forecast(data, num_samples=40, max_step=0.01)
    assert np.isfinite(pyro_msde.nrmse(fc, data)).all()
    report = pyro_msde.calibration(fc, data, bins=2, levels=(0.5, 0.9))
    assert np.isfinite(report.crps).all()
    posterior = fit.to_arviz(data[:1].until(0.1), num_samples=2, times=2).posterior_predictive
    assert posterior["u_mean"].shape[-2:] == SHAPE
    assert posterior["zeta"].shape[-2:] == COARSE
    # a coarse point may lie beyond the fields; a probe does not
    grid = fit.model.grid
    np.testing.assert_allclose(posterior["dim_1_coarse"], grid.coarse_coordinates[1])
    assert set(posterior["dim_1_probe"].values) <= set(grid.coordinates[1])


def test_pictures_have_the_points_of_the_fields(fit, data):
    fc = fit.forecast(data[:1], TIMES[:3], num_samples=4, max_step=0.01)
    first = data.values[0][0]
    for axes in (
        plot.forecast_images(fc, data, times=2),
        plot.scale_operators(fit, first),
        plot.scale_images(fit, data.values[0][:2], TIMES[:2]),
        plot.latent_paths(fc),
        plot.power_spectra(fit, data.values[0][:3]),
    ):
        draw(axes)
        plt.close("all")
