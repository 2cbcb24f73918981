"""The calibration table: what is simulated, what a row holds, what is not done again."""

from __future__ import annotations

import itertools
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gaussian_forecasts import Gaussian

from benchmarks import calibration, render_calibration, table
from benchmarks.accuracy import NUM_TIMES
from benchmarks.studies import outside, remedies
from examples.cases import CASES
from pyro_msde import Fit, Grid, Trajectories
from pyro_msde.datasets.problem import Problem
from pyro_msde.inference import Jackknife
from pyro_msde.runs import RECIPES
from pyro_msde.scores import Calibration

TIMES = np.linspace(0.0, 1.0, 201)
HARD = CASES["kdv"]["hard"]
LOW = np.full((201, 20), 2.0)


@pytest.fixture
def asked(monkeypatch):
    """Simulations are standard normal numbers at 20 points, their seeds recorded."""
    seeds = []

    def fresh(self, split, count, seed, horizon):
        seeds.append(seed)
        rng = np.random.default_rng(seed)
        return Trajectories(TIMES, rng.normal(size=(count, 201, 20)), covariates=[float(seed)])

    monkeypatch.setattr(Problem, "fresh", fresh)
    return seeds


class Normal:
    """Forecasts N(0, sd²) in the place of a model's; remembers how many it was asked for."""

    def __init__(self, sd):
        self.sd, self.batches = sd, []

    def predict(self, y0, times, *, num_samples, covariates):
        seeds = None if covariates is None else covariates[:, 0].tolist()
        self.batches.append((len(y0), seeds))
        mean = torch.zeros(len(y0), len(times), y0.shape[-1], dtype=torch.float64)
        sd = torch.full_like(mean, self.sd)
        return Gaussian(times, mean, sd, samples=num_samples, grid=Grid(y0.shape[-1], 4), size=60)


def test_trajectories_have_seeds_of_their_own_and_are_thinned(asked):
    truth = calibration.unseen(HARD, [3, 7])
    assert asked == [calibration.SEED + 3, calibration.SEED + 7]
    assert calibration.SEED > 0  # the stored splits' seed
    assert [v.shape for v in truth.values] == [(NUM_TIMES, 20)] * 2
    assert truth.covariates[:, 0].tolist() == asked
    assert not np.array_equal(*truth.values)


def test_of_a_trajectory_cut_in_time_what_is_as_late_as_its_test_is_forecast(monkeypatch):
    """Of the flow past a cylinder, with a solid: no start-up, which published forecasts skip."""
    flow = CASES["cylinder"]
    asked = []

    def fresh(self, split, count, seed, horizon):
        asked.append(horizon)
        times = np.arange(round(horizon / self.dt) + 1) * self.dt
        values = np.broadcast_to(times[:, None, None], (len(times), 2, 3)).copy()
        values[..., 1] = np.nan
        return Trajectories(times, values[None], missing="mask")

    monkeypatch.setattr(Problem, "fresh", fresh)
    late, whole = (calibration.unseen(flow[split], [0, 1]) for split in ("published", "hard"))
    assert asked == [15.0, 15.0, 8.0, 8.0]
    np.testing.assert_allclose(late.times[0], np.linspace(14.01, 15.0, 100), rtol=1e-12)
    np.testing.assert_array_equal(late.values[1][:, 0, 0], late.times[1])
    np.testing.assert_allclose(whole.times[0][[0, -1]], [0.0, 8.0], rtol=1e-12)
    assert len(whole.times[0]) == NUM_TIMES
    assert np.isnan(late.values[0][..., 1]).all()


def test_planes_are_forecast_one_by_one_and_lines_together(asked):
    method = Normal(1.0)
    seeds = [float(calibration.SEED + k) for k in range(3)]
    line = calibration.measure(method, HARD, range(3))
    plane = calibration.measure(method, replace(HARD, coarse=(8, 8)), range(3))
    assert method.batches == [(3, seeds), *((1, [s]) for s in seeds)]
    assert line.num_trajectories == plane.num_trajectories == 3
    np.testing.assert_allclose(plane.coverage, line.coverage, rtol=1e-12)


@pytest.mark.slow
def test_processes_share_the_work_and_change_no_number(monkeypatch):
    monkeypatch.setattr(calibration, "AT_ONCE", {1: 1})
    alone, shared = (calibration.measure(Normal(1.0), HARD, range(3), jobs=jobs) for jobs in (1, 2))
    np.testing.assert_array_equal(alone.squared_error, shared.squared_error)
    np.testing.assert_array_equal(alone.coverage, shared.coverage)


def test_rows_hold_the_report_and_are_written_once(asked, tmp_path, monkeypatch, capsys):
    path, made = tmp_path / "table.csv", []

    def method(setting, data, kept):
        made.append((setting.split, kept))
        return Normal(1.5) if setting.split == "hard" else None

    monkeypatch.setattr(calibration, "METHODS", {"alt-normal": method})
    monkeypatch.setattr(calibration, "COUNT", {1: 50})
    monkeypatch.setattr(calibration, "FEW", {"kdv": 4})
    argv = ["calibration", "--case", "kdv", "--results", str(path), "--runs", "kept"]
    monkeypatch.setattr(sys, "argv", [*argv, "--methods", "alt-normal"])
    calibration.main()
    rows = table.read(path, calibration.COLUMNS)
    assert tuple(rows[0]) == calibration.COLUMNS
    assert calibration.COLUMNS[:9] == (
        "case",
        "split",
        "method",
        "level",
        "lead",
        "coverage",
        "coverage_se",
        "spread_skill",
        "crps",
    )
    assert len({tuple(r[k] for k in calibration.KEY) for r in rows}) == len(rows) == 40
    assert {r["split"] for r in rows} == {"hard"}  # the other has no such method

    truth = np.stack(calibration.unseen(HARD, range(4)).values)
    for row in (rows[0], rows[17], rows[-1]):
        end = round(10 * float(row["lead"]))
        part = truth[
            :, 10 * (end - 1) + (end > 1) : 10 * end + 1
        ]  # 101 times, the first in tenth 1
        reach = {"0.5": 0.67449, "0.8": 1.28155, "0.9": 1.64485, "0.95": 1.95996}[row["level"]]
        shares = (np.abs(part) < 1.5 * reach).mean((1, 2))
        assert float(row["coverage"]) == pytest.approx(shares.mean(), abs=6e-5)  # 4 decimals
        error = shares.std(ddof=1) / 2
        assert float(row["coverage_se"]) == pytest.approx(error, abs=6e-5)
        ratio = 1.5 / np.sqrt(np.square(part).mean())
        assert float(row["spread_skill"]) == pytest.approx(ratio, abs=6e-5)
        assert row["trajectories"] == "4"

    calibration.main()  # nothing is left to do but to ask again where there was no method
    assert made == [(s, Path("kept")) for s in ("published", "hard", "published")]
    assert table.read(path, calibration.COLUMNS) == rows
    assert "kdv, hard, alt-normal: CalibrationReport(4 trajectories" in capsys.readouterr().out


def test_what_was_interrupted_is_filled_in(asked, tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    monkeypatch.setattr(calibration, "METHODS", {"alt-normal": lambda *_: Normal(1.0)})
    monkeypatch.setattr(calibration, "COUNT", {1: 2})
    argv = ["calibration", "--case", "kdv", "--split", "hard", "--methods", "alt-normal"]
    monkeypatch.setattr(sys, "argv", [*argv, "--results", str(path)])
    calibration.main()
    whole = path.read_text().splitlines()
    path.write_text("\n".join(whole[:8]) + "\n")
    calibration.main()
    assert path.read_text().splitlines() == whole


def test_without_a_scale_there_is_no_unscaled_alternative(monkeypatch):
    def kept(setting, n_eta, folder):
        assert (n_eta, folder) == (HARD.n_eta, "here")
        return found

    monkeypatch.setattr(remedies, "kept_fit", kept)
    monkeypatch.setattr(calibration, "kept_fit", kept)
    found = None
    assert remedies.METHODS["alt-unscaled"](HARD, None, "here") is None
    found = Fit(None, None, None)
    assert remedies.METHODS["alt-unscaled"](HARD, None, "here") is None
    found = Fit(None, None, None, adjustments=(Calibration(0.1),))
    assert remedies.METHODS["alt-unscaled"](HARD, None, "here").diffusion_scale == 1.0
    assert calibration.METHODS["msde"](HARD, None, "here") is found


@pytest.mark.parametrize(
    ("method", "runs", "changed"),
    [
        ("alt-bayesian", ["kdv-hard-bayesian0"], {}),
        ("alt-cold", ["kdv-hard-cold0"], {"beta_parameters": 1.0}),
        ("alt-ensemble", ["kdv-hard-seed1", "kdv-hard-seed2"], {}),
    ],
)
def test_remedies_train_as_the_case_does_but_for_one_thing(method, runs, changed, monkeypatch):
    asked = []

    def fit(model, guide, train, **options):
        asked.append((model, guide, options))
        return Fit(model, guide, 1)

    monkeypatch.setattr(remedies.pyro_msde, "fit", fit)
    kept = Fit(HARD.build(0, 0), None, 1, adjustments=(Jackknife({}), Calibration(0.1)))
    monkeypatch.setattr(remedies, "kept_fit", lambda *_: kept)
    found = remedies.METHODS[method](HARD, lambda: SimpleNamespace(train=0, validation=0), "here")
    if method == "alt-ensemble":
        assert len(found.fits) == 3
        assert found.fits[0].model is kept.model
        assert found.fits[0].adjustments == ()
    assert [options["checkpoint"].name for _, _, options in asked] == runs
    for model, guide, options in asked:
        assert model.drift.is_random == (method in ("alt-bayesian", "alt-cold"))
        assert guide.model is model
        own = {k: options[k] for k in ("recipe", "steps")}
        assert own == {"recipe": RECIPES["resolved"], "steps": HARD.steps}
        usual = {"steps", "seed", "validation", "checkpoint", "progress", "jackknife"}
        usual |= {"recipe", "reference"}
        assert {k: v for k, v in options.items() if k not in usual} == changed
        assert not options["jackknife"]
    assert len({options["seed"] for _, _, options in asked}) == len(runs)


def test_trajectories_outside_start_above_all_of_training():
    found = outside.sorted_out(iter(enumerate([1.0, 3.0, 2.0, 0.5, 2.5, 9.0])), 2.0, count=2)
    assert found == {"inside": {0: 1.0, 2: 2.0}, "outside": {1: 3.0, 4: 2.5}}
    with pytest.raises(RuntimeError, match=r"only 1 start outside, at \|u\| > 2\.000"):
        outside.sorted_out(iter(enumerate([1.0, 3.0])), 2.0, count=2)


def test_rows_of_inside_and_outside_average_over_all_points(asked, tmp_path, monkeypatch, capsys):
    """Against the law of what is simulated, N(0, 1), at normal forecasts of twice its width."""
    path = tmp_path / "outside.csv"
    monkeypatch.setattr(outside, "METHODS", {"alt-normal": lambda *_: Normal(2.0)})
    monkeypatch.setattr(outside, "COUNT", 2)
    monkeypatch.setattr(
        Problem, "splits", lambda *_, **__: SimpleNamespace(train=Trajectories(TIMES, LOW[None]))
    )
    argv = ["outside", "--case", "kdv", "--split", "hard", "--methods", "alt-normal"]
    monkeypatch.setattr(sys, "argv", [*argv, "--results", str(path)])
    outside.main()
    rows = table.read(path, outside.COLUMNS)
    assert [r["where"] for r in rows] == ["inside", "outside"]
    assert float(rows[0]["peak"]) <= 2.0 < float(rows[1]["peak"])
    for r in rows:
        assert r["training_peak"] == "2.000"
        # 4040 standard normal numbers: four standard errors of their root mean square are .045
        assert float(r["error"]) == pytest.approx(1.0, abs=0.045)
        assert float(r["spread"]) == pytest.approx(2.0, abs=1e-6)
        ratio = 2.0 / float(r["error"])
        assert float(r["spread_skill"]) == pytest.approx(ratio, abs=1e-3)
        assert float(r["coverage_90"]) > 0.995  # |x| < 3.29
    outside.main()
    assert table.read(path, outside.COLUMNS) == rows
    monkeypatch.setattr(outside, "PATIENCE", 1)
    outside.main()
    assert "kdv, hard: left out, only " in capsys.readouterr().out
    assert table.read(path, outside.COLUMNS) == rows


def test_a_point_drift_is_the_kept_one_without_its_jackknife(monkeypatch):
    known = Jackknife({})
    kept = Fit(None, None, None, adjustments=(known, Calibration(0.5)))
    monkeypatch.setattr(remedies, "kept_fit", lambda *_: kept)
    fit = remedies.METHODS["alt-point"](HARD, lambda: None, "here")
    assert fit.adjustments == ()
    unscaled = remedies.METHODS["alt-unscaled"](HARD, lambda: None, "here")
    assert unscaled.adjustments == (known,)
    monkeypatch.setattr(remedies, "kept_fit", lambda *_: None)
    assert remedies.METHODS["alt-point"](HARD, lambda: None, "here") is None


def test_the_jackknife_of_remedies_is_of_the_training_data(monkeypatch):
    asked = []

    def jackknifed(fit, train, **options):
        asked.append((fit.adjustments, train, options))
        return fit.adjusted(new)

    new = Jackknife({})
    kept = Fit(HARD.build(0, 0), None, 1, adjustments=(Jackknife({}),))
    monkeypatch.setattr(Fit, "jackknifed", jackknifed)
    monkeypatch.setattr(remedies, "kept_fit", lambda *_: kept)
    trained = deepcopy(kept).without("jackknife")
    monkeypatch.setattr(remedies.pyro_msde, "fit", lambda *_, **__: deepcopy(trained))
    data = SimpleNamespace(train="training data", validation=None)
    loose = remedies.METHODS["alt-loose"](HARD, lambda: data, "here")
    assert loose.adjustments == (new,)
    assert asked.pop() == ((), "training data", {"ridge": 0.01})
    pooled = remedies.METHODS["alt-both"](HARD, lambda: data, "here")
    assert [fit.adjustments for fit in pooled.fits] == [(new,)] * 3
    assert [(train, options) for _, train, options in asked] == [("training data", {})] * 3
    monkeypatch.setattr(remedies, "kept_fit", lambda *_: None)
    for name in ("alt-loose", "alt-both"):
        assert remedies.METHODS[name](HARD, lambda: data, "here") is None


def test_the_page_has_every_method_with_its_extremes(asked, tmp_path, monkeypatch):
    lead, level = ("0.1", "0.2", "1"), ("0.5", "0.9")
    page, paths = tmp_path / "page.md", {"msde": tmp_path / "c.csv", "alt-x": tmp_path / "r.csv"}
    for method, ell, end in itertools.product(("msde", "alt-x"), level, lead):
        row = dict.fromkeys(calibration.COLUMNS, "0.5") | {
            "case": "kdv",
            "split": "hard",
            "method": method,
            "level": ell,
            "lead": end,
            "coverage": {"0.1": "0.93", "0.2": "0.95", "1": "0.88"}[end] if ell == "0.9" else "0.1",
            "spread_skill": {"0.1": "1.5", "0.2": "0.7", "1": "0.9"}[end],
            "crps": {"0.1": "0.01", "0.2": "0.02", "1": "0.06"}[end],
            "energy": "0.2",
            "trajectories": "50",
        }
        table.append(row, paths[method], calibration.COLUMNS)
    other = dict.fromkeys(outside.COLUMNS, "0.25") | {
        "case": "kdv",
        "split": "hard",
        "method": "msde",
        "where": "outside",
    }
    table.append(other, tmp_path / "o.csv", outside.COLUMNS)
    argv = ["render", "--outside", str(tmp_path / "o.csv")]
    for name, path in zip(("--calibration", "--remedies"), paths.values(), strict=True):
        argv += [name, str(path)]
    monkeypatch.setattr(sys, "argv", [*argv, "--out", str(page)])
    render_calibration.main()
    text = page.read_text()
    assert "### Korteweg–de Vries, hard split, 50 trajectories" in text
    for method in ("msde", "alt-x"):
        assert (
            f"| {method} | 0.88–0.95, last 0.88 | 0.70–1.50, last 0.90 | 0.03000 | 0.20000 |"
        ) in text
    assert (
        "| Korteweg–de Vries, hard | msde | outside | 0.2500 | 0.2500 | 0.25 | 0.25 | 0.25 |"
    ) in text


def test_the_page_is_that_of_the_tables(tmp_path, monkeypatch):
    """As `python -m benchmarks.render_calibration` leaves it."""
    page = tmp_path / "page.md"
    monkeypatch.setattr(sys, "argv", ["render", "--out", str(page)])
    render_calibration.main()
    assert page.read_text() == render_calibration.OUT.read_text()
