"""Stopping: Ctrl-C anywhere returns what was learned, SIGTERM saves and ends, nothing is torn."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from problems import same, snapshot, tiny_data, tiny_pair
from short_runs import DATA, QUICK, STEPS, weights_of

import pyro_msde.inference.trainer
import pyro_msde.interface.fitting
import pyro_msde.interface.training_run
from pyro_msde import fit, fit_hierarchical
from pyro_msde.guides import AmortizedGP
from pyro_msde.inference import Trainer
from pyro_msde.interruption import Interruption

VALIDATED = {"validation": tiny_data((2,), seed=7), "validate_every": 3}


def state(result):
    return {**weights_of(result), **dict(result.adjustment("jackknife").directions)}


def trained(pair=None, **options):
    return fit(*(pair or tiny_pair(1)), DATA, **{**QUICK, **VALIDATED, **options})


def press(number=signal.SIGINT, times=2):
    for _ in range(times):
        signal.raise_signal(number)


def pressing(monkeypatch, owner, name, *, call=1, act=press):
    """Press Ctrl-C twice within that call of a function."""
    original, calls = getattr(owner, name), []

    def pressed(*args, **options):
        calls.append(0)
        if len(calls) == call:
            act()
        return original(*args, **options)

    monkeypatch.setattr(owner, name, pressed)


@pytest.fixture(scope="module")
def whole():
    """Training that nothing interrupts."""
    return trained()


RUN = pyro_msde.interface.training_run
PLACES = {
    "set-up": (pyro_msde.interface.fitting, "Trainer", 1),
    "warm start": (pyro_msde.inference.trainer, "start_principal_components", 1),
    "step 3, where it validates": (Trainer, "one_step", 3),
    "step 5": (Trainer, "one_step", 5),
    "validation": (pyro_msde.interface.fitting, "validation_score", 1),
    "save on the way": (RUN, "write_run", 1),
    "pass for Σ_y and the jackknife": (RUN, "encoded_segments", 1),
    "middle of that pass": (RUN.JackknifeStep, "add", 5),
    "Σ_y": (RUN.ObservationVarianceStep, "end", 1),
}


@pytest.mark.parametrize("place", PLACES)
def test_ctrl_c_anywhere_returns_the_fit_and_leaves_no_trace_in_the_run(
    place, whole, monkeypatch, tmp_path
):
    """Pressed twice; the run resumed from there is the uninterrupted one in every bit."""
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        owner, name, call = PLACES[place]
        pressing(patch, owner, name, call=call)
        result = trained(checkpoint=tmp_path)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert result.training.interrupted
    assert result.adjustment("jackknife") is None
    assert result.history.validation_steps[-1] == result.steps
    y0 = DATA.values[0][0]
    assert result.predict(y0, [0.0, 0.1], num_samples=3, max_step=0.1).mean.isfinite().all()
    loaded = pyro_msde.load(tmp_path, *tiny_pair(1, seed=8))
    assert loaded.training.interrupted
    assert same(snapshot(loaded.model), snapshot(result.model))
    resumed = trained(checkpoint=tmp_path)
    assert not resumed.training.interrupted
    assert resumed.history == whole.history
    assert same(state(resumed), state(whole))


def test_ctrl_c_in_the_last_save_changes_nothing(whole, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        pressing(patch, RUN, "write_run", call=3)  # after two on the way
        result = trained(checkpoint=tmp_path)
    assert not result.training.interrupted
    assert same(state(result), state(whole))
    assert not pyro_msde.load(tmp_path, *tiny_pair(1)).training.interrupted


def test_a_keyboard_interrupt_of_the_models_own_returns_the_fit(whole, monkeypatch, tmp_path):
    """In a thread, where no signal comes: the step that it ends has not been."""
    results, set_gradients = [], Trainer._set_gradients

    def stopping(trainer):
        set_gradients(trainer)  # after draws were made
        if trainer.step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_set_gradients", stopping)
        thread = Thread(target=lambda: results.append(trained(checkpoint=tmp_path)))
        thread.start()
        thread.join()
    assert results[0].training.interrupted
    assert results[0].steps == 5
    resumed = trained(checkpoint=tmp_path)
    assert same(state(resumed), state(whole))
    assert resumed.history == whole.history


def test_a_torn_step_is_not_saved(whole, monkeypatch, tmp_path):
    """An exception from the user's own handler may come while the parameters move."""
    step, calls = torch.optim.AdamW.step, []

    def torn(optimiser):
        calls.append(0)
        step(optimiser)
        if len(calls) == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", torn)
        result = trained(checkpoint=tmp_path)
    assert result.training.interrupted
    assert pyro_msde.load(tmp_path, *tiny_pair(1)).steps == 3  # the checkpoint before
    assert same(state(trained(checkpoint=tmp_path)), state(whole))


def test_handlers_of_the_users_own_stay(monkeypatch):
    seen = []
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.signal(number, lambda n, _: seen.append(n))
        try:
            with monkeypatch.context() as patch:
                pressing(patch, Trainer, "one_step", call=3, act=lambda n=number: press(n, 1))
                result = trained(validation=None)
            assert seen.pop() == number
            # theirs for Ctrl-C has decided that nothing stops; SIGTERM is passed on in the end
            assert result.training.interrupted == (number == signal.SIGTERM)
            assert result.steps == (3 if number == signal.SIGTERM else STEPS)
        finally:
            signal.signal(number, before)
    assert not seen


def test_sigterm_saves_before_it_is_passed_on(whole, monkeypatch, tmp_path):
    seen = []
    before = signal.signal(
        signal.SIGTERM, lambda *_: seen.append(pyro_msde.load(tmp_path, *tiny_pair(1)).steps)
    )
    try:
        with monkeypatch.context() as patch:
            pressing(patch, Trainer, "one_step", call=5, act=lambda: press(signal.SIGTERM, 1))
            trained(checkpoint=tmp_path)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [5]
    resumed = trained(checkpoint=tmp_path)
    assert same(state(resumed), state(whole))
    assert resumed.history == whole.history


TERMINATED = """
import signal, sys
sys.path.insert(0, "tests")
import torch
from test_interruption import Trainer, pressing, trained
from pytest import MonkeyPatch
torch.set_num_threads(1)
act = lambda: signal.raise_signal(signal.SIGTERM)
pressing(MonkeyPatch(), Trainer, "one_step", call=5, act=act)
trained(checkpoint=sys.argv[1])
print("went on")
"""


def test_sigterm_ends_the_process(whole, tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(TERMINATED), str(tmp_path)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == -signal.SIGTERM, ended.stderr
    assert "went on" not in ended.stdout
    assert same(state(trained(checkpoint=tmp_path)), state(whole))


def test_stages_end_with_the_one_before(monkeypatch):
    def model_factory(n_eta):
        if n_eta == 1:
            press()
        return tiny_pair(n_eta)[0]

    fits = fit_hierarchical(model_factory, AmortizedGP, DATA, n_etas=(0, 1, 2), **QUICK)
    assert [(f.model.n_eta, f.training.interrupted) for f in fits] == [(0, False)]
    pressing(monkeypatch, Trainer, "one_step", call=STEPS + 2)
    pair = [lambda n: tiny_pair(n)[0], AmortizedGP]
    fits = fit_hierarchical(*pair, DATA, n_etas=(0, 1, 2), **QUICK)
    assert [(f.model.n_eta, f.training.interrupted, f.steps) for f in fits] == [
        (0, False, STEPS),
        (1, True, 2),
    ]


def test_notes_reach_the_block_around():
    with Interruption() as outer:
        with Interruption() as inner:
            assert not inner.requested
            signal.raise_signal(signal.SIGINT)
            assert inner.requested
            with pytest.raises(KeyboardInterrupt):
                list(inner.each([1, 2]))
        assert outer.requested
        with Interruption() as later:
            assert later.requested
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGINT, before)


# two at once


def test_two_runs_at_once_are_each_as_if_alone():
    alone = [trained(seed=seed, validation=None) for seed in (1, 2)]
    found, pairs = {}, {seed: tiny_pair(1) for seed in (1, 2)}

    def run(seed):
        found[seed] = trained(pairs[seed], seed=seed, validation=None)

    threads = [Thread(target=run, args=(seed,)) for seed in (1, 2)]
    outside = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(torch.get_rng_state(), outside[0])
    for seed, result in zip((1, 2), alone, strict=True):
        assert same(state(found[seed]), state(result))
        assert found[seed].history == result.history


@pytest.mark.gpu
def test_a_run_on_a_gpu_is_resumed_in_every_bit(cuda, monkeypatch, tmp_path):
    """Its random state is that of the device."""
    reference = trained(device=cuda)
    with monkeypatch.context() as patch:
        pressing(patch, Trainer, "one_step", call=2)
        assert trained(device=cuda, checkpoint=tmp_path).steps == 2
    resumed = trained(device=cuda, checkpoint=tmp_path)
    assert same(state(resumed), state(reference))
    assert resumed.history == reference.history
