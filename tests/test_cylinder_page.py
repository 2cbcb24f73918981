"""docs/cylinder.md: its code, at small size."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import pyro_msde

PAGE = Path(__file__).parent.parent / "docs" / "cylinder.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def waves() -> xr.Dataset:
    """Six runs of waves that travel along a channel, faster the larger re is, around a body."""
    x, y = (np.arange(24) + 0.5) / 8, (np.arange(12) + 0.5) / 12
    t, re_ = 0.05 * np.arange(40), np.linspace(80.0, 200.0, 6)
    phase = 2 * np.pi * (x[:, None] - (1 + re_[:, None, None, None] / 400) * t[:, None, None])
    rise = 1 - np.exp(-x[:, None])
    u = 1 + 0.2 * rise * np.cos(phase) * np.cos(2 * np.pi * y)
    v = 0.2 * rise * np.sin(phase) * np.sin(np.pi * y)
    body = np.hypot(x[:, None] - 0.5, y - 0.5) < 0.15
    fields = {
        name: (("run", "time", "x", "y"), np.where(body, np.nan, w))
        for name, w in zip("uv", (u, v), strict=True)
    }
    return xr.Dataset({**fields, "re": ("run", re_)}, {"time": t, "x": x, "y": y})


@pytest.mark.slow
def test_its_code_trains_on_runs_past_a_body(tmp_path, monkeypatch, capsys):
    fit, predict = pyro_msde.fit, pyro_msde.Fit.predict
    brief = {"num_samples": 4, "num_theta": 2, "max_step": 0.05}
    monkeypatch.setattr(pyro_msde, "fit", lambda *a, **k: fit(*a, **{**k, "steps": 20}))
    monkeypatch.setattr(
        pyro_msde.Fit, "predict", lambda self, *a, **k: predict(self, *a, **{**k, **brief})
    )
    monkeypatch.chdir(tmp_path)
    waves().to_netcdf("flows.nc", engine="h5netcdf")
    names: dict[str, object] = {}
    (block,) = BLOCKS
    exec(block, names)
    grid = names["model"].grid
    assert grid.channels == 2
    assert grid.data_shape == (24, 12)
    assert not grid.mask.all()
    assert "climatology" in capsys.readouterr().out
    assert np.isfinite(names["table"]["skill"].sel(channel="v")).all()
