"""Parameter uncertainty of a single trajectory by leaving blocks of time out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles.tolerance import standard_errors
from problems import tiny_data, tiny_model, tiny_pair
from torch.testing import assert_close

import pyro_msde
from pyro_msde import Fit
from pyro_msde.data import Scaling
from pyro_msde.data.decorrelation import decorrelation_lag
from pyro_msde.data.time_blocks import num_blocks
from pyro_msde.guides import AmortizedGP
from pyro_msde.inference import drift_jackknife as jackknife_module
from pyro_msde.runs import TrainingRecord


def autoregressions(rng, shape, rho):
    """(series, time) stationary AR(1) of variance one."""
    x = rng.standard_normal(shape)
    for i in range(1, shape[1]):
        x[:, i] = rho * x[:, i - 1] + np.sqrt(1 - rho**2) * x[:, i]
    return x


def block_variance(phi, r, starts):
    """What the blocks that begin there say of the weight's variance."""
    H, g = (torch.tensor(np.add.reduceat(phi * x, starts)) for x in (phi, r))
    directions = jackknife_module.leave_one_out(H[:, None, None], g[:, None, None], 1e-9)
    return float(directions.square().sum())


@pytest.mark.parametrize(("of_feature", "of_error"), [(0.9, 0.0), (0.9, 0.9), (0.95, 0.6)])
def test_least_squares_on_one_series_has_the_variance_that_blocks_say(of_feature, of_error):
    """r = φ w + e with independent AR(1) φ, e: Var ŵ = (σ²/N)(1 + R)/(1 − R), R = ρ_φ ρ_e.

    For white e, as of a drift that is right, that is the usual σ²/N; to leave out points one by one
    would say so for all, a tenth of what is true at R = .81. Blocks lack the share τ n / N, where
    τ = 2R/(1 − R²), to second order and to 1/n. Random errors are those of the mean of 200 series.
    """
    series, length, rng = 200, 2000, np.random.default_rng(0)
    phi = autoregressions(rng, (series, length), of_feature)
    e = 0.7 * autoregressions(rng, (series, length), of_error)
    n = num_blocks(length, decorrelation_lag(list(phi[..., None]), length // 2))
    starts = np.linspace(0, length, n + 1).round().astype(int)[:-1]
    found = np.array([block_variance(p, r, starts) for p, r in zip(phi, e, strict=True)])
    R = of_feature * of_error
    exact = 0.49 / length * (1 + R) / (1 - R)
    missing = 2 * R / (1 - R**2) * n / length
    assert missing < 0.15
    error = standard_errors(3) * found.std() / exact / np.sqrt(series) + missing**2 + 1 / n
    assert abs(found.mean() / exact - (1 - missing)) < error < 0.2
    # the estimates themselves spread so: chi-square, and a bias of what one over N neglects
    weights = (phi * e).sum(1) / (phi**2).sum(1)
    spread = weights.var() / exact - 1
    assert abs(spread) < standard_errors(3) * np.sqrt(2 / series) + 1 / n


def test_blocks_of_one_point_give_the_usual_formula():
    """The mean of white noise: s²/N exactly, as no point is like its neighbour."""
    r = np.random.default_rng(1).standard_normal(50)
    found = block_variance(np.ones(50), r, np.arange(50))
    assert found == pytest.approx(r.var(ddof=1) / 50, rel=1e-6)  # of the ridge


@pytest.mark.parametrize("size", [60, 47])  # segments end within blocks, and the last two overlap
def test_every_instant_counts_once_in_its_block(size, monkeypatch):
    """The sum of the constant feature's square is the duration, times the points it is taken at."""
    sums, edges, blocks = [], [], jackknife_module.JackknifeStep.__init__
    original = jackknife_module.leave_one_out
    monkeypatch.setattr(
        jackknife_module,
        "leave_one_out",
        lambda H, g, ridge: sums.append(H) or original(H, g, ridge),
    )
    monkeypatch.setattr(
        jackknife_module.JackknifeStep,
        "__init__",
        lambda self, isolation, where, **options: (
            edges.append(where) or blocks(self, isolation, where, **{**options, "num_nodes": 1000})
        ),
    )
    data, model = tiny_data((size,), irregular=True), tiny_model(2)
    record = TrainingRecord(segment=(5, 0.2))
    fit = Fit(model, AmortizedGP(model), Scaling((2.0,), 0.5), training=record)
    fit.jackknifed(data)
    times = data.times[0] / 0.5
    durations = np.diff([times[0], *edges[0], times[-1]])
    assert len(durations) > 3
    for H, points in zip(sums, (5, 1), strict=True):
        found = H[:, -1, -1].numpy() / points
        # both ends of a block fall into one of 1000 parts of each of two segments at most, 4 x 0.07
        # long in 0.5, whose node is on either side
        np.testing.assert_allclose(found, durations, rtol=0, atol=4 * 0.56 / 1000)
        assert found.sum() == pytest.approx(durations.sum(), rel=1e-3)


def ask(fit, **options):
    y0 = tiny_data((5,), seed=3).values[0][0]
    return fit.predict(y0, [0.0, 0.1, 0.25], max_step=0.02, **options)


def test_fit_ends_with_it_saves_it_and_loads_it(tmp_path):
    data = tiny_data((61,))
    options = {"steps": 2, "length": 5, "stride": 1, "progress": False}
    found = pyro_msde.fit(*tiny_pair(2), data, **options, checkpoint=tmp_path)
    directions = found.adjustment("jackknife").directions
    assert {len(d) for d in directions.values()} == {
        num_blocks(60, decorrelation_lag(data.values, 30))
    }
    again = found.jackknifed(data).adjustment("jackknife").directions
    for name, d in directions.items():
        assert_close(again[name], d, rtol=0, atol=0)
    fc = ask(found)
    assert fc.parameter_var[1:].mean() > 0
    assert fc.paths.shape[:2] == (8, 8)
    for fit in (
        pyro_msde.load(tmp_path, *tiny_pair(2)),
        pyro_msde.fit(*tiny_pair(2), data, **options, checkpoint=tmp_path),
    ):
        assert torch.equal(ask(fit).paths, fc.paths)
    wide, point = (
        f.to_arviz(tiny_data((5,), seed=3), num_samples=8, times=2).posterior_predictive
        for f in (found, found.without("jackknife"))
    )
    assert any(not np.array_equal(wide[name], point[name]) for name in wide.data_vars)
