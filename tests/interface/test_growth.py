"""Growing a model by microscale states, and training that does so stage by stage."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import tiny_data, tiny_pair
from torch.testing import assert_close

from pyro_msde import Grid, fit, fit_hierarchical, grow
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import burgers2d, multiscale

QUICK = {"length": 7, "num_nodes": 5, "stride": 1, "progress": False}


def jittered(pair, seed=1):
    """A pair whose parameters have all left their starts, as after training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in pair:
            for p in module.parameters():
                p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return pair


def build(
    n_eta,
    *,
    architecture="default",
    num_covariates=0,
    seed=0,
    shape=(30,),
    coarse=(5,),
    components=4,
    coupling=False,
):
    model = multiscale(
        shape,
        coarse,
        n_eta=n_eta,
        architecture=architecture,
        num_covariates=num_covariates,
        seed=seed,
        components=0 if architecture == "published" else components,
        width=11,
        smoothing="gaussian",
        coupling=coupling,
    ).double()
    return model, AmortizedGP(model, seed=seed).double()


def means(model, guide, fields, covariates):
    """Reconstruction, drift in the old coordinates, expert variance at encoded fields."""
    theta = model.bind({})
    z, _ = guide.encode(fields, theta, covariates)
    return theta, z


@pytest.mark.parametrize("architecture", ["default", "published"])
@pytest.mark.parametrize(("n", "larger"), [(0, 1), (1, 2), (2, 4)])
@pytest.mark.parametrize("grid", [((30,), (5,)), ((12, 8), (3, 4))])
@pytest.mark.parametrize("num_covariates", [0, 2])
@pytest.mark.parametrize("coupling", [False, True])
def test_the_larger_model_has_the_smaller_one_within_it(
    architecture, n, larger, grid, num_covariates, coupling
):
    """With the weights that new states act through at zero it forecasts what that did."""
    sizes = {"shape": grid[0], "coarse": grid[1]}
    options = {"architecture": architecture, "num_covariates": num_covariates, **sizes}
    options["coupling"] = coupling
    before = jittered(build(n, **options))
    after = jittered(build(larger, seed=5, **options), seed=2)
    grow(*before, *after)
    silence(after[0], before[0])
    generator = torch.Generator().manual_seed(3)
    fields = torch.randn(4, 1, *grid[0], dtype=torch.float64, generator=generator)
    covariates = None
    if num_covariates:
        covariates = torch.rand(4, num_covariates, dtype=torch.float64, generator=generator)
    old, z_old = means(*before, fields, covariates)
    new, z_new = means(*after, fields, covariates)
    kept = before[0].num_latent
    assert_close(z_new[:, :kept], z_old, rtol=1e-12, atol=1e-12)  # rounding
    assert z_new.shape[-1] == after[0].num_latent
    # whatever the new states are, the old ones' drift and the field are as before
    z_new[:, kept:] += torch.randn(4, larger - n, dtype=torch.float64, generator=generator)
    t = torch.full((4, 1), 0.3, dtype=torch.float64)
    drift_old = old.drift(z_old[:, None], t, covariates=covariates)[:, 0]
    drift_new = new.drift(z_new[:, None], t, covariates=covariates)[:, 0]
    assert_close(drift_new[:, :kept], drift_old, rtol=1e-12, atol=1e-12)
    assert_close(new.diffusion[:kept], old.diffusion, rtol=1e-12, atol=0)
    experts = []
    for theta, z in ((old, z_old), (new, z_new)):
        macro, detail = theta.experts(z)
        experts.append((macro, detail, theta.var_zeta, theta.var_eta))
    assert_close(mean_of(*experts[1]), mean_of(*experts[0]), rtol=1e-11, atol=1e-12)
    assert_close(variance_of(*experts[1][2:]), variance_of(*experts[0][2:]), rtol=1e-7, atol=1e-9)


@torch.no_grad()
def silence(model, smaller):
    """Zeros in the columns of new states and products, or in all of a decoder that is new."""
    n, larger, drift = smaller.n_eta, model.n_eta, model.drift.net
    for weight in entry_weights(drift.macro):  # of stencil, parameters, η
        weight[:, n - larger :] = 0
    if (rank := getattr(drift.macro, "rank", 0)) > 0:  # as many products as inputs
        drift.macro.output.weight[:, rank + n - larger :] = 0
    if not n:
        for p in model.decoder.parameters():
            p.zero_()
        return
    if drift.coupling is not None:
        for weight in entry_weights(drift.coupling):  # of η, time, places
            weight[:, n:larger] = 0
    for weight in entry_weights(drift.micro):  # of η, ψ(ζ), parameters, time
        weight[:, n:larger] = 0
        if drift.psi is not None:
            weight[:, larger + n : 2 * larger] = 0
    for weight in entry_weights(model.decoder.net.first):
        weight[:, n:] = 0


def entry_weights(net):
    """Weights that multiply the inputs of a linear layer, a perceptron or a polynomial one."""
    names = ("weight", "0.weight", "linear.weight", "factors.weight", "network.0.weight")
    weights = [p for name, p in net.named_parameters() if name in names]
    assert len({p.shape[1] for p in weights}) == 1
    return weights


def mean_of(macro, detail, var_zeta, var_eta):
    """T_p ζ + Σ_y S_η D, from precisions."""
    if detail is None:
        return macro
    return macro + detail / var_eta / (1 / var_zeta + 1 / var_eta)


def variance_of(var_zeta, var_eta):
    return var_zeta if var_eta is None else 1 / (1 / var_zeta + 1 / var_eta)


def test_what_is_new_is_drawn_and_what_is_old_is_kept():
    before, after = jittered(build(1)), build(3, seed=5)
    grow(*before, *after)
    old, new = before[0].state_dict(), after[0].state_dict()
    first = "decoder.net.first.network.0.weight"
    assert_close(new[first][:, :1], old[first], rtol=0, atol=0)
    assert new[first][:, 1:].abs().min() > 0
    # Xavier: variance 2 / (fan in + fan out); 5 standard errors of the sd of a normal sample
    drawn = new[first][:, 1:]
    sd = np.sqrt(2 / sum(drawn.shape[:1] + new[first].shape[1:]))
    assert abs(drawn.std().item() / sd - 1) < 5 / np.sqrt(2 * drawn.numel())


def test_stages_are_kept_and_resumed(tmp_path):
    data = tiny_data()
    calls = []

    def model_factory(n_eta):
        calls.append(n_eta)
        return tiny_pair(n_eta)[0]

    options = {"n_etas": (0, 1, 2), "steps": (4, 3), "checkpoint": tmp_path, **QUICK}
    fits = fit_hierarchical(model_factory, AmortizedGP, data, **options)
    assert [f.model.n_eta for f in fits] == [0, 1, 2]
    assert [f.steps for f in fits] == [4, 3, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["eta-0", "eta-1", "eta-2"]
    again = fit_hierarchical(model_factory, AmortizedGP, data, **options)
    for a, b in zip(fits, again, strict=True):
        for name, value in a.model.state_dict().items():
            assert torch.equal(value, b.model.state_dict()[name]), name


def test_each_stage_starts_where_the_last_one_ended():
    data = tiny_data()
    first = fit(*tiny_pair(1), data, steps=3, learning_rate=1e-3, **QUICK)
    stages = fit_hierarchical(
        lambda n: tiny_pair(n)[0],
        lambda m: AmortizedGP(m, seed=3),
        data,
        n_etas=(1, 2),
        steps=(3, 1),
        learning_rates=(1e-3, 1e-12),
        **QUICK,
    )
    kept = stages[1].model.state_dict()["decoder.net.first.weight"][:, :1]
    trained = first.model.state_dict()["decoder.net.first.weight"]
    assert_close(stages[0].model.state_dict()["decoder.net.first.weight"], trained)
    assert_close(kept, trained, rtol=0, atol=1e-8)  # one step at a rate of 1e-12


def test_growth_into_something_else_is_refused():
    model, guide = build(1)
    with pytest.raises(ValueError, match="larger_model: 1 microscale states"):
        grow(model, guide, *build(1))
    with pytest.raises(ValueError, match="larger_model: of another case"):
        grow(model, guide, *build(2, shape=(40,)))
    other = multiscale((30,), (5,), n_eta=2, width=7, components=4, smoothing="gaussian").double()
    with pytest.raises(ValueError, match="smaller than"):
        grow(model, guide, other, AmortizedGP(other).double())
    bounded = multiscale(Grid(30, 5, boundary="dirichlet"), n_eta=2, width=11).double()
    with pytest.raises(ValueError, match="of another case"):
        grow(model, guide, bounded, AmortizedGP(bounded).double())
    with pytest.raises(ValueError, match="n_etas"):
        fit_hierarchical(burgers2d, AmortizedGP, tiny_data(), n_etas=(2, 1))
