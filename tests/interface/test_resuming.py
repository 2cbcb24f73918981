"""Which run a checkpoint is of, and what going on with it, or not being able to write it, does."""

from __future__ import annotations

import copy
import errno
import math
import shutil
import signal
from dataclasses import replace
from functools import partial

import pytest
import torch
from problems import LENGTH, same, snapshot, tiny_data, tiny_pair, tiny_segments
from short_runs import DATA, QUICK, STEPS, weights_of

import pyro_msde.inference.trainer
import pyro_msde.interface.fitting
import pyro_msde.interface.training_run
import pyro_msde.runs.checkpoint
from pyro_msde import NonFiniteLossError, SavedRunError, fit, load
from pyro_msde.inference import Trainer, train
from pyro_msde.inference.training_state import restore, state_of
from pyro_msde.runs import Recipe, State, locked_folder, read_run, write_run
from pyro_msde.scores import Calibration

VALIDATED = {"validation": tiny_data((2,), seed=7), "validate_every": 2}


def trained(folder=None, **options):
    return fit(*tiny_pair(1), DATA, **{**QUICK, "checkpoint": folder, **options})


def interrupted(monkeypatch, folder, *, step=3, **options):
    """A run that was stopped after a step."""
    one_step = Trainer.one_step

    def stopped(trainer):
        if trainer.step == step - 1:
            signal.raise_signal(signal.SIGINT)
        return one_step(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "one_step", stopped)
        result = trained(folder, **options)
    assert (result.training.interrupted, result.steps) == (True, step)
    return result


def files(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != ".lock"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Folders of a run that is finished and of one that was stopped after three steps."""
    place = tmp_path_factory.mktemp("kept")
    trained(place / "finished", **VALIDATED)
    with pytest.MonkeyPatch.context() as patch:
        interrupted(patch, place / "stopped", **VALIDATED)
    return place


@pytest.fixture
def folder_of(kept, tmp_path):
    """A copy of either."""
    return lambda which: shutil.copytree(kept / which, tmp_path / which)


def calibrated(result):
    """A copy with a scale, as `Fit.calibrated` makes one."""
    calibration = Calibration(1.4, 0.9, (1.0, 1.4), ((0.8,), (0.9,)))
    return result.adjusted(calibration)


# which run it is


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"validation": tiny_data((2,), seed=8)}, "has another validation"),
        ({"validation": None}, "has validation, here there is none"),
        ({"validate_every": 3}, "has validate_every=2, here 3"),
        ({"variance_rate": 5.0}, r"has variance_rate=10\.0, here 5\.0"),
    ],
    ids=lambda o: next(iter(o)) if isinstance(o, dict) else "",
)
@pytest.mark.parametrize("which", ["finished", "stopped"])
def test_scores_of_other_validations_are_not_mixed(other, named, which, folder_of):
    folder = folder_of(which)
    before = files(folder)
    with pytest.raises(SavedRunError, match=named):
        trained(folder, **{**VALIDATED, **other})
    assert files(folder) == before


def test_a_validation_that_was_not_there_is_another_run(tmp_path):
    trained(tmp_path, validate_every=2)
    with pytest.raises(SavedRunError, match="has no validation, here there is one"):
        trained(tmp_path, **VALIDATED)


def test_a_finished_run_is_read_as_it_was_saved(monkeypatch, tmp_path):
    """With its scale and its jackknife; nothing on the disk is changed."""
    first = calibrated(trained(tmp_path))
    first.save(tmp_path)
    before = files(tmp_path)
    monkeypatch.setattr(Trainer, "one_step", None)
    again = trained(tmp_path)
    assert (again.diffusion_scale, again.calibration) == (1.4, first.calibration)
    new, old = (dict(x.adjustment("jackknife").directions) for x in (again, first))
    assert same(new, old)
    assert same(weights_of(again), weights_of(first))
    assert again.history == first.history
    assert files(tmp_path) == before
    load(tmp_path, *tiny_pair(1)).jackknifed(DATA, ridge=2.0).save(tmp_path)
    widened = load(tmp_path, *tiny_pair(1)).adjustment("jackknife").directions
    assert same(dict(trained(tmp_path).adjustment("jackknife").directions), dict(widened))


def test_a_jackknife_that_a_finished_run_lacks_is_warned_of(tmp_path):
    trained(tmp_path, jackknife=False)
    with pytest.warns(UserWarning, match=r"saved without a jackknife. Call fit\.jackknifed"):
        assert trained(tmp_path).adjustment("jackknife") is None
    assert trained(tmp_path, jackknife=False).adjustment("jackknife") is None


def test_a_run_that_says_nothing_of_its_data_is_not_written_over(tmp_path):
    result = trained()
    replace(result, training=replace(result.training, identity=None)).save(tmp_path)
    before = files(tmp_path)
    with pytest.raises(SavedRunError, match="does not say what it was trained on"):
        trained(tmp_path)
    assert files(tmp_path) == before


# going on


def test_saving_what_was_interrupted_keeps_what_resuming_needs(folder_of):
    """A scale chosen for it is not one for the weights that are trained after."""
    whole, folder = load(folder_of("finished"), *tiny_pair(1)), folder_of("stopped")
    calibrated(load(folder, *tiny_pair(1))).save(folder)
    with pytest.warns(UserWarning, match="was calibrated before it was finished"):
        result = trained(folder, **VALIDATED)
    assert same(weights_of(result), weights_of(whole))
    assert result.history == whole.history
    assert result.diffusion_scale == 1
    assert result.calibration is None


@pytest.mark.parametrize(
    "mend", [{"learning_rate": 1e-4}, {"anneal": 5000, "clip": None}, {"clip": 1.0}]
)
def test_the_advice_after_a_bad_loss_can_be_followed(mend, monkeypatch, tmp_path):
    """With the checkpoint that there is, though these are not the run's own numbers."""
    first, set_gradients = Recipe(length=7, stride=1, num_nodes=5), Trainer._set_gradients

    def failing(trainer):
        set_gradients(trainer)
        if trainer.step == 5 and trainer.recipe == first:
            trainer.elbo.terms = {"drift_residual": math.nan}
            trainer._fail()

    monkeypatch.setattr(Trainer, "_set_gradients", failing)
    with pytest.raises(NonFiniteLossError, match="Lower learning_rate or clip, or raise anneal"):
        trained(tmp_path, **VALIDATED)
    assert load(tmp_path, *tiny_pair(1)).steps == 4
    with pytest.warns(UserWarning, match=f"goes on from step 4 with {next(iter(mend))}="):
        result = trained(tmp_path, **VALIDATED, **mend)
    assert result.steps == STEPS
    assert result.training.recipe == replace(first, **mend)
    with pytest.raises(SavedRunError, match=r"has (learning_rate|anneal|clip)="):
        trained(tmp_path, **VALIDATED)  # what is finished was trained as it says


def test_annealing_goes_on_as_is_asked_for_now(monkeypatch, tmp_path):
    interrupted(monkeypatch, tmp_path, anneal=10)
    seen, beta = [], Trainer._beta

    def watched(trainer):
        seen.append(trainer.anneal)
        return beta(trainer)

    monkeypatch.setattr(Trainer, "_beta", watched)
    with pytest.warns(UserWarning, match="anneal=20, till then 10"):
        trained(tmp_path, anneal=20)
    assert seen == [20] * 3


@pytest.mark.parametrize("every", [1, 2, 4])
def test_terms_since_the_last_logging_step_are_kept(every, monkeypatch, tmp_path):
    """The history of the resumed run has means over what was before, too."""
    module = pyro_msde.interface.training_run
    monkeypatch.setattr(module, "train", partial(train, log_every=4))
    whole = trained(validate_every=every)
    interrupted(monkeypatch, tmp_path, validate_every=every)
    assert trained(tmp_path, validate_every=every).history == whole.history


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: s._replace(position={**s.position, "step": 99}),
        lambda s: s._replace(position={k: v for k, v in s.position.items() if k != "rng"}),
        lambda s: s._replace(position={**s.position, "rng": {"bit_generator": "MT"}}),
        lambda s: s._replace(position={**s.position, "history": {"scores": 3}}),
        lambda s: s._replace(position={**s.position, "factors": [1.0]}),
        lambda s: with_tensor(s, "random.0", torch.zeros(7, dtype=torch.uint8)),
        lambda s: with_tensor(s, "optimiser.0.exp_avg", torch.zeros(2, 2)),
        lambda s: with_tensor(s, "optimiser.999.exp_avg", torch.zeros(2, 2)),
        lambda s: with_tensor(s, "weights.model.kernel.net.weight", torch.full((13,), math.nan)),
        lambda s: with_tensor(s, "weights.model.more", torch.zeros(3)),
        lambda s: None,
    ],
)
def test_a_state_that_fits_nothing_is_refused_and_nothing_half_loaded(spoil, folder_of):
    folder = folder_of("stopped")
    saved = read_run(folder)
    run = {k: v for k, v in saved.run.items() if k not in ("format", "files", "position")}
    write_run(folder, run, saved.weights, spoil(saved.state))
    pair = tiny_pair(1, seed=8)
    before = [snapshot(module) for module in pair]
    with pytest.raises(SavedRunError, match=r"no state in .* from which training could go on"):
        fit(*pair, DATA, checkpoint=folder, **QUICK, **VALIDATED)
    assert all(same(a, snapshot(b)) for a, b in zip(before, pair, strict=True))


def with_tensor(state, name, value):
    return State(state.position, {**state.tensors, name: value})


# the best


def scored(monkeypatch, scores, *args, **options):
    """A run whose validations give these scores, and the parameters at each."""
    seen = []

    def score(result, validation):
        seen.append(weights_of(result))
        return [*scores, 0.0, 0.0][len(seen) - 1]  # the last two with and without a memory

    with monkeypatch.context() as patch:
        patch.setattr(pyro_msde.interface.fitting, "validation_score", score)
        return trained(*args, **{**VALIDATED, **options}), seen


def test_a_checkpoint_of_the_best_leaves_the_current_parameters(monkeypatch, tmp_path):
    """It holds the best, which training does not go on from."""
    bare, without = scored(monkeypatch, [1.0, 2.0, 3.0])
    kept, with_one = scored(monkeypatch, [1.0, 2.0, 3.0], tmp_path)
    assert all(same(a, b) for a, b in zip(without, with_one, strict=True))
    assert not same(with_one[1], with_one[0])
    assert same(weights_of(bare), weights_of(kept))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize(("scores", "best"), [([0, 2, 0], 1), ([0, 0, 0], 2), ([1, 0, 2], 0)])
def test_a_score_that_is_not_finite_is_never_the_best(scores, best, bad, monkeypatch):
    """0 stands for it. Where all are such, the last parameters are kept."""
    scores = [float(s) or bad for s in scores]
    result, seen = scored(monkeypatch, scores)
    kept = {k: v for k, v in weights_of(result).items() if not k.startswith("var_")}  # but Σ_y
    assert same(kept, {k: v for k, v in seen[best].items() if not k.startswith("var_")})
    expected = [s if math.isfinite(s) else math.inf for s in scores]
    assert result.history.validation == expected


# disks


def test_a_full_disk_stops_nothing_and_is_warned_of(folder_of, monkeypatch, tmp_path):
    """Once for its cause on the way, and in the end, where the fit is returned."""
    whole = load(folder_of("finished"), *tiny_pair(1))

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pyro_msde.runs.checkpoint, "write_whole", full)
    with pytest.warns(UserWarning, match="No space left on device") as told:
        result = trained(tmp_path, **VALIDATED)
    texts = [str(w.message) for w in told]
    assert len(texts) == 2
    assert all(str(tmp_path) in text for text in texts)
    assert "step 2 could not be saved; training goes on" in texts[0]
    assert "the fit could not be saved, but is returned" in texts[1]
    assert same(weights_of(result), weights_of(whole))


@pytest.mark.parametrize("replaced", [False, True])
def test_a_folder_that_goes_while_training_stops_nothing(replaced, monkeypatch, tmp_path):
    folder, one_step = tmp_path / "run", Trainer.one_step

    def going(trainer):
        if trainer.step == 4:
            shutil.rmtree(folder)
            if replaced:
                folder.write_text("another one's")
        return one_step(trainer)

    monkeypatch.setattr(Trainer, "one_step", going)
    if replaced:
        with pytest.warns(UserWarning, match="could not be saved"):
            assert trained(folder).steps == STEPS
        assert folder.read_text() == "another one's"
    else:
        assert trained(folder).steps == load(folder, *tiny_pair(1)).steps == STEPS


def test_the_second_run_in_a_folder_is_refused(tmp_path):
    with locked_folder(tmp_path), pytest.raises(SavedRunError, match="another run is using"):
        trained(tmp_path)
    trained(tmp_path)  # nobody's now
    with locked_folder(tmp_path):
        pass  # nor held after training


SPOILT_STATES = {
    "optimiser step's shape": lambda p, t: t.update({"optimiser.0.step": torch.ones(3, 3)}),
    "optimiser step": lambda p, t: t.update({"optimiser.0.step": -torch.ones(())}),
    "a moment missing": lambda p, t: t.pop("optimiser.0.exp_avg"),
    "a moment not finite": lambda p, t: t["optimiser.0.exp_avg"].fill_(float("nan")),
    "a negative square": lambda p, t: t["optimiser.0.exp_avg_sq"].fill_(-1.0),
    "clip's shape": lambda p, t: t.update({"clip.usual": torch.ones(7)}),
    "clip not finite": lambda p, t: t.update({"clip.usual": torch.tensor(float("nan"))}),
    "a term of the window": lambda p, t: t.update({"window.foo": torch.ones(1)}),
    "generator": lambda p, t: p["rng"]["state"].update(state=2**200),
    "history none": lambda p, t: p["history"].update(validation=None),
    "history longer": lambda p, t: p["history"]["validation"].append(0.1),
    "history of words": lambda p, t: p["history"].update(steps=["a"]),
    "factors": lambda p, t: p.update(factors=[-1e6] * len(p["factors"])),
    "best": lambda p, t: p.update(best=-math.inf),
    "best in words": lambda p, t: p.update(best="0.0"),
    "a flag in words": lambda p, t: p.update(drift_started="no"),
}


@pytest.mark.parametrize("what", SPOILT_STATES)
def test_a_state_that_none_can_be_is_refused(what):
    def trainer():
        model, guide = tiny_pair(2)
        own = Trainer(
            model,
            guide,
            tiny_segments(),
            Recipe(length=LENGTH, stride=1, num_nodes=9),
            steps=9,
            seed=0,
            device=torch.device("cpu"),
        )
        train(own, validate=lambda: 0.5, validate_every=2, stop=lambda: own.step == 3)
        return own

    trained = trainer()
    restore(trainer(), state_of(trained))
    state = copy.deepcopy(state_of(trained))
    SPOILT_STATES[what](state.position, state.tensors)
    with pytest.raises((ValueError, TypeError, OverflowError)):
        restore(trainer(), state)
