"""What breaks in Pyro programs such as these, one by one: what was tried, and must keep working.

Numbers are those of the list of traps in the project's notes; each is a mistake that runs.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pyro
import pytest
import torch
from oracles.tolerance import standard_errors
from oracles.transposed_convolution import transposed_convolution
from problems import LENGTH, snapshot, tiny_batch, tiny_data, tiny_grid, tiny_model
from pyro import poutine
from pyro.distributions import LogNormal
from pyro.infer import Predictive
from pyro.infer.autoguide import AutoDelta, AutoLowRankMultivariateNormal, AutoNormal
from pyro.nn import PyroModule, pyro_method
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.testing import assert_close

import pyro_msde
import pyro_msde.sde.latent_sde
from pyro_msde import MultiscaleELBO, fit
from pyro_msde.data import Segments
from pyro_msde.guides import AmortizedGP
from pyro_msde.guides.interpolation import Interpolant
from pyro_msde.inference import Trainer
from pyro_msde.priors import LogVariance, Part, bayesian, fan_in_normal
from pyro_msde.runs import Recipe
from pyro_msde.sde import GaussianMarginals, LatentSDE

THETA = {
    "delta": AutoDelta,
    "normal": AutoNormal,
    "lowrank": partial(AutoLowRankMultivariateNormal, rank=3),
}
ROUNDING = {"rtol": 2e-4, "atol": 1e-4}  # float32; sums of some hundred terms
every_theta = pytest.mark.parametrize("theta", THETA)
QUICK = {"length": LENGTH, "stride": 1, "progress": False}


def bayesian_pair(theta, *parts, n_eta=2, scale=1.0):
    """Model with priors on its drift and other parts, and its guide."""
    model = tiny_model(n_eta)
    for part in ("drift", *parts):
        bayesian(getattr(model, part), fan_in_normal(scale))
    return model, AmortizedGP(model, theta=THETA[theta])


def draw_guide(guide, batch, seed=11):
    torch.manual_seed(seed)
    return poutine.trace(guide).get_trace(batch)


# 1: parameters are those that the guide drew, everywhere


@every_theta
def test_1_the_drift_residual_uses_the_drift_that_was_drawn(theta):
    model, guide = bayesian_pair(theta, "kernel")
    batch, elbo = tiny_batch(), MultiscaleELBO(num_nodes=11)
    loss = elbo(model, guide)
    loss(batch)  # sets the autoguide up
    torch.manual_seed(11)
    loss(batch)

    trace = draw_guide(guide, batch)  # leaves the generator where the residual begins
    twin = tiny_model(2).drift.net
    vector_to_parameters(trace.nodes["drift.theta"]["value"], twin.parameters())
    nodes, weights = batch.quadrature.draw(11)
    mu, mu_dot, var, var_dot, _ = trace.nodes["path"]["fn"].moments(nodes)
    noise = torch.randn_like(mu)
    C = model.diffusion.net()
    residual = mu_dot - 0.5 * (C - var_dot) / var * var.sqrt() * noise
    residual = residual - twin(mu + var.sqrt() * noise, nodes)
    integral = (0.5 * (residual**2 / C).sum(-1) * weights).sum()
    expected = batch.num_segments / len(batch.times) * integral
    assert_close(elbo.terms["drift_residual"].double(), expected, **ROUNDING)


@every_theta
def test_1_the_guide_encodes_with_the_kernel_that_was_drawn(theta):
    model, guide = bayesian_pair(theta, "kernel")
    batch = tiny_batch()
    trace = draw_guide(guide, batch)
    kappa = trace.nodes["kernel.theta"]["value"].detach().numpy()
    y, half = batch.values.numpy(), len(kappa) // 2
    smooth = sum(k * np.roll(y, half - i, axis=-1) for i, k in enumerate(kappa))
    zeta = torch.from_numpy(smooth[:, :, 0, :: model.grid.stride[0]])
    nodes = torch.cat([zeta, guide.encoder(torch.from_numpy(y - smooth))], -1)
    W = Interpolant(guide.time_kernel, batch.times).weights(batch.times)[0]
    assert_close(trace.nodes["path"]["fn"].mean.double(), W @ nodes.double(), **ROUNDING)


@every_theta
def test_1_the_likelihood_decodes_with_the_kernel_that_was_drawn(theta):
    model, guide = bayesian_pair(theta, "kernel", n_eta=0)
    batch = tiny_batch(2)
    trace = draw_guide(guide, batch)
    replayed = poutine.trace(poutine.replay(model, trace=trace)).get_trace(batch)
    kappa = trace.nodes["kernel.theta"]["value"].detach().numpy()
    zeta = trace.nodes["path"]["value"].detach().numpy()
    sigma = model.grid.stride[0]
    decoded = sigma * transposed_convolution(
        zeta[1, 4][None], kappa[None, None], sigma, model.grid.shape, (True,)
    )
    mean = replayed.nodes["field"]["fn"].mean[1, 4].detach()
    assert_close(mean, torch.from_numpy(decoded).float(), **ROUNDING)


# 2, 3: dispatch to the drift residual, and scores


def test_2_a_plate_leaves_both_laws_of_the_path_what_they_are():
    model, guide = bayesian_pair("normal")
    batch = tiny_batch()
    model_trace, guide_trace = MultiscaleELBO()._get_trace(model, guide, (batch,), {})
    assert type(guide_trace.nodes["path"]["fn"]) is GaussianMarginals
    assert type(model_trace.nodes["path"]["fn"]) is LatentSDE
    with pyro.plate("samples", 2, dim=-2):
        wider = poutine.trace(poutine.uncondition(tiny_model(2))).get_trace(batch)
    assert type(wider.nodes["path"]["fn"]) is LatentSDE
    assert wider.nodes["path"]["value"].shape == (2, 3, LENGTH, 7)


@pytest.mark.parametrize("theta", [None, *THETA])
def test_3_the_path_is_never_scored_and_auxiliary_sites_are(theta, monkeypatch):
    def refuse(self, value):
        raise AssertionError("the path was scored")

    monkeypatch.setattr(LatentSDE, "log_prob", refuse)
    monkeypatch.setattr(GaussianMarginals, "log_prob", refuse)
    model, guide = (tiny_model(2), None) if theta is None else bayesian_pair(theta)
    guide = AmortizedGP(model) if guide is None else guide
    elbo, batch = MultiscaleELBO(), tiny_batch()
    with pyro.validation_enabled(True):
        elbo(model, guide)(batch).backward()
    assert elbo.terms["drift_residual"] > 0
    model_trace, guide_trace = elbo._get_trace(model, guide, (batch,), {})
    for trace in (model_trace, guide_trace):
        assert not {"log_prob", "score_parts"} & trace.nodes["path"].keys()
    auxiliary = [s for s in guide_trace.nodes.values() if s.get("infer", {}).get("is_auxiliary")]
    assert bool(auxiliary) == (theta in ("normal", "lowrank"))
    assert all("score_parts" in site for site in auxiliary)


# 4: the Jacobian of an autoguide's transform


class _DataFree(PyroModule):
    """Positive parameters and nothing observed."""

    def __init__(self, count):
        super().__init__()
        self.diffusion = Part(LogVariance((count,), 0.1))

    @pyro_method
    def forward(self):
        return self.diffusion.read()()


@pytest.mark.parametrize(("theta", "median"), [("normal", 1.0), ("lowrank", 1.0), ("delta", None)])
def test_4_without_data_the_posterior_of_a_positive_parameter_is_its_prior(theta, median):
    """Also the point estimate: the mode e⁻¹ of the prior's density, where no Jacobian counts."""
    model = _DataFree(41)
    bayesian(model.diffusion, LogNormal(0.0, 1.0))
    guide = THETA[theta](model)
    loss = MultiscaleELBO()(model, guide)
    loss()
    steps = 400
    optimiser = torch.optim.Adam(guide.parameters(), 0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, 1e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
        schedule.step()
    log_median = guide.median()["diffusion.theta"].log()
    expected = -1.0 if median is None else np.log(median)
    # Adam's stationary noise, some 0.1 for each of the 41; the mistake is 1.
    assert log_median.mean().item() == pytest.approx(expected, abs=0.1)
    if median is not None:
        draws = torch.stack([guide()["diffusion.theta"] for _ in range(400)]).log()
        assert draws.std(0).mean().item() == pytest.approx(1.0, abs=0.15)


# 5: order, plates, set-up


@every_theta
def test_5_parameters_are_read_first_and_outside_every_plate(theta):
    model, guide = bayesian_pair(theta, "kernel", "decoder")
    with pyro.validation_enabled(True):  # warnings are errors
        MultiscaleELBO()(model, guide)(tiny_batch())
        model_trace = MultiscaleELBO()._get_trace(model, guide, (tiny_batch(),), {})[0]
    sites = [name for name, s in model_trace.nodes.items() if s["type"] == "sample"]
    assert set(sites[:3]) == {"kernel.theta", "drift.theta", "decoder.theta"}
    assert sites.index("path") > 2
    for name in sites[:3]:
        assert model_trace.nodes[name]["cond_indep_stack"] == ()
        assert model_trace.nodes[name]["value"].ndim == 1


@every_theta
def test_5_setting_up_simulates_no_path_and_starts_at_the_networks_own_weights(theta, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("a path was simulated")

    monkeypatch.setattr(pyro_msde.sde.latent_sde, "integrate", refuse)
    model = tiny_model(2)
    bayesian(model.drift, fan_in_normal(3.0))
    bayesian(model.diffusion, LogNormal(0.0, 2.0))
    guide = AmortizedGP(model, theta=THETA[theta])
    MultiscaleELBO()(model, guide)(tiny_batch())
    start = guide.theta.median()
    own = parameters_to_vector(tiny_model(2).drift.parameters())
    assert_close(start["drift.theta"], own, rtol=0, atol=0)
    # through the logarithm and back
    assert_close(start["diffusion.theta"], torch.full((7,), 0.1), rtol=1e-6, atol=0)


# 6: every parameter has one owner, and the optimiser has them all


@pytest.mark.parametrize("theta", [None, *THETA])
def test_6_each_parameter_has_one_owner_and_the_optimiser_has_them_all(theta):
    if theta is None:
        model = tiny_model(2)
        guide = AmortizedGP(model)
    else:
        model, guide = bayesian_pair(theta, "kernel")
    data = tiny_data()
    segments = Segments(
        [torch.as_tensor(t) for t in data.times],
        [torch.as_tensor(v)[:, None] for v in data.values],
        length=LENGTH,
    )
    trainer = Trainer(
        model,
        guide,
        segments,
        Recipe(),
        steps=2,
        seed=0,
        device=torch.device("cpu"),
    )
    assert not any(m is model or isinstance(m, Part) for m in guide.modules())
    owned = {id(p) for p in model.parameters()}, {id(p) for p in guide.parameters()}
    assert not owned[0] & owned[1]
    held = [id(p) for group in trainer.optimiser.param_groups for p in group["params"]]
    assert len(held) == len(set(held))
    assert set(held) == owned[0] | owned[1]
    names = {name.split(".")[0] for name, _ in model.named_parameters()}
    everything = {"kernel", "drift", "diffusion", "var_zeta", "var_eta", "decoder"}
    assert names == (everything if theta is None else everything - {"drift", "kernel"})
    names = {name.split(".")[0] for name, _ in guide.named_parameters()}
    expected = {"encoder", "time_kernel", "node_variance"}
    assert names == (expected if theta is None else expected | {"theta"})


# 7: forward-mode differentiation of the kernel network


def test_7_the_kernel_network_is_no_pyro_module_and_differentiates_forward():
    guide = AmortizedGP(tiny_model(2))
    assert not any(isinstance(m, PyroModule) for m in guide.time_kernel.modules())
    kernel = guide.time_kernel.double()
    t, step = torch.linspace(-1, 1, 5, dtype=torch.float64), 1e-5
    h_dot = kernel.features(t)[1]
    central = (kernel.features(t + step)[0] - kernel.features(t - step)[0]) / (2 * step)
    assert_close(h_dot, central, rtol=1e-7, atol=1e-7)  # step² and rounding/step


# 8: marginals are no path; the model alone simulates one


def test_8_the_guides_draws_have_no_density_as_a_path():
    trace = draw_guide(bayesian_pair("normal")[1], tiny_batch())
    with pytest.raises(TypeError, match="draws are marginals"):
        trace.nodes["path"]["fn"].log_prob(trace.nodes["path"]["value"])


@pytest.mark.parametrize("theta", [None, "normal"])
def test_8_the_model_simulates_its_prior(theta):
    batch = tiny_batch()
    model = tiny_model(2, initial_sd=0.3) if theta is None else bayesian_pair(theta)[0]
    draws = Predictive(poutine.uncondition(model), num_samples=13)(batch)
    assert draws["path"].shape == (13, 3, LENGTH, 7)
    assert draws["field"].shape == (13, *batch.values.shape)
    assert draws["field"].isfinite().all()
    assert not torch.equal(draws["field"][0], batch.values)
    start = draws["path"][:, :, 0]
    sd, count = (0.3 if theta is None else 1.0), start.numel()
    # mean square of normal numbers: standard error √(2/count) of itself
    allowed = standard_errors(1) * (2 / count) ** 0.5
    assert start.square().mean().item() == pytest.approx(sd**2, rel=allowed)


# 9: variance due to parameters


@pytest.mark.parametrize("theta", [None, *THETA])
def test_9_parameter_variance_is_of_random_parameters_and_the_parts_sum_exactly(theta):
    if theta is None:
        model = tiny_model(2)
        guide = AmortizedGP(model)
    else:
        model, guide = bayesian_pair(theta, "kernel", "decoder")
    result = fit(model, guide, tiny_data(), steps=1, jackknife=False, **QUICK)
    if theta == "normal":
        for name, scale in guide.theta.named_parameters():
            if "scales" in name:
                scale.data.fill_(-3.5)  # its softplus is 0.03
    y0, times = tiny_data().values[0][0], np.array([0.0, 0.1, 0.2])
    fc = result.predict(y0, times, num_samples=24, max_step=0.02)
    assert torch.equal(fc.var, fc.reconstruction_var + fc.propagated_var + fc.parameter_var)
    assert (fc.propagated_var >= 0).all()
    if theta in (None, "delta"):
        assert (fc.parameter_var == 0).all()
        assert (fc.propagated_var > 0).all()
    if theta == "normal":
        assert (fc.parameter_var > 0).double().mean() > 0.5


# 10: seeds, and fits from files


def test_10_weights_are_drawn_by_the_constructors_seed_and_not_by_fit():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    model = pyro_msde.models.kdv(n_eta=2, seed=5)
    guide = AmortizedGP(model, seed=6)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    twin = pyro_msde.models.kdv(n_eta=2, seed=5)
    for a, b in ((model, twin), (guide, AmortizedGP(twin, seed=6))):
        assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    model = tiny_model(2)
    guide = AmortizedGP(model)
    drawn = snapshot(model), snapshot(guide)
    fit(model, guide, tiny_data(), steps=0, seed=9, **QUICK)
    for name in ("var_zeta", "var_eta"):  # these end where the likelihood is largest
        drawn[0][f"{name}.net.log_value"] = getattr(model, name).net.log_value.detach()
    assert_close((snapshot(model), snapshot(guide)), drawn, rtol=0, atol=0)


@every_theta
def test_10_a_fit_with_priors_loads_into_a_model_and_guide_built_alike(theta, tmp_path):
    result = fit(*bayesian_pair(theta, "kernel"), tiny_data(), steps=3, **QUICK)
    result.save(tmp_path)
    with pytest.raises(pyro_msde.SavedRunError, match="priors"):
        pyro_msde.load(tmp_path)
    model, guide = bayesian_pair(theta, "kernel")
    loaded = pyro_msde.load(tmp_path, model=model, guide=guide)
    ids = {id(p) for p in guide.theta.parameters()}
    assert ids
    assert ids <= {id(p) for p in loaded.guide.parameters()}
    ask = partial(
        pyro_msde.Fit.predict, y0=tiny_data().values[1][0], times=[0.0, 0.1, 0.3], max_step=0.05
    )
    first, second = ask(result), ask(loaded)
    assert torch.equal(first.mean, second.mean)
    assert torch.equal(first.var, second.var)


# 11: a loss that is not finite


def test_11_a_loss_that_is_not_finite_stops_training_with_usable_parameters(monkeypatch):
    model = tiny_model(2, grid=tiny_grid())
    guide = AmortizedGP(model)
    original, calls = type(model.drift.net).forward, []

    def sometimes_nan(self, *args, **options):
        if torch.is_grad_enabled():  # the check of the program takes no gradient
            calls.append(0)
        drift = original(self, *args, **options)
        return drift * float("nan") if len(calls) > 60 else drift

    monkeypatch.setattr(type(model.drift.net), "forward", sometimes_nan)
    with pytest.raises(pyro_msde.NonFiniteLossError, match="drift_residual") as caught:
        fit(model, guide, tiny_data(), steps=80, jackknife=False, **QUICK)
    assert caught.value.term == "drift_residual"
    assert caught.value.step == 59  # the dry run came first
    monkeypatch.undo()
    assert all(p.isfinite().all() for p in [*model.parameters(), *guide.parameters()])
    assert MultiscaleELBO()(model, guide)(tiny_batch()).isfinite()
