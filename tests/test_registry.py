from __future__ import annotations

import pytest

from pyro_msde import registry
from pyro_msde.registry import build, rebuild, register


@pytest.fixture(autouse=True)
def factories(monkeypatch):
    """An empty registry for each test."""
    monkeypatch.setattr(registry, "_FACTORIES", {})


def test_what_is_registered_is_built_with_the_arguments():
    @register("pair")
    def pair(*args, **config):
        return args, config

    assert pair(1) == ((1,), {})  # the decorator leaves the function as it is
    assert build("pair", 2, 3, width=5) == ((2, 3), {"width": 5})


def test_rebuild_reads_the_name_from_the_config_and_leaves_it_whole():
    register("pair")(lambda *args, **config: (args, config))
    config = {"case": "pair", "width": 5, "rank": 7}
    assert rebuild(config, 2) == ((2,), {"width": 5, "rank": 7})
    assert config == {"case": "pair", "width": 5, "rank": 7}


def test_the_last_to_register_a_name_wins():
    register("case")(lambda: "first")
    register("case")(lambda: "second")
    assert build("case") == "second"


def test_an_unknown_case_lists_the_known_ones():
    register("kdv")(dict)
    register("burgers")(dict)
    message = r"^'kvd' is not a registered case; known: burgers, kdv\.$"
    with pytest.raises(ValueError, match=message):
        build("kvd")
    with pytest.raises(ValueError, match=message):
        rebuild({"case": "kvd", "width": 5})


def test_an_empty_registry_says_what_to_import():
    with pytest.raises(ValueError, match=r"known: none \(import pyro_msde\.models first\)"):
        build("kdv")
