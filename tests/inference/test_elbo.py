"""The ELBO's terms, its weight of the residual, its particles."""

from __future__ import annotations

import math

import pyro
import pytest
import torch
from problems import tiny_batch, tiny_model, tiny_pair
from pyro import poutine
from pyro.distributions import Delta, Gamma, LogNormal, Normal
from pyro.infer import TraceMeanField_ELBO
from torch.testing import assert_close

from pyro_msde import MultiscaleELBO
from pyro_msde.guides import AmortizedGP
from pyro_msde.inference import elbo as elbo_module
from pyro_msde.priors.bayesian_parts import bayesian, fan_in_normal
from pyro_msde.sde import drift_residual

TERMS = {"log_likelihood", "drift_residual", "kl_parameters"}


@pytest.fixture
def pair():
    model = tiny_model(2)
    bayesian(model.drift, fan_in_normal(1.0))
    guide = AmortizedGP(model)
    MultiscaleELBO()(model, guide)(tiny_batch())
    return model, guide


def evaluate(elbo, pair, seed=4):
    torch.manual_seed(seed)
    return elbo(*pair)(tiny_batch())


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_the_loss_is_the_sum_of_its_terms_with_beta_on_the_residual_alone(pair, beta):
    elbo = MultiscaleELBO(beta=beta)
    loss = evaluate(elbo, pair)
    assert elbo.terms.keys() == TERMS
    assert not any(v.requires_grad for v in elbo.terms.values())
    t = elbo.terms
    expected = beta * t["drift_residual"] + t["kl_parameters"] - t["log_likelihood"]
    assert_close(loss.detach(), expected, rtol=1e-6, atol=0)
    unweighted = MultiscaleELBO()
    evaluate(unweighted, pair)
    assert_close(t, unweighted.terms, rtol=0, atol=0)  # reported without β


def test_beta_zero_leaves_no_gradient_to_the_drift():
    model, guide = tiny_pair(2)
    MultiscaleELBO(beta=0.0)(model, guide)(tiny_batch()).backward()
    assert all((p.grad == 0).all() for p in model.drift.parameters())
    assert (model.kernel.net.weight.grad != 0).all()


def test_the_log_likelihood_is_pyros_own_for_the_same_draws(pair):
    """`log_prob_sum` of the observed site is the fields' own and the plate's scale."""
    model, guide = pair
    elbo, batch = MultiscaleELBO(), tiny_batch()
    evaluate(elbo, pair)
    torch.manual_seed(4)
    guide_trace = poutine.trace(guide).get_trace(batch)
    site = poutine.trace(poutine.replay(model, guide_trace)).get_trace(batch).nodes["field"]
    total = site["fn"].log_prob(batch.values).sum() * batch.num_segments / len(batch.times)
    assert_close(elbo.terms["log_likelihood"], total.detach(), rtol=1e-6, atol=0)


def test_particles_are_averaged_in_the_loss_and_in_the_terms(pair):
    elbo = MultiscaleELBO(num_particles=3)
    loss = evaluate(elbo, pair)
    one, losses, terms = MultiscaleELBO(), [], []
    torch.manual_seed(4)
    for _ in range(3):
        losses.append(one(*pair)(tiny_batch()).detach())
        terms.append(one.terms)
    assert_close(loss.detach(), torch.stack(losses).mean(), rtol=1e-6, atol=0)
    for name in TERMS:
        mean = torch.stack([t[name] for t in terms]).mean()
        assert_close(elbo.terms[name], mean, rtol=1e-5, atol=0)


def test_the_number_of_nodes_reaches_the_residual(pair, monkeypatch):
    batch, asked = tiny_batch(), []
    original = type(batch.quadrature).draw

    def draw(self, num_nodes):
        asked.append(num_nodes)
        return original(self, num_nodes)

    monkeypatch.setattr(type(batch.quadrature), "draw", draw)
    MultiscaleELBO(num_nodes=13)(*pair)(batch)
    assert asked == [13]


def test_a_spread_tube_changes_the_loss_and_not_the_reported_bound(pair, monkeypatch):
    """Half the nodes each: loss = β (narrow + wide)/2 + the rest; the terms know narrow only."""
    found = {}

    def recorded(q, p, *, num_nodes, antithetic, spread):
        residual = drift_residual(q, p, num_nodes=num_nodes, antithetic=antithetic, spread=spread)
        found[spread] = num_nodes, residual.detach()
        return residual

    monkeypatch.setattr(elbo_module, "drift_residual", recorded)
    elbo, batch = MultiscaleELBO(num_nodes=12, beta=0.7, spread=5.0), tiny_batch()
    loss = evaluate(elbo, pair)
    assert {spread: nodes for spread, (nodes, _) in found.items()} == {1.0: 6, 5.0: 6}
    scale = batch.num_segments / len(batch.times)
    narrow, wide = (scale * found[spread][1].sum() for spread in (1.0, 5.0))
    assert_close(elbo.terms["drift_residual"], narrow, rtol=1e-6, atol=0)
    rest = elbo.terms["kl_parameters"] - elbo.terms["log_likelihood"]
    assert_close(loss.detach(), 0.7 * (narrow + wide) / 2 + rest, rtol=1e-5, atol=0)


def delta_guide(log_density):
    def guide():
        pyro.sample("x", Delta(torch.tensor([0.4, 1.7, 2.1]), log_density, event_dim=1))

    return guide


def positive_model():
    pyro.sample("x", Gamma(2.0, 3.0).expand([3]).to_event(1))


def test_the_log_density_of_a_delta_counts_once():
    log_density, x = torch.tensor(-0.83), torch.tensor([0.4, 1.7, 2.1])
    prior = sum(math.log(9 * v) - 3 * v for v in x.tolist())  # Gamma(2, 3): 3² x e^{−3x}
    elbo = MultiscaleELBO()
    loss = elbo.loss(positive_model, delta_guide(log_density))
    assert float(loss) == pytest.approx(-0.83 - prior, rel=1e-6)
    assert float(elbo.terms["kl_parameters"]) == pytest.approx(float(loss), rel=1e-6)
    pyros = TraceMeanField_ELBO().loss(positive_model, delta_guide(log_density))
    assert pyros == pytest.approx(-prior, rel=1e-6)  # why ours exists


@pytest.mark.parametrize("pair_of_laws", ["closed form", "sampled"])
def test_kl_of_parameters_without_and_with_a_closed_form(pair_of_laws):
    """LogNormal from LogNormal is known to torch; LogNormal from Gamma is scored at the draw."""
    q = LogNormal(0.2, 0.5)
    p = LogNormal(-0.1, 0.9) if pair_of_laws == "closed form" else Gamma(2.0, 3.0)
    elbo = MultiscaleELBO()
    torch.manual_seed(3)
    loss = float(elbo.loss(lambda: pyro.sample("x", p), lambda: pyro.sample("x", q)))
    torch.manual_seed(3)
    x = float(q.rsample())
    if pair_of_laws == "closed form":
        expected = math.log(0.9 / 0.5) + (0.25 + 0.09) / (2 * 0.81) - 0.5
    else:
        standard = (math.log(x) - 0.2) / 0.5
        log_q = -0.5 * standard**2 - math.log(0.5 * x) - 0.5 * math.log(2 * math.pi)
        expected = log_q - (math.log(9 * x) - 3 * x)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_sites_scaled_by_a_plate_are_scaled_in_every_term():
    def model():
        with pyro.plate("rows", 10, subsample=torch.arange(5)):
            x = pyro.sample("x", Normal(0.0, 1.0))
            pyro.sample("y", Normal(x, 1.0), obs=torch.zeros(5))

    def guide():
        with pyro.plate("rows", 10, subsample=torch.arange(5)):
            pyro.sample("x", Normal(torch.full((5,), 0.7), 1.0))

    elbo = MultiscaleELBO()
    torch.manual_seed(3)
    elbo.loss(model, guide)
    assert float(elbo.terms["kl_parameters"]) == pytest.approx(10 * 0.5 * 0.49, rel=1e-6)
    torch.manual_seed(3)
    x = 0.7 + torch.randn(5).double()
    log_density = -0.5 * x.square() - 0.5 * math.log(2 * math.pi)
    expected = 2 * float(log_density.sum())
    assert float(elbo.terms["log_likelihood"]) == pytest.approx(expected, rel=1e-5)


def test_validation_finds_a_site_without_its_partner():
    model, guide = tiny_pair(2)

    def with_more(batch):
        guide(batch)
        pyro.sample("stray", Normal(0.0, 1.0))

    with (
        pyro.validation_enabled(True),
        pytest.raises(ValueError, match="guide: samples stray, which the model does not"),
    ):
        MultiscaleELBO().loss(model, with_more, tiny_batch())


def test_validation_finds_a_path_of_another_law():
    model, guide = tiny_pair(2)

    def normal_paths(batch):
        with poutine.block(expose_types=["param"]):
            path = guide.path_marginals(batch, model.bind({}))
        with pyro.plate("segments", batch.num_segments, subsample=torch.arange(len(batch.times))):
            pyro.sample("path", Normal(path.mean, 1.0).to_event(2))

    with (
        pyro.validation_enabled(True),
        pytest.raises(ValueError, match="guide: samples path, the latent path, from Independent"),
    ):
        MultiscaleELBO().loss(model, normal_paths, tiny_batch())
