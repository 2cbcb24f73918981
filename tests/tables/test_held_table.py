"""The table of what holding paths is worth: trajectories, forecasts, what a row says."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import table
from benchmarks.calibration import SEED
from benchmarks.studies import held
from examples.cases import CASES
from pyro_msde import Trajectories
from pyro_msde.datasets.problem import Problem
from pyro_msde.forecasts import Region

TIMES = np.linspace(0.0, 2.0, 201)
HARD = CASES["kdv"]["hard"]


@dataclass
class Constant:
    """Forecasts the truth's value plus an error: 2 where nothing holds it, 1 in the box."""

    region: Any

    def adjustment(self, name):
        return self.region

    def adjusted(self, region):
        return Constant(region)

    def without(self, name):
        return Constant(None)

    def predict(self, y0, times, *, num_samples, covariates):
        off = 2.0 if self.region is None else 1.0 if self.region.ends is None else 0.5
        mean = torch.as_tensor(y0[:, None] + off * np.abs(y0[:, None])).expand(-1, len(times), -1)
        if off == 2.0 and y0.max() > 8:
            mean = mean / 0
        return SimpleNamespace(mean=mean, diverged=torch.tensor([off / 4]))


@pytest.fixture
def constant(monkeypatch):
    """Trajectories stand still at the last digit of their seed, and one; a fit for all splits."""

    def fresh(self, split, count, seed, horizon):
        field = np.full((count, 201, 20), 1.0 + seed % 10)
        return Trajectories(TIMES, field)

    box = torch.zeros(2, 4)
    monkeypatch.setattr(Problem, "fresh", fresh)
    monkeypatch.setattr(held, "kept_fit", lambda *_: Constant(Region(box, box, box)))


def test_the_highest_starts_and_the_first_others(constant):
    found = held.places(HARD)
    assert all((SEED + k) % 10 == 9 for k in found["highest"])
    first = [k for k in range(held.FIRST, held.FIRST + 12) if k not in found["highest"]]
    assert found["others"] == first[: held.COUNT]


def test_rows(constant, tmp_path, monkeypatch):
    path = tmp_path / "held.csv"
    argv = ["held", "--case", "kdv", "--split", "hard", "--results", str(path)]
    monkeypatch.setattr(sys, "argv", argv)
    held.main()
    rows = table.read(path, held.COLUMNS)
    assert [(r["where"], r["held"]) for r in rows] == [
        (where, how) for where in ("highest", "others") for how in ("no", "box", "stencils")
    ]
    errors = ["inf", "1.00000", "0.50000", "2.00000", "1.00000", "0.50000"]
    assert [r["nrmse"] for r in rows] == errors
    assert [r["diverged"] for r in rows[:3]] == ["0.5000", "0.2500", "0.1250"]
    assert {r["trajectories"] for r in rows} == {"6"}
    held.main()
    assert table.read(path, held.COLUMNS) == rows
