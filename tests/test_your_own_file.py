"""docs/your-own-file.md: its code, block after block, at small size."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import pyro_msde
from pyro_msde.datasets import observed

PAGE = Path(__file__).parent.parent / "docs" / "your-own-file.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
MOST_LINES = 12  # from file to table


@pytest.fixture
def small(monkeypatch):
    """Two steps of training, forecasts of two paths in long steps, a quarter of the points."""
    fit, predict, sst = pyro_msde.fit, pyro_msde.Fit.predict, observed.sst
    brief = {"num_samples": 2, "num_theta": 1, "max_step": 60.0}
    monkeypatch.setattr(pyro_msde, "fit", lambda *a, **k: fit(*a, **{**k, "steps": 2}))
    monkeypatch.setattr(
        pyro_msde.Fit, "predict", lambda self, *a, **k: predict(self, *a, **{**k, **brief})
    )
    monkeypatch.setattr(
        observed, "sst", lambda: sst().isel(latitude=slice(1, 18, 2), longitude=slice(0, 30, 2))
    )


@pytest.mark.slow
def test_the_page_makes_a_forecast_in_a_file_of_a_file(small, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in BLOCKS:
        exec(block, names)
    with xr.open_dataset(tmp_path / "forecast.nc") as out, xr.open_dataset("sst.nc") as ds:
        assert out.sst_mean.dims == ("time", "latitude", "longitude")
        assert [str(t)[:10] for t in out.time.values] == names["winters"]
        np.testing.assert_array_equal(out.latitude, ds.latitude)
        land = np.isnan(ds.sst).all("time")
        np.testing.assert_array_equal(np.isnan(out.sst_mean).all("time"), land)
        assert (np.diff(out.sst_quantile, axis=0)[..., ~land.values] > 0).all()
    assert "linear inverse model" in capsys.readouterr().out


def test_a_dozen_lines_lead_from_file_to_table():
    whole = next(block for block in BLOCKS if "open_dataset" in block)
    assert sum(bool(line) for line in whole.splitlines()) <= MOST_LINES
    assert "compare" in whole
