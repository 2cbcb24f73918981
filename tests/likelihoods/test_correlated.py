"""Precisions of experts in full, eqs. (15)–(24): against dense matrices of numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import same, tiny_batch, tiny_data
from scipy.stats import multivariate_normal
from short_runs import QUICK, weights_of
from torch.testing import assert_close

import pyro_msde
from pyro_msde.data import Scaling
from pyro_msde.forecasts import Mixture
from pyro_msde.guides import AmortizedGP
from pyro_msde.inference import ObservationVarianceStep
from pyro_msde.inference.finishing import EncodedSegments
from pyro_msde.likelihoods import (
    CorrelatedNormal,
    Dense,
    DenseCorrelation,
    FieldNormal,
    LowRank,
    PatternCorrelation,
    WeightedFields,
    correlated_product_mean,
    moved,
)
from pyro_msde.models import multiscale
from pyro_msde.testing import check_likelihood, check_model

pytestmark = pytest.mark.usefixtures("long_steps")

SHAPE = (2, 3)  # channel, x
COUNT = 6
ROUNDING = {"rtol": 1e-10, "atol": 1e-11}  # of inverses of well-conditioned matrices


def double(x):
    return torch.tensor(np.asarray(x, dtype=np.float64))


def experts(kind):
    """Both experts' precisions, as ours and as matrices written out by hand."""
    rng = np.random.default_rng(5)
    ours, matrices = [], []
    for rank in (2, 3):
        v = rng.uniform(0.2, 2, COUNT)
        if kind == "low-rank":
            V = rng.normal(size=(COUNT, rank))
            covariance = np.diag(v**0.5) @ (np.eye(COUNT) + V @ V.T) @ np.diag(v**0.5)
            ours.append(LowRank.of_patterns(double(v), double(V)))
            matrices.append(np.linalg.inv(covariance))
        else:
            a = rng.normal(size=(COUNT, COUNT))
            matrices.append(a @ a.T / COUNT + np.diag(1 / v))
            ours.append(Dense(double(matrices[-1])))
    return ours, matrices


KINDS = pytest.mark.parametrize("kind", ["low-rank", "dense"])


@KINDS
def test_the_product_of_experts_in_full(kind):
    """Two densities multiplied, completing the square: mean and covariance of eq. (31)."""
    (prec_zeta, prec_eta), (S_zeta, S_eta) = experts(kind)
    rng = np.random.default_rng(6)
    macro, detail = rng.normal(size=(2, 5, 7, *SHAPE))
    precision = prec_zeta.plus(prec_eta)
    mean = correlated_product_mean(double(macro), double(detail), prec_eta, precision, 2)
    flat = [x.reshape(5, 7, COUNT) for x in (macro, detail)]
    cov = np.linalg.inv(S_zeta + S_eta)
    # −½‖y − m‖²_{S_ζ} − ½‖y − m − D‖²_{S_η} is largest where S_ζ(y − m) + S_η(y − m − D) = 0
    expected = flat[0] + flat[1] @ (cov @ S_eta).T
    assert_close(mean.flatten(-2), double(expected), **ROUNDING)
    assert_close(precision.variance, double(np.diag(cov)), **ROUNDING)
    law = CorrelatedNormal(mean, precision, 2)
    y = rng.normal(size=(5, 7, COUNT))
    product = [
        [
            multivariate_normal.logpdf(a - m, np.zeros(COUNT), np.linalg.inv(S_zeta))
            + multivariate_normal.logpdf(a - m - d, np.zeros(COUNT), np.linalg.inv(S_eta))
            for a, m, d in zip(*row, strict=True)
        ]
        for row in zip(y, *flat, strict=True)
    ]
    found = law.snapshot_log_prob(double(y).unflatten(-1, SHAPE))
    # up to the normalising constant, N(D; 0, S_ζ⁻¹ + S_η⁻¹)
    constant = multivariate_normal.logpdf(
        flat[1], np.zeros(COUNT), np.linalg.inv(S_zeta) + np.linalg.inv(S_eta)
    )
    assert_close(found, double(np.array(product) - constant), **ROUNDING)


@KINDS
def test_linear_algebra_is_that_of_the_matrix(kind):
    (first, second), (S_zeta, S_eta) = experts(kind)
    precision, S = first.plus(second), S_zeta + S_eta
    x = np.random.default_rng(1).normal(size=(3, 5, COUNT))
    assert_close(precision.times(double(x)), double(x @ S), **ROUNDING)
    assert_close(precision.solve(double(x)), double(x @ np.linalg.inv(S)), **ROUNDING)
    root = precision.coloured(torch.eye(COUNT, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(root.T @ root, np.linalg.inv(S), rtol=1e-9, atol=1e-11)


@KINDS
@pytest.mark.parametrize("spread", [False, True])
def test_what_was_observed_has_its_marginal_law(kind, spread):
    """With weights of snapshots and gaps that differ between them, one wholly missing."""
    (first, second), (S_zeta, S_eta) = experts(kind)
    rng = np.random.default_rng(2)
    mean, y = rng.normal(size=(2, 4, 5, COUNT))
    seen = rng.random((4, 5, COUNT)) < 0.6
    seen[0, 0] = True
    seen[1, 2] = False
    f = rng.uniform(0.3, 1.2, COUNT) if spread else np.ones(COUNT)
    cov = np.diag(f) @ np.linalg.inv(S_zeta + S_eta) @ np.diag(f)
    factor = double(f.reshape(SHAPE)) if spread else None
    law = CorrelatedNormal(double(mean).unflatten(-1, SHAPE), first.plus(second), 2, factor)
    expected = np.zeros((4, 5))
    for i, j in np.ndindex(4, 5):
        o = seen[i, j]
        if o.any():
            expected[i, j] = multivariate_normal.logpdf(y[i, j, o], mean[i, j, o], cov[o][:, o])
    at = double(np.where(seen, y, np.nan)).unflatten(-1, SHAPE)
    observed = torch.as_tensor(seen).unflatten(-1, SHAPE)
    assert_close(law.snapshot_log_prob(at, observed), double(expected), **ROUNDING)
    weight = double(rng.uniform(size=(4, 5)))
    whole = WeightedFields(law, 2, weight=weight, observed=observed).log_prob(at)
    assert_close(whole, double((expected * weight.numpy()).sum(1)), **ROUNDING)
    assert_close(law.variance[0, 0].flatten(), double(np.diag(cov)), **ROUNDING)


@KINDS
def test_it_keeps_the_contract_of_likelihoods(kind):
    (first, second), _ = experts(kind)
    law = CorrelatedNormal(
        double(np.random.default_rng(3).normal(size=SHAPE)), first.plus(second), 2
    )
    check_likelihood(law)
    check_likelihood(moved(law, torch.full(SHAPE, 0.4).double(), torch.full((2, 1), 0.5).double()))

    class Independent(CorrelatedNormal):
        def coloured(self, noise):
            return noise * self.stddev

    class Halved(CorrelatedNormal):
        def snapshot_log_prob(self, value, observed=None):
            return 0.5 * super().snapshot_log_prob(value, observed)

    with pytest.raises(AssertionError, match="draws do not follow the density of whole fields"):
        check_likelihood(Independent(law.mean, law.precision, 2))
    with pytest.raises(AssertionError, match="an element alone has another density"):
        check_likelihood(Halved(law.mean, law.precision, 2))


def test_nothing_of_the_size_of_a_matrix_is_made():
    """A matrix of 200 000 × 200 000 numbers would take 160 GB."""
    count = 200_000
    net = PatternCorrelation(count, 3)
    precision = net(torch.full((1, count), 0.3))
    precision = precision.plus(net(torch.full((1, count), 0.2)))
    law = CorrelatedNormal(torch.zeros(2, 1, count), precision, 2)
    draws = law.sample()
    loss = law.snapshot_log_prob(draws, torch.rand(2, 1, count) < 0.5).sum() + law.variance.sum()
    loss.backward()
    assert net.patterns.grad.isfinite().all()


def test_large_patterns_keep_their_digits():
    """A pattern a thousand times as wide as a point, in float32: all of it is in the variance."""
    pattern = torch.zeros(500, 1)
    pattern[:, 0] = 1000 * torch.rand(500)
    precision = LowRank.of_patterns(torch.full((500,), 0.01), pattern)
    exact = 0.01 * (1 + pattern[:, 0].double().square())
    assert_close(precision.variance, exact, rtol=1e-6, atol=0)
    law = CorrelatedNormal(torch.zeros(1, 500), precision, 2)
    along = 0.1 * pattern.T  # one standard deviation along the pattern
    dense = multivariate_normal(
        np.zeros(500), 0.01 * (np.eye(500) + pattern.double().numpy() @ pattern.double().numpy().T)
    )
    found = law.snapshot_log_prob(along).item()
    assert found == pytest.approx(dense.logpdf(along.double().numpy()[0]), abs=0.05)


def test_patterns_without_length_are_diagonal_precisions():
    v = torch.rand(2, 2, 3, dtype=torch.float64) + 0.2
    net = PatternCorrelation(COUNT, 2).double()
    torch.nn.init.zeros_(net.patterns)
    y = torch.randn(5, 2, 3, dtype=torch.float64)
    for one, other in ((net, net), (DenseCorrelation(COUNT), DenseCorrelation(COUNT))):
        law = CorrelatedNormal(torch.zeros_like(y), one(v[0]).plus(other(v[1])), 2)
        plain = FieldNormal(torch.zeros_like(y), 1 / (1 / v[0] + 1 / v[1]))
        assert_close(law.snapshot_log_prob(y), plain.log_prob(y).sum((1, 2)))


def test_patterns_are_found():
    """Maximum likelihood on 4000 fields: one pattern of twice a point's width.

    The estimate errs by a few hundredths (1/√4000 in each of its numbers, times their size).
    """
    rng = torch.Generator().manual_seed(0)
    pattern = 2 * torch.sin(torch.arange(12) * 0.5).double() / 6**0.5
    y = 0.3 * (
        torch.randn(4000, 12, generator=rng, dtype=torch.float64)
        + torch.randn(4000, 1, generator=rng, dtype=torch.float64) * pattern
    )
    net, log = PatternCorrelation(12, 1).double(), torch.nn.Parameter(torch.zeros(12).double())
    optimiser = torch.optim.Adam([log, *net.parameters()], 0.05)
    for _ in range(300):
        optimiser.zero_grad()
        law = CorrelatedNormal(torch.zeros(1, 12).double(), net(log.exp()[None]), 2)
        loss = -law.snapshot_log_prob(y[:, None]).mean()
        loss.backward()
        optimiser.step()
    found = net(log.exp()).solve(torch.eye(12, dtype=torch.float64)).detach()
    true = 0.09 * (torch.eye(12).double() + pattern[:, None] * pattern)
    assert (found - true).abs().max() < 5 * 0.09 * 2 * (2 / 4000) ** 0.5


def small_model(kind, n_eta=1, **options):
    if kind == "low-rank":
        options["expert_rank"] = 2
    return multiscale(30, 5, n_eta=n_eta, width=8, components=4, expert_covariance=kind, **options)


@KINDS
def test_models_keep_their_contract(kind):
    model = small_model(kind)
    for part in (model.correlation_zeta, model.correlation_eta):
        for p in part.parameters():
            torch.nn.init.normal_(p, std=0.1)
    check_model(model)
    both = small_model(kind, expert_variance="front")
    torch.nn.init.constant_(both.front.net.power, 0.5)
    law = both.bind({}).observe(torch.randn(3, 6))
    assert isinstance(law, CorrelatedNormal)
    assert law.variance.std(0).max() > 0
    check_model(both)


@KINDS
def test_fits_are_saved_loaded_resumed_and_pooled(kind, tmp_path):
    gappy = [v.copy() for v in tiny_data((9, 8, 10)).values]
    gappy[0][3, 4:9] = np.nan
    data = pyro_msde.Trajectories(tiny_data((9, 8, 10)).times, gappy, missing="mask")

    def trained(folder):
        model = small_model(kind)
        guide = AmortizedGP(model)
        return pyro_msde.fit(model, guide, data, checkpoint=folder, **{**QUICK, "steps": 3})

    fit = trained(tmp_path / "one")
    assert same(weights_of(fit), weights_of(trained(tmp_path / "one")))
    again = pyro_msde.load(tmp_path / "one")
    options = {"num_samples": 3, "max_step": 0.1}
    ours, theirs = (f.forecast(data, **options) for f in (fit, again))
    assert torch.equal(ours.sd, theirs.sd)
    draws = [next(f.chunks())[1] for f in (ours, theirs)]
    assert torch.equal(*draws)
    pooled = pyro_msde.Ensemble([fit, again]).forecast(data, **options)
    assert pooled.mean.isfinite().all()
    other = small_model("diagonal")
    with pytest.raises(pyro_msde.SavedRunError, match="expert_covariance"):
        pyro_msde.load(tmp_path / "one", other, AmortizedGP(other))


def test_arviz_has_the_density_of_whole_snapshots():
    """That of a single path is the law's own; probes have those of single values."""
    model = small_model("low-rank", 0)
    torch.nn.init.normal_(model.correlation_zeta.net.patterns)
    data = tiny_data((9, 9))
    fit = pyro_msde.Fit(model, AmortizedGP(model), Scaling((1.7,), 80.0))
    found = fit.to_arviz(data, num_samples=2, num_theta=1).log_likelihood
    fc = fit.forecast(data, num_samples=2, num_theta=1)
    (law,) = next(fc.mixtures()).laws
    y = torch.as_tensor(np.stack(data.values))[:, :, None] / 1.7
    expected = law.snapshot_log_prob(y) - 30 * np.log(1.7)
    whole = torch.as_tensor(found["u_forecast"].values[0])
    assert_close(whole, expected.double(), rtol=1e-4, atol=1e-2)  # float32 of 30 squares
    single = found["u_forecast_probes"].sum("dim_0_probe").values[0]
    assert np.abs(single - whole.numpy()).max() > 1


def test_the_closed_form_has_one_factor_for_all_points():
    model = small_model("low-rank", 0)
    guide = AmortizedGP(model)
    batch = tiny_batch(3)
    before = model.var_zeta.net.log_value.detach().clone()
    bound = model.bind({})
    marginals = guide.path_marginals(batch, bound)
    step = ObservationVarianceStep(model)
    step.add(EncodedSegments(0, 1.0, batch, bound, marginals))
    step.end()
    change = model.var_zeta.net.log_value.detach() - before
    assert_close(change, change[:1, :1].expand_as(change))
    law = model.bind({}).observe(marginals.mean.detach())
    w = batch.observation_weight
    ratio = ((law.squares(batch.values)[0] * w).sum() / w.sum() / 30).item()
    assert ratio == pytest.approx(1.0, abs=0.1)  # but for the draws of z


def test_growing_keeps_the_law():
    small, large = small_model("low-rank", 0), small_model("low-rank", 1)
    pyro_msde.grow(small, AmortizedGP(small), large, AmortizedGP(large))
    z = torch.randn(4, 6)
    before, after = small.bind({}).observe(z[:, :5]), large.bind({}).observe(z)
    assert_close(after.variance, before.variance, rtol=1e-5, atol=1e-9)


def test_forecasts_draw_and_score_whole_snapshots():
    (first, second), (S_zeta, S_eta) = experts("low-rank")
    law = CorrelatedNormal(torch.zeros(4000, 1, 1, *SHAPE).double(), first.plus(second), 2)
    mixture = Mixture(slice(1), [law], torch.ones(2, 1).double())
    draws = mixture.sample(torch.Generator().manual_seed(0)).flatten(1)
    cov = np.linalg.inv(S_zeta + S_eta)
    found = np.cov(draws.numpy().T)
    error = np.sqrt((cov**2 + np.outer(np.diag(cov), np.diag(cov))) / 4000)
    assert (np.abs(found - cov) / error).max() < 4.5  # of 21 numbers: one seed in 7000
    y = torch.randn(1, 1, *SHAPE, dtype=torch.float64)
    seen = torch.tensor([[True, False, True], [True, True, False]])[None, None]
    expected = law.snapshot_log_prob(y, seen)
    assert_close(mixture.snapshot_log_density(y, seen), expected)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="expert_covariance='full'"):
        multiscale(30, 5, expert_covariance="full")
    with pytest.raises(ValueError, match="only normal errors go together"):
        multiscale(30, 5, expert_covariance="dense", likelihood="student")
    with pytest.raises(ValueError, match="expert_rank: goes with expert_covariance='low-rank'"):
        multiscale(30, 5, expert_rank=3)
    with pytest.raises(ValueError, match="expert_rank=31: give a whole number, from 1 to 30"):
        multiscale(30, 5, expert_covariance="low-rank", expert_rank=31)
    with pytest.raises(ValueError, match="expert_covariance"):
        multiscale((640, 640), (64, 64), expert_covariance="dense")
