"""Descriptions of earlier formats get today's names, in what a run resumes by as well."""

from __future__ import annotations

from pyro_msde.runs.migrations import FORMAT, migrated


def test_names_of_format_3_become_todays_wherever_they_stand():
    recipe = {"windows": "fixed", "spread": 2.0, "score_every": None, "length": 5}
    old = {
        "format": 3,
        "model": {"case": "multiscale", "recipe": "default", "num_parameters": 1},
        "scaling": {"time": 1.0, "parameters": [2.0]},
        "metadata": None,
        "recipe": recipe,
        "identity": {
            "recipe": recipe,
            "options": {"model.recipe": "default", "model.num_parameters": 1, "dtype": "float32"},
        },
    }
    run = migrated(old)
    assert run["format"] == FORMAT
    assert run["model"] == {"case": "multiscale", "architecture": "default", "num_covariates": 1}
    assert run["scaling"] == {"time": 1.0, "covariates": [2.0]}
    assert run["recipe"] == {"segment_starts": "fixed", "tube_width": 2.0, "length": 5}
    assert run["identity"]["recipe"] == run["recipe"]
    options = {"model.architecture": "default", "model.num_covariates": 1, "dtype": "float32"}
    assert run["identity"]["options"] == options
    assert recipe["windows"] == "fixed"  # what was read is left as it was


def test_a_damaged_part_is_left_for_the_schema_to_name():
    assert migrated({"format": 3, "recipe": [], "identity": 3, "model": None})["recipe"] == []
