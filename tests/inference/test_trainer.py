"""Training: reproducible, resumable, interruptible, and leaving all else alone."""

from __future__ import annotations

import math
import random

import numpy as np
import pyro
import pytest
import torch
from problems import (
    LENGTH,
    NUM_POINTS,
    SIZES,
    same,
    snapshot,
    tiny_data,
    tiny_model,
    tiny_pair,
    tiny_segments,
)
from pyro.distributions import LogNormal

import pyro_msde.interface.fitting
from pyro_msde import (
    MultiscaleELBO,
    NonFiniteLossError,
    NotPositiveDefiniteError,
    SavedRunError,
    Trajectories,
    fit,
)
from pyro_msde.guides import AmortizedGP
from pyro_msde.inference.optimiser import set_rates
from pyro_msde.inference.trainer import Trainer
from pyro_msde.inference.training_loop import train
from pyro_msde.models import multiscale
from pyro_msde.priors import LogVariance, bayesian, fan_in_normal
from pyro_msde.runs import RECIPES, Recipe

QUICK = {"length": LENGTH, "stride": 1, "num_nodes": 9, "progress": False}


def validation_data():
    return tiny_data((3, 3), seed=7)


def bayesian_pair():
    model = tiny_model(2)
    bayesian(model.drift, fan_in_normal(1.0))
    return model, AmortizedGP(model)


def state(result):
    return {
        **snapshot(result.model),
        **{f"guide.{k}": v for k, v in snapshot(result.guide).items()},
    }


def trained(pair=None, **options):
    pair = tiny_pair(2) if pair is None else pair
    return fit(*pair, options.pop("data", tiny_data()), **{"steps": 6, **QUICK, **options})


def trainer_of(pair, *, steps=6, **recipe):
    return Trainer(
        *pair,
        tiny_segments(),
        Recipe(**{"num_nodes": 9, **recipe}),
        steps=steps,
        seed=0,
        device=torch.device("cpu"),
    )


def fail_at(monkeypatch, step, error):
    original = Trainer.one_step

    def one_step(self):
        if self.step == step:
            raise error
        return original(self)

    monkeypatch.setattr(Trainer, "one_step", one_step)


# seeds and globals


@pytest.mark.parametrize("pair", [tiny_pair, bayesian_pair])
def test_the_seed_decides_the_run(pair):
    first = state(trained(pair(), seed=4))
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - the global generator must not matter
    assert same(first, state(trained(pair(), seed=4)))
    assert not same(first, state(trained(pair(), seed=5)))


def test_the_seed_decides_the_validation_too():
    scores = []
    for outside in (1, 2):
        np.random.seed(outside)  # noqa: NPY002 - as above
        result = trained(validation=validation_data(), validate_every=3)
        scores.append(result.history.validation)
    assert scores[0] == scores[1]


@pytest.mark.parametrize("validate", [False, True])
def test_fit_leaves_every_global_alone(validate):
    pyro.param("drift$$$net.macro.linear.weight", torch.tensor(3.0))
    with pyro.validation_enabled(validate):

        def look():
            return (
                torch.get_rng_state().tolist(),
                np.random.get_state()[1].tolist(),  # noqa: NPY002
                random.getstate(),
                dict(pyro.get_param_store().items()),
                torch.get_default_dtype(),
                torch.is_grad_enabled(),
                torch.distributions.Distribution._validate_args,
                pyro.settings.get(),
            )

        before = look()
        trained(bayesian_pair(), validation=validation_data(), validate_every=3)
        assert look() == before


def test_units_change_nothing_but_the_log_likelihoods_volume():
    """Factors that are powers of two leave every scaled number the same in every bit."""
    data = tiny_data()
    other = Trajectories([8 * t for t in data.times], [64 * v for v in data.values])
    first, second = trained(), trained(data=other)
    assert same(state(first), state(second))
    assert second.scaling.time == 8 * first.scaling.time
    gap = np.subtract(second.history.terms["log_likelihood"], first.history.terms["log_likelihood"])
    np.testing.assert_allclose(gap, -sum(SIZES) * NUM_POINTS * math.log(64), rtol=1e-9)


# checkpoints


@pytest.mark.parametrize("pair", [tiny_pair, pytest.param(bayesian_pair, marks=pytest.mark.slow)])
@pytest.mark.parametrize("crash", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_a_resumed_run_is_the_uninterrupted_run(pair, crash, monkeypatch, tmp_path):
    """In every bit, from the last checkpoint before the crash."""
    options = {"steps": 5, "validate_every": 2, "validation": validation_data()}
    whole = trained(pair(), **options)
    with monkeypatch.context() as patch:
        fail_at(patch, crash, OSError("power cut"))
        with pytest.raises(OSError, match="power cut"):
            trained(pair(), checkpoint=tmp_path, **options)
    resumed = trained(pair(), checkpoint=tmp_path, **options)
    assert same(state(whole), state(resumed))
    assert resumed.steps == 5
    assert resumed.history.validation_steps == whole.history.validation_steps == [2, 4, 5]
    assert resumed.history.validation == whole.history.validation


def test_a_finished_run_is_not_trained_again(tmp_path, monkeypatch):
    first = trained(checkpoint=tmp_path)
    fail_at(monkeypatch, 6, AssertionError("trained on"))
    assert same(state(first), state(trained(checkpoint=tmp_path)))


def test_the_checkpoints_weights_are_the_best(tmp_path):
    result = trained(checkpoint=tmp_path, validation=validation_data(), validate_every=2)
    loaded = pyro_msde.load(tmp_path, *tiny_pair(2, seed=8))
    assert same(state(loaded), state(result))
    assert loaded.history == result.history
    asked = Recipe(**{k: QUICK[k] for k in QUICK if k != "progress"})
    assert loaded.training.recipe == result.training.recipe == asked


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"steps": 7}, {"learning_rate": 1e-2}, {"pair": (0,)}],
    ids=lambda o: next(iter(o)),
)
def test_a_checkpoint_of_another_run_is_refused_and_kept(other, tmp_path):
    trained(checkpoint=tmp_path)
    files = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    options = {**other, "pair": tiny_pair(*other.get("pair", (2,)))}
    with pytest.raises(SavedRunError, match="checkpoint: the run in"):
        trained(checkpoint=tmp_path, **options)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == files


def case_pair(boundary="dirichlet"):
    model = multiscale(NUM_POINTS, 5, n_eta=0, num_covariates=1, boundary=boundary, width=7)
    return model, AmortizedGP(model)


@pytest.mark.parametrize(
    ("boundary", "covariates", "named"),
    [
        ("periodic", [1.0, 2, 3], r"model.boundary=\['dirichlet'\], here \['periodic'\]"),
        ("dirichlet", [1.0, 2, 4], "another data"),
    ],
)
def test_weights_of_equal_shapes_do_not_make_it_the_same_run(boundary, covariates, named, tmp_path):
    data = [tiny_data(covariates=np.array([[p] for p in own])) for own in ([1.0, 2, 3], covariates)]
    trained(case_pair(), data=data[0], checkpoint=tmp_path, steps=2)
    trained(case_pair(), data=data[0], checkpoint=tmp_path, steps=2)
    with pytest.raises(SavedRunError, match=named):
        trained(case_pair(boundary), data=data[1], checkpoint=tmp_path, steps=2)


def test_another_prior_does_not_make_it_the_same_run(tmp_path):
    def pair(law):
        model = tiny_model(2)
        bayesian(model.diffusion, law)
        return model, AmortizedGP(model)

    trained(pair(LogNormal(-3.0, 1.0)), checkpoint=tmp_path, steps=2)
    trained(pair(LogNormal(-3.0, 1.0)), checkpoint=tmp_path, steps=2)
    with pytest.raises(SavedRunError, match=r"prior of diffusion\.theta=.*loc=-3.*here .*loc=5"):
        trained(pair(LogNormal(5.0, 1.0)), checkpoint=tmp_path, steps=2)
    with pytest.raises(SavedRunError, match=r"prior of model: .* has diffusion\.theta=.*loc=-3"):
        pyro_msde.load(tmp_path, *pair(LogNormal(5.0, 1.0)))


# interruption, validation


@pytest.mark.parametrize("validation", [None, validation_data()])
@pytest.mark.parametrize("step", [0, 4])
def test_ctrl_c_returns_what_was_learned(step, validation, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        fail_at(patch, step, KeyboardInterrupt)
        result = trained(validation=validation, checkpoint=tmp_path)
    assert result.training.interrupted
    assert result.steps == step
    fc = result.predict(tiny_data().values[0][0], [0.0, 0.1], num_samples=3, max_step=0.1)
    assert fc.mean.isfinite().all()
    if validation is not None:
        assert result.history.validation_steps == [step]
    finished = trained(validation=validation, checkpoint=tmp_path)  # goes on
    assert not finished.training.interrupted
    assert finished.steps == 6
    assert same(state(finished), state(trained(validation=validation))) or validation is not None


def without_variances(weights):
    """All but Σ_y, which is put at its optimum in the end."""
    return {k: v for k, v in weights.items() if not k.startswith("var_")}


@pytest.mark.parametrize(("scores", "best"), [([3, 1, 2], 1), ([1, 2, 3], 0), ([3, 2, 1], 2)])
def test_the_parameters_that_validated_best_are_kept(scores, best, monkeypatch):
    seen = []

    def score(result, validation):
        seen.append(state(result))
        return float([*scores, 0, 0][len(seen) - 1])  # the last two with and without a memory

    monkeypatch.setattr(pyro_msde.interface.fitting, "validation_score", score)
    result = trained(validation=validation_data(), validate_every=2)
    assert same(*(without_variances(s) for s in (state(result), seen[best])))
    assert not same(seen[0], seen[1])
    assert result.history.validation == scores
    assert result.history.validation_steps == [2, 4, 6]
    assert "validation NRMSE of anomalies 100.00%" in repr(result)


@pytest.mark.parametrize(("scores", "kept"), [([3, 2.98, 2.96], 2), ([3, 2.98, 2.975], 0)])
def test_of_noisy_paths_only_what_is_better_by_a_hundredth_is_kept(scores, kept, monkeypatch):
    """Against the best so far, so that small gains add up."""
    given = iter([*scores, 0, 0])
    interface = pyro_msde.interface.fitting
    monkeypatch.setattr(interface, "validation_score", lambda result, validation: next(given))
    monkeypatch.setattr(pyro_msde.inference.trainer, "found_noisy", lambda model: True)
    result = trained(validation=validation_data(), validate_every=2, patience=None)
    assert result.history.kept == kept
    assert result.history.kept_score == scores[kept]
    assert f"{scores[kept]:.2%}" in repr(result)


def test_validation_is_the_error_of_forecasts_over_their_own_size():
    """By numpy from `predict`, at the trajectories' own times."""
    data = validation_data()
    result = trained(steps=1, validation=data, validate_every=1, jackknife=False)
    step, errors = result.scaling.time / 250, []
    y0 = np.stack([v[0] for v in data.values])
    fc = result.predict(y0, data.times[0], num_samples=16, max_step=step)
    for mean, truth in zip(fc.mean.numpy(), data.values, strict=True):
        errors.append(np.sqrt(np.mean((mean - truth) ** 2) / np.mean(truth**2)))
    assert result.history.validation[0] == pytest.approx(np.mean(errors), rel=1e-5)


# learning rates, annealing, logging


@pytest.mark.parametrize("pair", [tiny_pair, bayesian_pair])
def test_variances_take_their_own_larger_steps(pair):
    model, guide = pair()
    trainer = trainer_of((model, guide), learning_rate=1e-3, variance_rate=7.0, steps=10)
    before = {id(p): p.detach().clone() for m in (model, guide) for p in m.parameters()}
    trainer.one_step()
    variances = {
        id(p)
        for root in (model, guide)
        for m in root.modules()
        if isinstance(m, LogVariance)
        for p in m.parameters()
    }
    assert len(variances) == 4
    steps = {
        id(p): (p.detach() - before[id(p)]).abs().max().item()
        for m in (model, guide)
        for p in m.parameters()
    }
    # Adam's first step is the rate wherever the gradient is well above 1e-8
    assert [steps[i] for i in variances] == pytest.approx([7e-3] * 4, rel=1e-2)
    others = [step for i, step in steps.items() if i not in variances]
    assert max(others) == pytest.approx(1e-3, rel=1e-2)
    assert np.median(others) == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize(
    ("schedule", "step", "factor"),
    [
        ("cosine", 0, 1.0),
        ("cosine", 2500, 0.5),
        ("cosine", 5000, 0.0),
        ("steps", 1999, 1.0),
        ("steps", 2000, 0.9),
        ("steps", 4500, 0.81),
    ],
)
def test_schedules_of_the_learning_rate(schedule, step, factor):
    trainer = trainer_of(
        tiny_pair(0), schedule=schedule, learning_rate=0.02, kernel_rate=1.0, steps=5000
    )
    trainer.step = step
    set_rates(trainer.optimiser, trainer.recipe, trainer.step, trainer.steps)
    rates = {round(g["lr"], 9) for g in trainer.optimiser.param_groups}
    assert rates == {round(0.02 * factor, 9), round(0.2 * factor, 9)}


def test_the_kernel_has_a_rate_relative_to_its_size():
    model, guide = tiny_pair(0)
    trainer = trainer_of((model, guide), learning_rate=0.02)
    set_rates(trainer.optimiser, trainer.recipe, trainer.step, trainer.steps)
    largest = float(model.kernel.net.weight.detach().abs().max())
    rates = {id(p): g["lr"] for g in trainer.optimiser.param_groups for p in g["params"]}
    assert rates[id(model.kernel.net.weight)] == pytest.approx(0.02 * largest)
    assert rates[id(model.drift.net.macro.linear.weight)] == 0.02


@pytest.mark.parametrize(("anneal", "betas"), [(0, [1, 1, 1]), (4, [0.25, 0.5, 0.75])])
@pytest.mark.parametrize(("beta", "final"), [(1.0, 1), (None, 30), (7.0, 7)])
def test_beta_grows_over_the_annealing(anneal, betas, beta, final):
    """None: as many as a snapshot has numbers."""
    trainer, seen = trainer_of(tiny_pair(0), anneal=anneal, beta=beta), []
    for _ in range(3):
        trainer.one_step()
        seen.append(trainer.elbo.beta)
    assert seen == [final * b for b in betas]


def test_history_averages_the_terms_between_logging_steps():
    trainer, twin = trainer_of(tiny_pair(2)), trainer_of(tiny_pair(2))
    train(trainer, validate=None, validate_every=100, log_every=4)
    terms = [twin.one_step() for _ in range(6)]
    assert trainer.history.steps == [4, 6]
    for name in ("log_likelihood", "drift_residual"):
        expected = [np.mean([float(t[name]) for t in terms[a:b]]) for a, b in ((0, 4), (4, 6))]
        assert trainer.history.terms[name] == pytest.approx(expected, rel=1e-6)
    h = trainer.history.terms
    parts = np.array([h["log_likelihood"], h["drift_residual"], h["kl_parameters"]])
    np.testing.assert_allclose(h["elbo"], parts[0] - parts[1] - parts[2], rtol=1e-12)


def test_training_raises_the_elbo():
    result = trained(steps=150, learning_rate=3e-3, anneal=0)
    elbo = result.history.terms["elbo"]
    assert result.history.steps == [50, 100, 150]
    assert elbo[2] > elbo[1] > elbo[0]


# losses that are not finite


@pytest.mark.parametrize("term", ["log_likelihood", "drift_residual"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_bad_loss_puts_the_last_logged_parameters_back(term, value, monkeypatch):
    pair, twin = tiny_pair(2), tiny_pair(2)
    trainer, shorter = trainer_of(pair), trainer_of(twin)
    for _ in range(4):
        shorter.one_step()
    part, calls = (pair[0].var_zeta if term == "log_likelihood" else pair[0].diffusion), []

    def bad(net, args, output):
        calls.append(0)
        return output * value if len(calls) > 2 * 5 else output  # read by model and guide

    part._modules["net"].register_forward_hook(bad)
    with pytest.raises(NonFiniteLossError) as caught:
        train(trainer, validate=None, validate_every=100, log_every=2)
    assert caught.value.step == 5
    assert f"step 5: {caught.value.term} is" in str(caught.value)
    if term == "log_likelihood":  # C has another victim as well: paths stray by it
        assert caught.value.term == term
    assert same(snapshot(pair[0]), snapshot(twin[0]))
    assert same(snapshot(pair[1]), snapshot(twin[1]))


@pytest.mark.parametrize("step", [2, 3])  # before and at the end of a logging interval
def test_parameters_that_are_not_finite_are_replaced_as_well(step):
    """A gradient may fail where the loss did not; the next step's kernel matrix is then NaN."""
    pair = tiny_pair(2)
    trainer = trainer_of(pair)
    weights = next(pair[1].time_kernel.parameters())
    weights.register_hook(lambda g: g * (math.nan if trainer.step == step else 1.0))
    with pytest.raises((NonFiniteLossError, NotPositiveDefiniteError)):
        train(trainer, validate=None, validate_every=100, log_every=2)
    assert all(p.isfinite().all() for m in pair for p in m.parameters())


# arguments


def test_float64_throughout():
    pair = bayesian_pair()
    result = trained(pair, dtype=torch.float64)
    for module in pair:
        assert {v.dtype for v in module.state_dict().values()} == {torch.float64}
    fc = result.predict(tiny_data().values[0][0], [0.0, 0.1], num_samples=3, max_step=0.1)
    assert fc.mean.dtype == fc.var.dtype == torch.float64
    loss = MultiscaleELBO()(*pair)(tiny_segments(dtype=torch.float64).draw(2, _rng()))
    assert loss.dtype == torch.float64


def _rng():
    return np.random.default_rng(0)


def test_more_segments_a_step_than_there_are():
    assert trained(segments_per_step=17).steps == 6


def test_recipes_by_name_object_and_change():
    assert RECIPES["published"].length == 128
    assert RECIPES["published"].variance_rate == 1
    plan = Recipe(length=5, stride=2, num_nodes=3)
    result = fit(*tiny_pair(0), tiny_data(), steps=2, recipe=plan, progress=False)
    assert result.steps == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "fast"}, "recipe='fast': choose one of default, resolved, published"),
        ({"learning_rat": 1e-3}, "learning_rat: not an argument of fit nor of Recipe"),
        ({"segment_starts": "some"}, "segment_starts='some': choose"),
        ({"schedule": "linear"}, "schedule='linear': choose 'cosine' or 'steps'"),
        ({"learning_rate": -3e-3}, r"learning_rate=-0\.003: give a number at least 0"),
        ({"learning_rate": math.nan}, "learning_rate=nan: give a number"),
        ({"num_nodes": 0}, "num_nodes=0: give a whole number, at least 1"),
        ({"beta": -1.0}, r"beta=-1\.0: give a number at least 0"),
        ({"clip": 0}, "clip=0: give a number above 0"),
        ({"steps": -3}, "steps=-3: give a whole number"),
        ({"steps": 2.5}, r"steps=2\.5: give a whole number"),
        ({"validate_every": 0}, "validate_every=0: give a whole number"),
        ({"seed": -1}, "seed=-1: give a whole number"),
        ({"dtype": torch.int32}, r"dtype=torch\.int32: give torch\.float32 or"),
        ({"device": "abacus"}, "device='abacus': give one that torch knows"),
        ({"data": np.ones((3, 30))}, "data: got ndarray. Pass pyro_msde.Trajectories"),
        ({"validation": np.ones((3, 30))}, "validation: got ndarray"),
        (
            {"validation": Trajectories([[0.0, 1.0]], [np.ones((2, 1, 30))])},
            r"validation: fields \(1, 30\), but data has \(30,\)",
        ),
        (
            {"validation": Trajectories([np.arange(90.0)], [np.ones((90, 30))])},
            "validation: trajectory 0 lasts .* training horizons",
        ),
        (
            {"validation": Trajectories([[0.0, 0.1]], [np.full((2, 30), 1e5)])},
            "validation: trajectory 0 starts at .* Check its units",
        ),
        ({"tube_width": 0.5}, "tube_width=0.5: give 1"),
        ({"length": 23}, "trajectory 0 has 17 observations"),
        ({"data": Trajectories([np.arange(9.0)], [np.ones((9, 31))])}, r"values: field of shape"),
        ({"data": tiny_data(covariates=np.ones((3, 2)))}, "data: 2 covariates a trajectory"),
        ({"data": Trajectories([np.arange(9.0)], [np.zeros((9, 30))])}, r"the field is zero"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        trained(**options)


@pytest.mark.parametrize("guide", [None, AmortizedGP])
def test_a_guide_has_to_be_built(guide):
    with pytest.raises(ValueError, match=r"guide: got .*\. Pass one that is built"):
        trained((tiny_model(2), guide))


def test_where_nothing_can_be_written_nothing_is_trained(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("of another kind")
    fail_at(monkeypatch, 0, AssertionError("trained"))
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SavedRunError, match=r"checkpoint: cannot write to .*Choose another"):
            trained(checkpoint=place)


def test_a_guide_of_another_model_is_refused():
    with pytest.raises(ValueError, match="guide: made for another model"):
        trained((tiny_model(2), AmortizedGP(tiny_model(2))))
