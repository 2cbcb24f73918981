"""Fits of data with gaps: which snapshots count, and that such fits are saved, resumed, pooled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from problems import NUM_COARSE, NUM_POINTS, same, tiny_data, tiny_model, tiny_pair
from short_runs import QUICK, weights_of

import pyro_msde
from pyro_msde import Ensemble, Grid, SavedRunError, Trajectories, baselines, fit, load
from pyro_msde.data import first_observed
from pyro_msde.guides import AmortizedGP, UnamortizedGP
from pyro_msde.inference import Trainer

pytestmark = pytest.mark.usefixtures("long_steps")

SIZES = (10, 9, 11)
BLOCK = slice(10, 22)  # points that are never observed


def with_gaps(data, *, block=False, empty=()):
    """A tenth of the values at random, some points in all and some snapshots missing."""
    rng = np.random.default_rng(5)
    values = [np.where(rng.random(v.shape) < 0.1, np.nan, v) for v in data.values]
    for v in values:
        if block:
            v[:, BLOCK] = np.nan
        v[list(empty)] = np.nan
    return Trajectories(data.times, values, missing="mask")


DATA = with_gaps(tiny_data(SIZES), block=True)


def trained(data, folder=None, **options):
    return fit(*tiny_pair(1), data, **{**QUICK, "steps": 3, "checkpoint": folder, **options})


@pytest.fixture(scope="module")
def result():
    return trained(DATA)


def test_snapshots_that_are_wholly_missing_are_no_nodes():
    """The fit is that of the data without them, to the last bit."""
    gappy = with_gaps(tiny_data(SIZES), empty=(0, 4))
    left = gappy.snapshots([np.setdiff1d(np.arange(n), [0, 4]) for n in SIZES])
    found = trained(gappy)
    assert same(weights_of(found), weights_of(trained(left)))
    directions = found.jackknifed(gappy).adjustment("jackknife").directions["macro"]
    torch.testing.assert_close(directions, found.adjustment("jackknife").directions["macro"])


def test_free_nodes_are_those_of_the_snapshots_that_are_left():
    gappy = with_gaps(tiny_data(SIZES), empty=(5,))
    model = tiny_model(1)
    guide = UnamortizedGP(model, gappy)
    assert len(guide.node_means) == sum(SIZES) - len(SIZES)
    assert fit(model, guide, gappy, **{**QUICK, "steps": 1}).steps == 1


def test_a_forecast_from_a_snapshot_that_is_missing_says_where_to_start(result):
    """The advice is run as it stands."""
    whole = tiny_data((9, 9, 9, 9))
    late = with_gaps(whole, empty=(0, 1))
    some = Trajectories(
        whole.times,
        [whole.values[0], late.values[1], whole.values[2], late.values[3]],
        missing="mask",
    )
    for data, first, more in ((late, 0, "nor of 3 others"), (some, 1, "nor of 1 others")):
        with pytest.raises(
            ValueError,
            match=rf"trajectory {first} before its snapshot 2 \(t=0\.1\), {more}\. Forecast",
        ) as error:
            result.forecast(data)
        advice = str(error.value).partition("from there: ")[2].removesuffix(".")
        start = eval(advice, {"trajectories": data})
        begun = [t[0] for t in start.times]
        assert begun == [data.times[k][2 * np.isnan(v[0]).all()] for k, v in enumerate(data.values)]
        assert result.forecast(start, num_samples=4).mean.isfinite().all()


def test_compare_starts_where_something_was_observed(result):
    """Windows that begin with missing snapshots are those without them, as in validation."""
    whole, train = tiny_data((9, 9, 9)), tiny_data((20, 20))
    late = with_gaps(whole, empty=(0, 1))
    test = Trajectories(
        whole.times, [whole.values[0], late.values[1], whole.values[2]], missing="mask"
    )
    ask = {"num_samples": 4, "baselines": [baselines.Persistence()]}
    begun = test.snapshots([slice(0, None), slice(2, None), slice(0, None)])
    found = pyro_msde.compare(result, test, train, **ask)
    expected = pyro_msde.compare(result, begun, train, **ask)
    xr.testing.assert_identical(found, expected)
    assert found["observed"].values[-1] == 2 * whole.values[0][0].size  # as one began later


def test_trajectories_of_which_nothing_was_observed_are_named(result):
    data = tiny_data((9, 9, 9))
    values = [v.copy() for v in data.values]
    for k in (0, 2):
        values[k][:, 1:] = np.nan
    empty = Trajectories(data.times, values, missing="mask")
    sea = np.arange(NUM_POINTS) > 0  # what was observed lies on land
    with pytest.raises(
        ValueError, match=r"test: nothing was observed in trajectories \[0, 2\]"
    ) as e:
        first_observed(empty, Grid(NUM_POINTS, NUM_COARSE, mask=sea), "test")
    advice = str(e.value).partition("them out: ")[2].removesuffix(".")
    assert [t is data.times[1] for t in eval(advice, {"test": data}).times] == [True]


def test_arviz_data_have_the_snapshots_of_which_something_was_observed(result):
    groups = result.to_arviz(with_gaps(tiny_data((9, 9)), empty=(0, 5)), num_samples=4)
    np.testing.assert_allclose(groups.observed_data["time"], DATA.times[0][[1, 2, 3, 4, 6, 7, 8]])


def test_forecasts_are_less_certain_where_less_was_seen(result):
    """Paths start with the encoder's variance; 5 standard errors of that of 800 draws are .25."""
    y0 = DATA.values[0][0].copy()
    y0[np.r_[22:30, 0:3]] = np.nan
    paths = result.predict(y0, DATA.times[0][:1], num_samples=800, num_theta=1).paths
    variance = paths[0, :, 0, 0].var(0)
    known = np.isfinite(y0)
    known[BLOCK] = True  # what training never saw makes no snapshot less complete
    share = result.model.grid.unseen_states(torch.tensor(known)[None], torch.float32)
    torch.testing.assert_close(variance[4], share[4], rtol=0.25, atol=0.0)
    assert variance[4] > 20 * variance[2]


def test_points_that_were_never_observed_vary_as_the_field_does_deep_among_their_like(result):
    law = result.model.bind({}).observe(torch.zeros(NUM_COARSE + 1))
    variance = law.variance[0].detach()
    seen = torch.ones(1, 30, dtype=torch.bool)
    seen[:, BLOCK] = False
    unseen = result.model.grid.unseen_points(seen, torch.float32)[0]
    others = variance[seen[0]]
    beyond = variance[BLOCK] - unseen[BLOCK]
    assert (beyond > 0.5 * others.min()).all()
    assert (beyond < 2.0 * others.max()).all()


def test_a_fit_with_gaps_is_saved_resumed_and_pooled(tmp_path, monkeypatch):
    whole = trained(DATA, tmp_path / "whole")
    one_step = Trainer.one_step

    def stopped(trainer):
        if trainer.step == 2:
            raise KeyboardInterrupt
        return one_step(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "one_step", stopped)
        assert trained(DATA, tmp_path / "parts").steps == 2
    assert same(weights_of(whole), weights_of(trained(DATA, tmp_path / "parts")))
    y0, times = DATA.values[0][0], DATA.times[0][:4]
    model = tiny_model(1)
    again = load(tmp_path / "whole", model, AmortizedGP(model))
    options = {"num_samples": 4, "max_step": 0.02}
    assert torch.equal(
        again.predict(y0, times, **options).paths, whole.predict(y0, times, **options).paths
    )
    assert Ensemble([whole, again]).predict(y0, times, **options).mean.isfinite().all()
    other = Trajectories(
        DATA.times, [np.where(v > 1, np.nan, v) for v in DATA.values], missing="mask"
    )
    with pytest.raises(SavedRunError, match="Choose another folder"):
        trained(other, tmp_path / "whole")
