from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from pyro_msde.runs.registry import build, check_size, limited, rebuild, register


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
    register("a case of mine")(dict)
    message = r"^'kvd' is not a registered case; known: .*\ba case of mine\b.*\bkdv\b.*\.$"
    with pytest.raises(ValueError, match=message):
        build("kvd")
    with pytest.raises(ValueError, match=message):
        rebuild({"case": "kvd", "width": 5})


def test_the_packages_own_are_found_and_the_users_stay():
    """In a process that has imported neither; `load` is the one to ask."""
    code = """
        import sys
        from pyro_msde.runs.registry import build, register
        assert not any(m.startswith(("pyro_msde.models", "pyro_msde.guides")) for m in sys.modules)
        register("ks")(lambda: "mine")
        model = build("gle", 1, num_points=5)
        assert type(build("AmortizedGP", model)).__name__ == "AmortizedGP"
        assert build("ks") == "mine"
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr


def test_factories_refuse_what_is_too_large():
    with limited(10):
        check_size("grid", 10)
        with pytest.raises(ValueError, match="grid: takes 11 numbers, and at most 10 can be right"):
            check_size("grid", 11)
    check_size("grid", 11)
    with pytest.raises(ValueError, match=r"grid: takes 1,000"):
        check_size("grid", 10**30)
