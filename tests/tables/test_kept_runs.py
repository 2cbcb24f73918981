"""Runs that are kept say how they were trained: as the settings of their cases have it."""

from __future__ import annotations

from pathlib import Path

import pytest

import pyro_msde
from examples.cases import CASES, KDV_AS_PUBLISHED

RUNS = Path(__file__).parents[2] / "benchmarks" / "runs"
TRAINED = {
    "kdv-5-published-recipe": (KDV_AS_PUBLISHED, 5),
    "ks-0": (CASES["ks"]["published"], 0),
    "cylinder-0": (CASES["cylinder"]["published"], 0),
    "cylinder-5": (CASES["cylinder"]["published"], 5),
    "cylinder-hard": (CASES["cylinder"]["hard"], 5),
    **{
        f"{case}-{n_eta}": (CASES[case]["published"], n_eta)
        for case in ("kdv", "burgers1d", "burgers2d")
        for n_eta in (0, 5)
    },
    **{f"{case}-hard": (CASES[case]["hard"], 0) for case in ("kdv", "burgers1d", "burgers2d")},
}


def test_all_kept_runs_are_known():
    assert {folder.name for folder in RUNS.iterdir()} == set(TRAINED)


@pytest.mark.parametrize("name", TRAINED)
def test_a_kept_run_is_of_its_case_s_settings(name):
    setting, n_eta = TRAINED[name]
    fit, wanted = pyro_msde.load(RUNS / name), setting.build(n_eta, seed=0).config
    if wanted["architecture"] == "published":  # whose networks have no quadratic path
        wanted = {**wanted, "rank": fit.model.config["rank"]}
    assert fit.model.config == wanted
    early = fit.equation is not None and fit.steps < setting.length(n_eta)  # nothing to gain
    assert early or fit.steps == setting.length(n_eta)
    assert fit.training.recipe == setting.recipe(n_eta)
