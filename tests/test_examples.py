"""The examples run: a few steps each, from an empty folder."""

from __future__ import annotations

import csv
import importlib
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import pyro_msde
from examples.cases import CASES
from pyro_msde.datasets import kdv as datasets_kdv
from pyro_msde.datasets import observed
from pyro_msde.datasets.kdv import kdv_splits
from pyro_msde.datasets.problem import Problem

EXAMPLES = Path(__file__).parent.parent / "examples"

RUNS = {
    "kdv_demo.py": ("forecast.png", "metrics.json", "test.nc"),
    "burgers.py": ("forecast.png",),
    "observed.py": ("forecast.nc",),
    "gle.py": ("innovations.json", "innovations.png"),
    "ks.py": ("statistics.png",),
    "swap_guides.py": (),
}


@pytest.fixture
def example(tmp_path):
    """Runs an example for four steps in a process of its own, from an empty folder."""

    def run(script):
        words = [sys.executable, str(EXAMPLES / script), "--out", "here", "--steps", "4"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=1800)
        assert done.returncode == 0, done.stderr
        for name in RUNS[script]:
            assert (tmp_path / "here" / name).stat().st_size > 0, name
        return done.stdout, tmp_path / "here"

    return run


@pytest.mark.slow
@pytest.mark.parametrize("script", ["burgers.py", "ks.py"])
def test_an_example_prints_the_error_of_the_run_that_it_leaves(example, script):
    printed, out = example(script)
    fit = pyro_msde.load(out)
    assert fit.steps == 4
    case, every = {"burgers.py": ("burgers1d", 10), "ks.py": ("ks", 1)}[script]
    setting = CASES[case]["published"]
    data = setting.problem.splits("published", directory=out.parent / "data")
    test = data.test.until(setting.horizon).thinned(every)
    fc = fit.predict(np.stack(test.values)[:, 0], test.times[0])
    error = re.search(r"^(?:test )?NRMSE.*? ([\d.]+)%", printed, re.MULTILINE).group(1)
    assert float(error) == pytest.approx(
        100 * np.mean(pyro_msde.nrmse(fc, test, relative_to="zero")), abs=0.05
    )


@pytest.mark.slow
def test_the_demo_measures_the_run_that_it_leaves(example):
    _, out = example("kdv_demo.py")
    fit, metrics = pyro_msde.load(out), json.loads((out / "metrics.json").read_text())
    assert fit.steps == metrics["steps"] == 4
    test = kdv_splits("published", directory=out.parent / "data").test.thinned(10)
    fc = fit.predict(np.stack(test.values)[:, 0], test.times[0], num_samples=64)
    assert metrics["nrmse_mean"] == pytest.approx(
        np.mean(pyro_msde.nrmse(fc, test, relative_to="zero")), rel=1e-5
    )
    still = np.stack(test.values)[:, :1]
    error = np.sqrt(
        (
            np.square(still - np.stack(test.values)).sum(2)
            / np.square(np.stack(test.values)).sum(2)
        ).mean(1)
    )
    assert metrics["persistence_nrmse"] == pytest.approx(error.mean(), rel=0.02)  # every 10th time


@pytest.mark.slow
def test_the_table_of_observed_fields_is_of_the_run_that_is_left(example):
    printed, out = example("observed.py")
    fit = pyro_msde.load(out)
    assert fit.steps == 4
    record = pyro_msde.Trajectories.from_xarray(observed.sst(), "sst", missing="mask")
    train, _, test = record.split(train=0.6, validation=0.2, gap=3)
    table = pyro_msde.compare(fit, test.cut(4, every=1), train, weights="coslat")
    shown = next(line for line in printed.splitlines() if line.startswith("fit"))
    skill = table["skill"].sel(forecaster="fit")
    np.testing.assert_allclose([float(s) for s in shown.split()[1:]], skill, atol=0.006)


@pytest.mark.slow
def test_innovations_are_white_under_the_equation_itself_and_under_no_scalar_filter(example):
    _, out = example("gle.py")
    for rows in json.loads((out / "innovations.json").read_text()).values():
        assert rows["the equation itself"]["p"] > 0.01
        assert rows["best scalar filter"]["p"] < 1e-20


@pytest.mark.slow
def test_every_swap_of_priors_and_guides_has_a_row(example, monkeypatch):
    _, out = example("swap_guides.py")
    with (out.parent / "benchmarks" / "results" / "swap.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    monkeypatch.syspath_prepend(str(EXAMPLES))
    swaps = importlib.import_module("swap_guides").SWAPS
    assert [(r["prior"], r["theta_guide"], r["path_guide"]) for r in rows] == list(swaps)
    assert all(np.isfinite(float(r["nrmse"])) and r["steps"] == "4" for r in rows)


class Asked(Exception):
    """Carries what `fit` was called with."""


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Runs an example, from an empty folder and without data, up to its call of `fit`."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)
    empty = SimpleNamespace(train=None, validation=None)
    for owner, name in ((Problem, "splits"), (datasets_kdv, "kdv_splits")):
        monkeypatch.setattr(owner, name, lambda *_, **__: empty)

    def fit(model, guide, data, **options):
        raise Asked(model, guide, options)

    monkeypatch.setattr(pyro_msde, "fit", fit)

    def run(script, *words):
        monkeypatch.setattr(sys, "argv", [script, *words])
        with pytest.raises(Asked) as caught:
            runpy.run_path(str(EXAMPLES / script), run_name="__main__")
        return caught.value.args

    return run


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        ("burgers.py", "burgers1d-5"),
        ("burgers.py --dimensions 2", "burgers2d-5"),
        ("burgers.py --split hard", "burgers1d-hard"),
        ("burgers.py --dimensions 2 --split hard", "burgers2d-hard"),
        ("kdv.py --rows kdv-0", "kdv-0"),
        ("kdv.py --rows kdv-5", "kdv-5"),
        ("kdv.py --rows kdv-hard", "kdv-hard"),
        ("ks.py", "ks-0"),
    ],
)
def test_an_example_trains_as_the_run_that_is_kept(asked, command, kept):
    """Hence as the row of the table that it stands for: model, steps and recipe."""
    kept = pyro_msde.load(EXAMPLES.parent / "benchmarks" / "runs" / kept)
    model, guide, options = asked(*command.split())
    assert model.config == kept.model.config
    assert guide.config == kept.guide.config
    assert options["recipe"] == kept.training.recipe
    early = kept.equation is not None and kept.steps < options["steps"]  # nothing to gain
    assert early or options["steps"] == kept.steps


def test_the_demo_trains_for_fewer_steps(asked):
    """What `make demo` calls."""
    model, _, options = asked("kdv_demo.py")
    kept = pyro_msde.load(EXAMPLES.parent / "benchmarks" / "runs" / "kdv-5")
    assert model.config == kept.model.config
    assert options["recipe"] == kept.training.recipe
    assert options["steps"] == 3000
