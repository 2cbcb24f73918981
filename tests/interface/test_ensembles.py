"""Pooled forecasts of several fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from problems import tiny_data, tiny_grid, tiny_model
from torch.testing import assert_close

from pyro_msde import Ensemble, Fit, Grid
from pyro_msde.data import Scaling
from pyro_msde.guides import AmortizedGP

pytestmark = pytest.mark.usefixtures("long_steps")

SCALING = Scaling((2.0,), 3.0)
TIMES = np.linspace(0, 1, 4)


def fit_of(seed, n_eta=2, **options):
    model = tiny_model(n_eta, seed=seed, **options)
    return Fit(model, AmortizedGP(model, seed=seed), SCALING)


def test_moments_are_those_of_the_pooled_mixture():
    """Law of total variance over equally weighted fits, member by member."""
    members = [fit_of(3), fit_of(4), fit_of(5)]
    with torch.no_grad():
        members[1].model.var_zeta.net.log_value.add_(1.0)
    y0 = np.stack([v[0] for v in tiny_data().values])
    fc = Ensemble(members).predict(y0, TIMES, num_samples=90, seed=7, max_step=0.02)
    assert fc.num_samples == 90
    few = {"num_samples": 30, "max_step": 0.02}
    alone = [m.predict(y0, TIMES, seed=7 + k, **few) for k, m in enumerate(members)]
    means = torch.stack([a.mean for a in alone])
    assert_close(fc.mean, means.mean(0))
    assert_close(fc.reconstruction_var, torch.stack([a.reconstruction_var for a in alone]).mean(0))
    # of opposite pairs: squares of middles about the mean over 90 − 2, and of half distances
    each = torch.cat([law.mean for a in alone for window in a.mixtures() for law in window.laws])
    each = each.squeeze(3).double() * SCALING.channels[0]
    middle, half = 0.5 * (each[::2] + each[1::2]), 0.5 * (each[::2] - each[1::2])
    spread = 2 * (middle - middle.mean(0)).square().sum(0) / 88 + half.square().mean(0)
    found = (fc.propagated_var + fc.parameter_var).double()
    assert_close(found, spread, rtol=1e-4, atol=1e-7)
    assert fc.parameter_var.mean() > 0


def test_one_fit_is_itself():
    one = fit_of(3)
    y0 = tiny_data().values[0][0]
    pooled, alone = Ensemble([one]).predict(y0, TIMES), one.predict(y0, TIMES)
    assert torch.equal(pooled.mean, alone.mean)
    assert torch.equal(pooled.quantile(0.9), alone.quantile(0.9))


def test_trajectories_are_forecast_from_their_first_snapshots():
    pooled = Ensemble([fit_of(3), fit_of(4)])
    data = tiny_data((9, 9))
    fc = pooled.forecast(data, TIMES, num_samples=4)
    first = np.stack([values[0] for values in data.values])
    expected = pooled.predict(first, TIMES, t0=data.times[0][0], num_samples=4)
    assert torch.equal(fc.paths, expected.paths)
    assert pooled.forecast(data, num_samples=2).times.tolist() == data.times[0].tolist()


def test_fits_of_other_grids_or_data_are_named():
    one = fit_of(3)
    with pytest.raises(ValueError, match="fits: empty"):
        Ensemble([])
    with pytest.raises(ValueError, match="number 1 was trained on other data"):
        Ensemble([one, replace(one, scaling=Scaling((1.0,), 3.0))])
    with pytest.raises(ValueError, match="of number 1 and the first only one has an uncertain"):
        Ensemble([one, one.jackknifed(tiny_data())])
    with pytest.raises(ValueError, match="number 1 has n_eta=0, the first 2"):
        Ensemble([one, fit_of(3, n_eta=0)])
    grid = Grid(30, 6, boundary="periodic")
    assert grid != tiny_grid()
    with pytest.raises(ValueError, match="number 1 is on another grid"):
        Ensemble([one, fit_of(3, grid=grid)])
