"""A microscale state of the right size removes the memory of the resolved variable (App. B).

The data are of a generalised Langevin equation with a memory kernel of degree 1, hence Markovian
with two auxiliary variables, which the field shows outside what the smoothing keeps. If a fitted
linear model is Markovian enough, its one-step Kalman innovations are white. Statistic: Ljung–Box
over 20 lags, on trajectories that were not trained on; for white innovations p < 10⁻³ has
probability 10⁻³, and seeds are fixed.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import lfilter

import pyro_msde
from pyro_msde.datasets.gle import GLE, modes, points
from pyro_msde.guides import AmortizedGP
from pyro_msde.models.gle import gle
from pyro_msde.scores.innovation_test import innovations, ljung_box

# as examples/gle.py, with half the segments a step
RECIPE = {
    "length": 11,
    "stride": 1,
    "segments_per_step": 8,
    "num_nodes": 20,
    "learning_rate": 5e-2,
    "variance_rate": 3.0,
    "beta": 1.0,
    "anneal": 200,
}


def p_value(n_eta, data, *, steps, seed=0):
    """Of the innovations on the test trajectories, after a fit to the training ones."""
    model = gle(n_eta, seed=seed)
    guide = AmortizedGP(model, seed=seed)
    fit = pyro_msde.fit(model, guide, data.train, steps=steps, seed=seed, progress=False, **RECIPE)
    found = innovations(fit, data.test)
    assert sum(map(len, found)) == 2000
    return ljung_box(found, num_lags=20).p_value


def test_smoothing_keeps_the_resolved_variable_and_nothing_of_the_auxiliary_ones():
    operators = gle(2).double().bind({}).operators
    fields = torch.as_tensor(modes(points()))[:, None]
    kept = torch.zeros_like(fields)
    kept[0] = 1
    torch.testing.assert_close(operators.smooth(fields), kept, rtol=0, atol=1e-14)  # rounding
    zeta = operators.restrict(fields)
    torch.testing.assert_close(operators.prolong(zeta), kept, rtol=0, atol=1e-14)


@pytest.mark.slow
def test_memory_stays_without_a_microscale_state_and_goes_with_one():
    """White innovations would fail the second assertion once in a thousand seeds."""
    data = GLE.splits("relaxation", seed=0)
    assert p_value(0, data, steps=100) < 1e-6
    assert p_value(2, data, steps=800) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_so_it_is_with_other_data(seed):
    """As above, at four times the length: 2000 innovations of 40 unseen trajectories."""
    data = GLE.splits("relaxation", seed=seed)
    assert p_value(0, data, steps=800, seed=seed) < 1e-6
    assert p_value(2, data, steps=3000, seed=seed) > 1e-3


def test_no_scalar_filter_whitens_the_resolved_variable():
    """Not a matter of fitting: Wold's innovations of an ARMA(1, 1), of which every scalar linear
    SDE seen through white noise is one, keep an autocorrelation at whatever coefficients.

    The coefficients are chosen to make the statistic on the tested values themselves least.
    """
    test = GLE.splits("stationary", seed=0).test
    y = np.stack(test.values).astype(np.float64).mean(-1)

    def tested(phi, theta):
        e = lfilter([1, -phi], [1, theta], y)[:, 20:]  # without the filter's start
        return ljung_box(list(e), num_lags=20)

    coefficients = np.meshgrid(np.linspace(0.5, 1.0, 26), np.linspace(-0.8, 0.8, 17))
    best = min(
        (tested(*at) for at in zip(*map(np.ravel, coefficients), strict=True)),
        key=lambda result: result.statistic,
    )
    assert best.p_value < 1e-6
