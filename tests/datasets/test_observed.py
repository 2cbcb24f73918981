"""Fields that other packages bring: they are what the docstrings say, and nothing is imported."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import pytest

from pyro_msde.datasets import observed


def _has(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


eofs = pytest.mark.skipif(not _has("eofs"), reason="eofs is not installed")
iris = pytest.mark.skipif(not _has("iris-sample-data"), reason="iris-sample-data is not installed")


@pytest.mark.parametrize(
    ("name", "field", "sizes", "missing", "first", "last"),
    [
        pytest.param("sst", "sst", (50, 18, 30), 1 / 6, 1963, 2012, marks=eofs),
        pytest.param("hgt", "z", (65, 1, 29, 49), 0.0, 1948, 2012, marks=eofs),
        pytest.param("ostia", "surface_temperature", (54, 18, 432), 0.2643, 2006, 2010, marks=iris),
        pytest.param("a1b", "air_temperature", (240, 37, 49), 0.0, 1860, 2099, marks=iris),
        pytest.param("e1", "air_temperature", (240, 37, 49), 0.0, 1860, 2099, marks=iris),
    ],
)
def test_a_field_has_its_sizes_dates_and_missing_points(name, field, sizes, missing, first, last):
    values = getattr(observed, name)()[field]
    assert values.shape == sizes
    assert float(values.isnull().mean()) == pytest.approx(missing, abs=5e-5)
    years = values["time"].dt.year.values
    assert (years[0], years[-1]) == (first, last)
    always = values.isnull().values
    assert (always == always[:1]).all()  # land


@iris
def test_the_scenarios_part_in_the_year_2000():
    a1b, e1 = (getattr(observed, name)()["air_temperature"] for name in ("a1b", "e1"))
    apart = np.abs(a1b.values - e1.values).max((1, 2)) > 0
    years = a1b["time"].dt.year.values
    assert years[apart].min() == 2000
    assert apart[years >= 2000].all()
    assert float((a1b - e1)[-30:].mean()) > 1  # kelvin


@eofs
@iris
def test_nothing_of_the_packages_is_imported():
    code = """
import sys
from pyro_msde.datasets import observed
observed.hgt(), observed.ostia()
print([m for m in sys.modules if m.split(".")[0] in ("eofs", "iris", "iris_sample_data")])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (run.stdout.strip(), run.returncode) == ("[]", 0), run.stderr


def test_what_is_not_installed_is_named_with_the_extra(monkeypatch):
    def nothing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(observed, "distribution", nothing)
    with pytest.raises(ModuleNotFoundError, match=r"eofs is not installed.*pyro-msde\[observed\]"):
        observed.sst()
