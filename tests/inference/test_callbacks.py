"""Who follows training: in which order, how it ends, and what it leaves alone."""

from __future__ import annotations

import inspect
import logging
import math

import numpy as np
import pytest
import torch
from problems import same, tiny_data, tiny_pair, tiny_segments
from short_runs import DATA, QUICK, STEPS, weights_of

from pyro_msde import Callback, NonFiniteLossError, fit, load
from pyro_msde.inference.trainer import Trainer
from pyro_msde.inference.training_loop import train
from pyro_msde.runs import Recipe

VALIDATED = {"validation": tiny_data((2,), seed=7), "validate_every": 2}


def trained(*callbacks, **options):
    options = {**QUICK, "jackknife": False, "callbacks": callbacks, **options}
    return fit(*tiny_pair(1), DATA, **options)


@pytest.fixture(scope="module")
def whole():
    """Training that nobody follows."""
    return trained(**VALIDATED)


class Calls(Callback):
    """Keeps what it was told, and answers at one event with True or an error."""

    def __init__(self, event=None, at=None, answer=True):
        self.told, self.views, self.reply = [], [], (event, at, answer)

    def keep(self, event, view):
        self.told.append((event, view.step))
        self.views.append(view)
        if (event, view.step) != self.reply[:2]:
            return None
        if isinstance(self.reply[2], BaseException):
            raise self.reply[2]
        return self.reply[2]

    def start(self, view):
        self.keep("start", view)

    def step(self, view):
        return self.keep("step", view)

    def validation(self, view):
        return self.keep("validation", view)

    def end(self, view):
        self.keep("end", view)


def test_callbacks_are_told_of_every_step_and_validation_in_order():
    calls = Calls()
    result = trained(calls, **VALIDATED)
    steps = [("step", k) for k in range(1, STEPS + 1)]
    for k in (2, 4, 6):
        steps.insert(steps.index(("step", k)) + 1, ("validation", k))
    assert calls.told == [("start", 0), *steps, ("end", STEPS)]
    scores = [v.score for v in calls.views if v.score is not None]
    assert scores == result.history.validation
    scored = [e for (e, _), v in zip(calls.told, calls.views, strict=True) if v.score is not None]
    assert scored == ["validation"] * 3
    assert {v.steps for v in calls.views} == {STEPS}


def test_terms_are_seen_where_they_are_logged_and_nowhere_else():
    calls = Calls()
    trainer = Trainer(
        *tiny_pair(1),
        tiny_segments(),
        Recipe(num_nodes=5),
        steps=STEPS,
        seed=0,
        device=torch.device("cpu"),
    )
    train(trainer, validate=None, validate_every=100, log_every=4, callbacks=[calls])
    seen = {v.step: v.terms for v in calls.views if v.terms is not None}
    assert list(seen) == trainer.history.steps == [4, 6]
    for name, values in trainer.history.terms.items():
        assert [terms[name] for terms in seen.values()] == values


@pytest.mark.parametrize("event", ["step", "validation"])
def test_a_run_that_a_callback_ends_is_a_finished_run_of_that_length(event, tmp_path):
    """In every bit, where the schedule does not depend on the length; and it stays finished."""
    options = {**VALIDATED, "schedule": "steps", "jackknife": True}
    calls, last = Calls(event, 4), Calls()
    stopped = trained(calls, last, checkpoint=tmp_path, **options)
    short = trained(steps=4, **options)
    assert calls.told[-1] == last.told[-1] == ("end", 4)
    assert (stopped.training.interrupted, stopped.steps) == (False, 4)
    assert same(weights_of(stopped), weights_of(short))
    assert same(*(fit.adjustment("jackknife").directions for fit in (stopped, short)))
    assert stopped.history == short.history
    again = Calls()
    resumed = trained(again, checkpoint=tmp_path, **options)
    assert again.told == []
    for finished in (resumed, load(tmp_path, *tiny_pair(1))):
        assert (finished.training.interrupted, finished.steps) == (False, 4)
        assert same(weights_of(finished), weights_of(short))


def test_a_run_that_ends_between_two_validations_is_validated_there():
    calls = Calls("step", 3)
    result = trained(calls, **VALIDATED)
    assert calls.told[-2:] == [("validation", 3), ("end", 3)]
    assert result.steps == 3
    assert result.history.validation_steps == [2, 3]
    assert result.history.steps == [3]


@pytest.mark.parametrize(
    ("event", "at", "error"),
    [("step", 3, OSError("no disk")), ("validation", 4, KeyboardInterrupt())],
)
def test_what_a_callback_raises_leaves_a_checkpoint_of_that_step(event, at, error, whole, tmp_path):
    """Ctrl-C in it returns the fit; resumed, either is the uninterrupted run in every bit."""
    calls = Calls(event, at, error)
    if isinstance(error, OSError):
        with pytest.raises(OSError, match="no disk"):
            trained(calls, checkpoint=tmp_path, **VALIDATED)
    else:
        assert trained(calls, checkpoint=tmp_path, **VALIDATED).training.interrupted
    assert calls.told[-2:] == [(event, at), ("end", at)]
    rest = Calls()
    resumed = trained(rest, checkpoint=tmp_path, **VALIDATED)
    assert rest.told[:2] == [("start", at), ("step", at + 1)]
    assert same(weights_of(resumed), weights_of(whole))
    assert resumed.history == whole.history


def test_callbacks_draw_from_the_callers_random_state_and_change_nothing(whole, monkeypatch):
    """The tests' watch over random states is left out: who draws here is the caller."""
    monkeypatch.setitem(globals(), "fit", inspect.unwrap(fit))
    drawn = []

    class Draws(Callback):
        def step(self, view):
            drawn.append(float(torch.rand(())))
            np.random.rand()  # noqa: NPY002 - the global generator must not matter

    torch.manual_seed(11)
    with_draws = trained(Draws(), **VALIDATED)
    torch.manual_seed(11)
    assert drawn == [float(torch.rand(())) for _ in range(STEPS)]
    assert same(weights_of(with_draws), weights_of(whole))


def test_the_end_is_told_after_an_error_of_training():
    class Spoils(Calls):
        def step(self, view):
            super().step(view)
            with torch.no_grad():
                view.model.diffusion.net.log_value.fill_(math.nan)

    calls = Spoils()
    with pytest.raises(NonFiniteLossError):
        trained(calls)
    assert calls.told == [("start", 0), ("step", 1), ("end", 1)]


@pytest.mark.parametrize(
    ("in_training", "at", "raised", "logged"),
    [(None, STEPS, "second", ["third"]), ("first", 2, "first", ["second", "third"])],
)
def test_all_are_told_of_the_end_whatever_one_of_them_raises(
    in_training, at, raised, logged, caplog
):
    """The first error is raised, be it of training or of an `end`; later ones are logged."""
    first = Calls("step", at, None if in_training is None else OSError(in_training))
    second, third = (Calls("end", at, OSError(word)) for word in ("second", "third"))
    calls = [first, second, third, Calls()]
    with pytest.raises(OSError, match=raised):
        trained(*calls)
    assert [c.told[-1] for c in calls] == [("end", at)] * 4
    assert [str(r.exc_info[1]) for r in caplog.records] == logged
    assert {r.getMessage() for r in caplog.records} == {"callback Calls: `end` failed"}


@pytest.mark.parametrize("progress", [False, True])
def test_validations_and_stops_go_to_pythons_log_and_above_the_bar(progress, caplog, capsys):
    logger = logging.getLogger("pyro_msde")
    handlers, level = list(logger.handlers), logger.level
    with caplog.at_level(logging.INFO, logger="pyro_msde"):
        result = trained(Calls("step", 3), progress=progress, **VALIDATED)
    scores = result.history.validation
    messages = [
        *(f"step {n}: validation NRMSE {s:.2%}" for n, s in zip((2, 3), scores, strict=True)),
        f"step 3: training stopped before step {STEPS}",
    ]
    *told, last = caplog.records
    assert [r.getMessage() for r in told] == messages
    assert {(r.name, r.levelname) for r in told} == {("pyro_msde.inference", "INFO")}
    assert "a simple forecast does better" in last.getMessage()  # than three steps
    shown = capsys.readouterr()
    assert all((m in shown.out + shown.err) == progress for m in messages)
    assert (f"3/{STEPS}" in shown.err) == progress
    trained(steps=1)  # nobody listens
    assert capsys.readouterr() == ("", "")
    assert (logger.handlers, logger.level) == (handlers, level)


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        (Calls(), "callbacks: got Calls. Pass a list"),
        ([Calls(), Calls], r"callbacks: number 1 is <class .*Calls'>\. Pass an object of a class"),
        ([print], "callbacks: number 0 is <built-in function print>. Pass an object of a class"),
    ],
)
def test_what_is_no_callback_is_refused(callbacks, message):
    with pytest.raises(ValueError, match=message):
        trained(**{"callbacks": callbacks})
