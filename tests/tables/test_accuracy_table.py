"""The accuracy table: what is asked for, what a row holds, what the page says of it."""

from __future__ import annotations

import argparse
import sys

import numpy as np
import pytest

from benchmarks import accuracy, render, table
from examples.cases import CASES
from pyro_msde import Trajectories

ROW = {
    "case": "kdv",
    "split": "published",
    "method": "msde",
    "n_eta": 5,
    "seed": 0,
    "n_coarse": "20",
    "steps": 7,
    "train_seconds": 3,
    "predict_seconds": 1,
    "device": "a chip",
    "nrmse_mean": "0.03210",
    "nrmse_sd": "0.00400",
    "coverage_90": "0.9100",
    "crps": "0.012345",
    "coverage_low": "0.88",
    "coverage_high": "0.93",
    "status": "ok",
    "version": "0",
}


def arguments(**changes):
    given = {
        "case": "kdv",
        "split": "published,hard",
        "methods": "msde,nearest",
        "n_eta": "",
        "seeds": 1,
        "rescore": None,
    }
    return argparse.Namespace(**{**given, **changes})


def test_rows_are_appended_and_read_back(tmp_path):
    path = tmp_path / "new" / "table.csv"
    assert table.read(path) == []
    table.append(ROW, path)
    table.append({**ROW, "seed": 1, "status": "diverged", "nrmse_mean": ""}, path)
    rows = table.read(path)
    assert [r["seed"] for r in rows] == ["0", "1"]
    assert tuple(rows[0]) == table.COLUMNS
    assert table.key_of(ROW) == table.key_of(rows[0]) != table.key_of(rows[1])


def test_a_file_with_missing_columns_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("case,split,method\nkdv,published,msde\n")
    before = path.read_text()
    with pytest.raises(ValueError, match=r"column\(s\) n_eta, seed, .* missing"):
        table.append(ROW, path)
    assert path.read_text() == before
    with pytest.raises(ValueError, match="no column wrong"):
        table.append({**ROW, "wrong": 1}, tmp_path / "other.csv")


def test_runs_that_are_asked_for():
    asked = [(s.split, m, n, k) for s, m, n, k in accuracy.runs(arguments(seeds=2))]
    assert asked == [
        ("published", "msde", 0, 0),
        ("published", "msde", 0, 1),
        ("published", "msde", 5, 0),
        ("published", "msde", 5, 1),
        ("published", "nearest", None, 0),
        ("hard", "msde", 0, 0),
        ("hard", "msde", 0, 1),
        ("hard", "nearest", None, 0),
    ]
    wide = list(accuracy.runs(arguments(n_eta="0..5", methods="msde", split="published")))
    assert [n for _, _, n, _ in wide] == [0, 1, 2, 3, 4, 5]
    kept = accuracy.runs(arguments(rescore="benchmarks/runs", split="published"))
    assert [(m, n) for _, m, n, _ in kept] == [("msde", 0), ("msde", 5)]
    plane = CASES["burgers2d"]["published"]
    assert [plane.length(n) for n in (0, 3, 5)] == [10_000, 8000, 16_000]
    assert CASES["ks"]["published"].horizon == pytest.approx(46.5, abs=0.1)


def test_trajectories_are_thinned_over_the_horizon():
    data = Trajectories(np.arange(2001) * 0.001, np.zeros((2, 2001, 3)) + 1, covariates=[1.0, 2.0])
    thin = accuracy.at_times(data, 1.5)
    assert len(thin.times[0]) == accuracy.NUM_TIMES
    assert thin.times[0][0] == 0
    assert thin.times[0][-1] == pytest.approx(1.5)
    np.testing.assert_array_equal(thin.covariates, data.covariates)


def test_what_is_there_is_not_run_again(tmp_path, monkeypatch, capsys):
    path = tmp_path / "table.csv"
    table.append({**ROW, "method": "mean", "n_eta": ""}, path)
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "accuracy",
            "--case",
            "kdv",
            "--split",
            "published",
            "--methods",
            "mean",
            "--results",
            str(path),
        ],
    )
    accuracy.main()  # would generate the data otherwise
    assert len(table.read(path)) == 1
    said = capsys.readouterr().out
    assert said.startswith(f"kdv, published, mean, 0: is in {path}. Give --results")
    assert said.count("\n") == 1


def test_the_page_names_seeds_failures_and_the_authors_figures():
    text = {k: str(v) for k, v in ROW.items()} | {"diffusion_scale": "1", "choice": ""}
    rows = [
        text,
        {**text, "seed": "1", "nrmse_mean": "0.0400"},
        {
            **text,
            "method": "dns-coarse",
            "n_eta": "",
            "status": "not finite",
            "nrmse_mean": "",
            "nrmse_sd": "",
            "coverage_90": "",
            "crps": "",
        },
    ]
    page = render.render(rows)
    assert "## Korteweg–de Vries, published split" in page
    assert "| msde, n_η = 5 | 20 | 7 | 3.60 ± 0.40 (2 seeds: 3.21 to 4.00) |" in page
    assert "0.91 (0.88–0.93) | 0.01234 | 3 | 5.8 |" in page.replace("0.01235", "0.01234")
    assert "| dns-coarse | 20 | 7 | not finite |" in page
    assert "Device: a chip." in page


def test_the_readme_and_the_page_say_what_the_table_holds():
    """As `python -m benchmarks.render` leaves them."""
    rows = table.read()
    readme = render.README.read_text()
    assert render.with_summary(readme, render.summary(rows)) == readme
    assert render.OUT.read_text() == render.render(rows)


def test_the_summary_sets_our_figures_beside_the_best_alternatives():
    text = {k: str(v) for k, v in ROW.items()} | {"diffusion_scale": "1", "choice": ""}
    other = {**text, "n_eta": ""}
    rows = [
        text,
        {**text, "seed": "1", "status": "diverged", "nrmse_mean": ""},
        {**other, "method": "mean", "nrmse_mean": "0.2"},
        {**other, "method": "nearest", "nrmse_mean": "0.1"},
        {**other, "method": "dns-coarse", "nrmse_mean": "", "status": "blows up"},
        {**other, "method": "nearest", "split": "hard", "nrmse_mean": "0.01"},
    ]
    last = render.summary(rows).splitlines()[-1]
    assert last == (
        "| Korteweg–de Vries, published | 5 | 20 | 3.21 ± 0.40; 1 of 2: diverged | "
        "0.91 (0.88–0.93) | 5.8 | 10.0 |  |  |"
    )


def test_the_summary_has_the_fewest_and_the_most_microscale_states():
    text = {k: str(v) for k, v in ROW.items()} | {"diffusion_scale": "1", "choice": ""}
    rows = [{**text, "n_eta": n} for n in ("5", "0", "3", "1")]
    rows += [{**text, "split": "hard", "n_eta": "0"}, {**text, "case": "burgers1d", "n_eta": "2"}]
    lines = render.summary(rows).splitlines()[2:]
    assert [line.split(" | ")[:2] for line in lines] == [
        ["| Korteweg–de Vries, published", "0"],
        ["| Korteweg–de Vries, published", "5"],
        ["| Korteweg–de Vries, hard", "0"],
        ["| Burgers, one dimension, published", "2"],
    ]


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="put <!-- made by"):
        render.with_summary("nothing", "a table")
