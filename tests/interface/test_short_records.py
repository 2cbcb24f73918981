"""Records that are too short for the recipe's segments are learned from in shorter ones."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from problems import tiny_data, tiny_fields, tiny_pair

from pyro_msde import Recipe, Trajectories, fit
from pyro_msde.data import segment_sizes
from pyro_msde.datasets.burgers1d import BURGERS1D
from pyro_msde.datasets.burgers2d import BURGERS2D
from pyro_msde.datasets.kdv import KDV
from pyro_msde.datasets.ks import KS

FEW = {"steps": 2, "num_nodes": 8, "progress": False, "jackknife": False, "warm_start": False}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "split"),
    [(c, s) for c in (KDV, BURGERS1D, BURGERS2D) for s in ("published", "hard")],
)
def test_published_and_hard_cases_have_the_recipes_segments(case, split):
    assert segment_sizes(case.fresh(split, 2, 1, 1.0), 64, 4)[:2] == (64, 4)


@pytest.mark.slow
def test_chaos_too():
    """Of 201 snapshots, of which the recipe's segments would take 253."""
    assert segment_sizes(KS.fresh("published", 2, 1, 50.0), 64, 4)[:2] == (64, 1)


def learned(data, **options):
    return fit(*tiny_pair(0), data, **(FEW | options)).training.recipe


@pytest.mark.parametrize(("count", "length"), [(8, 4), (9, 5), (23, 12), (60, 30)])
def test_few_snapshots_are_enough(count, length, caplog):
    """From 8 on, in segments of half as many intervals, of which one line tells."""
    with caplog.at_level(logging.INFO, "pyro_msde"):
        recipe = learned(tiny_data((count, 70)))
    assert (recipe.length, recipe.stride) == (length, 1)
    (line,) = [r.getMessage() for r in caplog.records if "egments" in r.getMessage()]
    assert f"{length} observations, every snapshot" in line
    assert f"{count} or more" in line


def test_the_recipes_segments_are_kept_where_they_fit():
    times = 0.001 * np.arange(253)
    data = Trajectories(times, tiny_fields(times, np.random.default_rng(3))[None])
    recipe = learned(data)
    assert (recipe.length, recipe.stride) == (64, 4)
    recipe = learned(data, recipe="published")
    assert (recipe.length, recipe.stride) == (128, 1)
    recipe = learned(data, stride=2)
    assert (recipe.length, recipe.stride) == (64, 2)


@pytest.mark.parametrize(
    "options",
    [
        {"length": 30},
        {"length": 15, "stride": 2},
        {"recipe": Recipe(length=30)},
        {"recipe": Recipe(length=15, stride=2)},
        {"stride": 23},
    ],
)
def test_segments_that_were_asked_for_and_do_not_fit_are_refused(options):
    with pytest.raises(ValueError, match="trajectory 0 has 23 observations; a segment of"):
        learned(tiny_data((23,)), **options)


def test_a_recipe_of_ones_own_is_shortened_in_what_it_leaves_as_it_was():
    recipe = learned(tiny_data((23,)), recipe=Recipe(learning_rate=1e-3))
    assert (recipe.length, recipe.stride, recipe.learning_rate) == (12, 1, 1e-3)
    recipe = learned(tiny_data((23,)), recipe=Recipe(stride=3))
    assert (recipe.length, recipe.stride) == (4, 3)


def test_a_short_run_goes_on_from_its_checkpoint(tmp_path):
    data = tiny_data((23, 19))
    options = {"checkpoint": tmp_path / "run", "validation": data.cut(7, 5)}
    first = fit(*tiny_pair(0), data, **(FEW | options))
    again = fit(*tiny_pair(0), data, **(FEW | options))
    assert again.training.recipe == first.training.recipe
    assert again.steps == first.steps == 2
