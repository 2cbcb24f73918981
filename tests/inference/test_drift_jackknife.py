"""Parameter uncertainty by leaving trajectories out, against refits, loops and closed forms."""

from __future__ import annotations

import itertools
from copy import deepcopy

import numpy as np
import pytest
import torch
from named_fields import named_data
from problems import SIZES, tiny_data, tiny_grid, tiny_model, tiny_pair
from pyro.distributions import LogNormal
from torch import nn
from torch.testing import assert_close

import pyro_msde
from pyro_msde import Fit
from pyro_msde.data import Scaling
from pyro_msde.guides import AmortizedGP, UnamortizedGP
from pyro_msde.inference import drift_jackknife as jackknife_module
from pyro_msde.inference.drift_jackknife import Jackknife, with_last_weights_changed
from pyro_msde.networks import MLP, PolynomialMLP
from pyro_msde.priors import bayesian, fan_in_normal
from pyro_msde.runs import TrainingRecord

ROUNDING = {"rtol": 1e-9, "atol": 1e-11}


def randomised(model, seed=0):
    """With all weights of the drift away from their start at zero."""
    generator = torch.Generator().manual_seed(seed)
    for p in model.drift.parameters():
        p.data += 0.3 * torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p)
    return model


@pytest.mark.parametrize(
    "net", [MLP([4, 7, 2]), PolynomialMLP([4, 7, 2], 3), PolynomialMLP([4, 7, 2], 0)]
)
def test_networks_are_linear_in_their_features(net):
    net = randomised(nn.ModuleDict({"drift": net})).drift.double()
    x = torch.randn(5, 3, 4, dtype=torch.float64)
    assert_close(net.features(x) @ net.readout(), net(x), **ROUNDING)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("n_eta", [0, 2])
def test_each_path_has_the_drift_of_its_own_weights(n_eta, channels):
    """Against copies of the networks whose last layers hold the changed weights."""
    model = randomised(tiny_model(n_eta, grid=tiny_grid(channels))).double()
    drift = model.drift.read()
    z = torch.randn(3, 4, 6, 5 * channels + n_eta, dtype=torch.float64)
    t = torch.rand(4, 6, dtype=torch.float64)
    assert_close(drift.joined(drift.split(z)), z, rtol=0, atol=0)
    names = ["macro", "micro"] if n_eta else ["macro"]
    changes = {n: 0.2 * torch.randn(3, *getattr(drift, n).readout().shape).double() for n in names}
    found = with_last_weights_changed(drift, changes)(z, t)
    for i in range(3):
        copy = deepcopy(drift)
        for name, change in changes.items():
            net, row = getattr(copy, name), change[i]
            inputs, rank = net.linear.weight.shape[1], net.rank
            net.linear.weight.data += row[:inputs].T
            net.output.weight.data += row[inputs : inputs + rank].T
            net.network[-1].weight.data += row[inputs + rank : -1].T
            net.network[-1].bias.data += row[-1]
        assert_close(found[i], copy(z[i], t), **ROUNDING)


def test_directions_are_those_of_refits_without_each_trajectory():
    """Least squares of stacked rows, λ as further rows of √(λ H_pp / n) (numpy's lstsq)."""
    rng = np.random.default_rng(1)
    n, p, ridge = 5, 4, 0.03
    phi = [rng.normal(size=(m, p)) for m in (6, 9, 7, 11, 8)]
    r = [rng.normal(size=(len(x), 2)) for x in phi]
    H = torch.tensor(np.stack([x.T @ x for x in phi]))
    g = torch.tensor(np.stack([x.T @ y for x, y in zip(phi, r, strict=True)]))
    prior = np.diag(np.sqrt(ridge * np.diag(H.mean(0).numpy())))
    refits = []
    for k in range(n):
        rows = np.concatenate([*(phi[j] for j in range(n) if j != k), prior])
        targets = np.concatenate([*(r[j] for j in range(n) if j != k), np.zeros((p, 2))])
        refits.append(np.linalg.lstsq(rows, targets, rcond=None)[0])
    expected = np.sqrt((n - 1) / n) * (np.stack(refits) - np.mean(refits, 0))
    found = jackknife_module.leave_one_out(H, g, ridge)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12)


def test_a_mean_s_directions_have_its_standard_error():
    """One constant feature: W is the mean of the trajectories, its variance s²/n exactly."""
    r = torch.tensor([0.3, -1.2, 2.0, 0.7], dtype=torch.float64)
    found = jackknife_module.leave_one_out(
        torch.ones(4, 1, 1, dtype=torch.float64), r[:, None, None], 1e-12
    )
    assert_close(found.square().sum(), r.var() / 4, rtol=1e-9, atol=0)


def test_a_unit_that_is_off_in_the_data_keeps_its_weight():
    """One feature in 1e20 of the others: least squares would give it a weight of any size."""
    rng = np.random.default_rng(6)
    phi = rng.standard_normal((8, 50, 3)) * [1.0, 0.3, 1e-20]
    r = rng.standard_normal((8, 50, 1))
    H, g = (torch.as_tensor(phi.swapaxes(1, 2) @ x) for x in (phi, r))
    found = jackknife_module.leave_one_out(H, g, 1.0)
    assert found[:, 2].abs().max() < 1e-6
    alone = jackknife_module.leave_one_out(H[:, :2, :2], g[:, :2], 1.0)
    torch.testing.assert_close(found[:, :2], alone)


def test_draws_have_the_covariance_of_the_directions():
    """Four standard errors a number, of 20000 pairs: a false alarm in one of 1000 seeds or so."""
    torch.manual_seed(5)
    d = torch.randn(3, 2, 1, dtype=torch.float64)
    draws = Jackknife({"macro": d}).draws(40_000)["macro"][..., 0]
    assert torch.equal(draws[1::2], -draws[::2])
    products = (draws[::2, :, None] * draws[::2, None, :]).numpy()
    expected = torch.einsum("kp,kq->pq", d[..., 0], d[..., 0]).numpy()
    error = products.std(0) / np.sqrt(len(products))
    assert (np.abs(products.mean(0) - expected) < 4 * error).all()
    single = torch.cat([Jackknife({"macro": d}).draws(3)["macro"][2:] for _ in range(20_000)])
    products = (single[:, :, 0, None] * single[:, None, :, 0]).numpy()
    error = products.std(0) / np.sqrt(len(products))
    assert (np.abs(products.mean(0) - expected) < 4 * error).all()


def test_networks_are_drawn_together():
    d = torch.randn(4, 3, 1, dtype=torch.float64)
    draws = Jackknife({"macro": d, "micro": 2 * d}).draws(6)
    assert_close(draws["micro"], 2 * draws["macro"], rtol=1e-12, atol=0)


def test_sums_are_weighted_over_paths_points_and_times():
    """Against loops."""
    model = randomised(tiny_model(2)).double()
    drift = model.drift.read()
    z, missed = torch.randn(2, 2, 3, 4, 7, dtype=torch.float64)  # (pair, segment, time, latent)
    t, share = torch.rand(2, 3, 4, dtype=torch.float64)
    features = drift.features(z, t)
    for name in ("macro", "micro"):
        found = jackknife_module.normal_equations(features[name], drift.split(missed)[name], share)
        net, x = getattr(drift, name), drift.inputs(z, t)[name]
        H, g = 0.0, 0.0
        for i, k, j in itertools.product(range(2), range(3), range(4)):
            phi = net.features(x[i, k, j]).reshape(-1, len(net.readout()))
            r = missed[i, k, j, 5:] if name == "micro" else missed[i, k, j, :5, None]
            r = r.reshape(len(phi), -1)
            H, g = H + share[k, j] * phi.T @ phi, g + share[k, j] * phi.T @ r
        assert_close(found, [H, g], **ROUNDING)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_every_instant_of_a_trajectory_counts_once(covariance, monkeypatch):
    """The sum of the constant feature's square is the duration, times the points it is taken at."""
    sums = []
    original = jackknife_module.leave_one_out
    monkeypatch.setattr(
        jackknife_module,
        "leave_one_out",
        lambda H, g, ridge: sums.append(H) or original(H, g, ridge),
    )
    data, model = tiny_data((9, 13), irregular=True), tiny_model(2)  # no segments overlap
    guide = AmortizedGP(model, covariance=covariance)
    record = TrainingRecord(segment=(5, 0.2))
    Fit(model, guide, Scaling((2.0,), 0.5), training=record).jackknifed(data)
    durations = torch.tensor([(t[-1] - t[0]) / 0.5 for t in data.times])
    for H, points in zip(sums, (5, 1), strict=True):
        assert_close(H[:, -1, -1], points * durations, rtol=1e-5, atol=0)  # float32 drifts


def test_of_very_many_trajectories_groups_are_left_out(monkeypatch):
    """Sums of the constant feature's square again: each trajectory is in one group."""
    sums = []
    original = jackknife_module.leave_one_out
    monkeypatch.setattr(jackknife_module, "_MOST_GROUPS", 2)
    monkeypatch.setattr(
        jackknife_module,
        "leave_one_out",
        lambda H, g, ridge: sums.append(H) or original(H, g, ridge),
    )
    data, model = tiny_data((9, 13, 21), irregular=True), tiny_model(2)
    found = Fit(
        model, AmortizedGP(model), Scaling((2.0,), 0.5), training=TrainingRecord(segment=(5, 0.2))
    ).jackknifed(data)
    first, second, third = ((t[-1] - t[0]) / 0.5 for t in data.times)
    durations = torch.tensor([first + third, second])
    assert_close(sums[1][:, -1, -1], durations, rtol=1e-5, atol=0)
    assert {len(d) for d in found.adjustment("jackknife").directions.values()} == {2}


# of a fit


@pytest.fixture(scope="module")
def known():
    data = tiny_data()
    fit = pyro_msde.fit(
        *tiny_pair(2), data, steps=3, length=5, stride=1, progress=False, jackknife=False
    )
    return fit, data, fit.jackknifed(data)


def ask(fit, **options):
    data = tiny_data(seed=3)
    options = {"max_step": 0.02} | options
    return fit.predict(np.stack([v[0] for v in data.values]), [0.0, 0.1, 0.25], **options)


def test_parameter_variance_is_that_between_draws_of_the_drift(known):
    fit, _, found = known
    assert fit.adjustment("jackknife") is None
    assert ask(fit).parameter_var.max() == 0
    fc = ask(found, num_samples=40, num_theta=4)
    assert fc.paths.shape == (4, 10, len(tiny_data(seed=3)), 3, 7)
    assert fc.parameter_var[:, 1:].mean() > 0
    total = fc.reconstruction_var + fc.propagated_var + fc.parameter_var
    assert torch.equal(fc.var, total)


def test_each_draw_has_two_paths_unless_they_are_asked_for(known):
    for samples, shape in ((64, (8, 8)), (7, (3, 3)), (2, (1, 2)), (1, (1, 1))):
        assert ask(known[2], num_samples=samples).paths.shape[:2] == shape
    assert ask(known[2], num_samples=4, num_theta=4).paths.shape[:2] == (4, 1)


def test_paths_move_with_their_draw_of_the_drift(known):
    """Without noise in the SDE and the initial state, a draw's paths are one."""
    still = deepcopy(known[2])
    with torch.no_grad():
        still.model.diffusion.net.log_value.fill_(-60)
        still.guide.node_variance.log_value.fill_(-60)
    for name in still.adjustment("jackknife").directions:
        still.adjustment("jackknife").directions[name].mul_(3.0)
    fc = ask(still, num_samples=8, num_theta=4)
    draw = fc.paths[:, :, :, -1]
    assert (draw - draw[:, :1]).abs().max() < 1e-3 * (draw[0] - draw[1]).abs().max()
    assert torch.equal(fc.paths, ask(still, num_samples=8, num_theta=4).paths)


def test_other_parts_may_have_a_posterior():
    """Each draw of θ then has its own draw of the drift."""
    data, model = tiny_data(), tiny_model(2)
    bayesian(model.diffusion, LogNormal(-2.0, 0.5))
    fit = pyro_msde.fit(
        model, AmortizedGP(model), data, steps=3, length=5, stride=1, progress=False
    ).jackknifed(data)
    fc = ask(fit, num_samples=12, num_theta=4)
    assert fc.paths.shape[:2] == (4, 3)
    drawn = torch.stack([s["diffusion.theta"] for s in fc.sites])
    assert len(drawn.unique(dim=0)) == 4
    plain = ask(fit.without("jackknife"), num_samples=12, num_theta=4)
    assert not torch.equal(fc.paths, plain.paths)


def test_free_marginals_are_those_of_each_trajectory():
    """Of its own observations, by their number among all."""
    data, model = tiny_data(), tiny_model(2)
    guide, numbers = UnamortizedGP(model, data), []
    fit = pyro_msde.fit(model, guide, data, steps=3, length=5, stride=1, progress=False)
    guide = fit.guide  # a copy of the one that was trained
    marginals = guide.path_marginals

    def recorded(batch, *rest):
        numbers.append(batch.observations)
        return marginals(batch, *rest)

    guide.path_marginals = recorded
    assert fit.jackknifed(data).adjustment("jackknife") is not None
    assert torch.cat(numbers, 1).unique().tolist() == list(range(sum(SIZES)))
    with pytest.raises(ValueError, match="guide: made for"):
        fit.jackknifed(data[1:])


def test_nothing_global_changes_and_a_seed_repeats(known):
    fit, data, found = known
    state = torch.get_rng_state()
    again = fit.jackknifed(data)
    assert torch.equal(torch.get_rng_state(), state)
    for name, d in found.adjustment("jackknife").directions.items():
        assert torch.equal(again.adjustment("jackknife").directions[name], d)
        assert len(d) == len(SIZES)
        held = fit.jackknifed(data, ridge=100.0).adjustment("jackknife")
        scale = held.directions[name].abs().mean()
        assert scale < d.abs().mean()


def test_data_of_other_parameters_are_refused(known):
    with pytest.raises(ValueError, match="train: 2 covariates a trajectory, the model takes 0"):
        known[0].jackknifed(tiny_data(covariates=np.ones((3, 2))))


def test_it_is_saved_and_loaded(known, tmp_path):
    model, guide = tiny_pair(2)
    known[2].save(tmp_path)
    back = pyro_msde.load(tmp_path, model, guide)
    assert torch.equal(ask(back).paths, ask(known[2]).paths)
    known[0].save(tmp_path / "plain")
    assert pyro_msde.load(tmp_path / "plain", model, guide).adjustment("jackknife") is None


@pytest.mark.slow
def test_calibration_and_arviz_take_it():
    even = named_data(3, 4.0 + 0.05 * np.arange(41))
    with pytest.warns(UserWarning, match=r"data: coords\['s'\] run from 3"):
        own = pyro_msde.fit(*tiny_pair(2), even, steps=3, length=5, stride=1, progress=False)
    calibrated = own.calibrated(even)
    assert calibrated.adjustment("jackknife") is own.adjustment("jackknife") is not None
    wide, point = (
        fit.to_arviz(even, num_samples=8, times=2).posterior_predictive["h_sd"].values
        for fit in (own, own.without("jackknife"))
    )
    assert np.allclose(wide[..., 0, :], point[..., 0, :], rtol=1e-6)  # where forecasts start
    assert (wide[..., -1, :] != point[..., -1, :]).all()


def test_an_ensemble_pools_draws_of_the_drift(known):
    """Those of each fit, forecast with a seed of its own."""
    found = known[2]
    pooled = ask(pyro_msde.Ensemble([found, deepcopy(found)]), num_samples=8, num_theta=2)
    apart = [ask(found, num_samples=4, num_theta=2, seed=seed) for seed in (0, 1)]
    assert torch.equal(pooled.paths, torch.cat([fc.paths for fc in apart]))


# what `fit` does of itself


def test_fit_ends_with_it(known, tmp_path):
    """The copy that the checkpoint keeps has it too, and a finished run that is resumed."""
    _, data, found = known
    again = dict(steps=3, length=5, stride=1, progress=False, checkpoint=tmp_path)
    for _ in range(2):
        fit = pyro_msde.fit(*tiny_pair(2), data, **again)
        assert torch.equal(ask(fit).paths, ask(found).paths)
        assert torch.equal(ask(pyro_msde.load(tmp_path, *tiny_pair(2))).paths, ask(found).paths)


def test_fit_leaves_out_what_the_jackknife_cannot_take():
    data = tiny_data()
    models = {name: tiny_model(2) for name in ("prior", "two", "linear")} | {
        "own": tiny_model(2, drift=Still())
    }
    models["linear"].drift._modules["net"].micro = nn.Linear(2 + 5, 2)
    bayesian(models["prior"].drift, fan_in_normal(1.0))
    for name, model in models.items():
        fit = pyro_msde.fit(
            model,
            AmortizedGP(model),
            tiny_data((2,)) if name == "two" else data,
            steps=2,
            length=2 if name == "two" else 5,
            stride=1,
            progress=False,
        )
        assert fit.adjustment("jackknife") is None, name


# what is refused


def test_what_it_cannot_take_is_refused(known):
    fit, data, _ = known
    with pytest.raises(ValueError, match="train: a single trajectory of 2 snapshots"):
        fit.jackknifed(tiny_data((2,)))
    with pytest.raises(ValueError, match="ridge=0: give a number above 0"):
        fit.jackknifed(data, ridge=0)
    model = tiny_model(2)
    bayesian(model.drift, fan_in_normal(1.0))
    with pytest.raises(ValueError, match="the drift has a prior"):
        Fit(model, AmortizedGP(model), Scaling((2.0,), 1.0)).jackknifed(data)
    model = tiny_model(2, drift=Still())
    with pytest.raises(ValueError, match="Still does not offer LastLayer"):
        Fit(model, AmortizedGP(model), Scaling((2.0,), 1.0)).jackknifed(data)
    with pytest.raises(ValueError, match="trajectory 1 has a single snapshot"):
        fit.jackknifed(tiny_data((7, 1)))


class Still(nn.Module):
    """γ = 0."""

    def forward(self, z, t, covariates=None):
        return 0 * z
