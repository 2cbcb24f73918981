"""The paper's figures of a case with two channels and a solid body, from runs that were kept."""

from __future__ import annotations

from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest

from benchmarks import figures
from pyro_msde import Fit, Grid, Trajectories
from pyro_msde.data import Metadata, Scaling
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale


def wake() -> Trajectories:
    """Two velocities on 32 × 8 points around a body, at seven times."""
    x, y = (np.arange(32) + 0.5) / 8 - 0.5, (np.arange(8) + 0.5) / 8 - 0.5
    times = 14 + 0.05 * np.arange(7)
    phase = 2 * np.pi * (x - times[:, None])[..., None]
    values = np.stack(np.broadcast_arrays(1 - np.cos(phase) * y, np.sin(phase) * np.exp(-(y**2))))
    values = values.transpose(1, 0, 2, 3).astype(np.float32)
    values[:, :, np.hypot(x[:, None], y) < 0.1] = np.nan
    return Trajectories(
        times,
        values[None],
        channel_names=["u", "v"],
        dims=("channel", "x", "y"),
        coords={"x": x, "y": y},
        missing="mask",
    )


@pytest.mark.slow
def test_a_case_of_two_channels_has_figures_for_each(tmp_path, monkeypatch):
    mpl.use("Agg")
    pytest.importorskip("imageio_ffmpeg")
    data = wake()
    mask = np.isfinite(data.values[0][0])
    grid = Grid((32, 8), (8, 4), channels=2, boundary="neumann", mask=mask)
    for n_eta in (0, 2):
        model = multiscale(grid, n_eta=n_eta, width=8, components=3, half_width=1)
        scaling, metadata = Scaling((1.0, 1.0), 80.0), Metadata.of(data)
        fit = Fit(model, AmortizedGP(model), scaling, has_channel=True, metadata=metadata)
        fit.save(tmp_path / "runs" / f"cylinder-{n_eta}")
    problem = SimpleNamespace(splits=lambda split, directory: SimpleNamespace(test=data))
    setting = {"published": SimpleNamespace(problem=problem)}
    monkeypatch.setitem(figures.SETTINGS, "cylinder", setting)
    runs = {"implicit scale": "cylinder-0", "multiscale": "cylinder-2"}
    monkeypatch.setitem(figures.CASES, "cylinder", figures.Case(runs, 7))
    figures.draw("cylinder", tmp_path / "runs", tmp_path / "out")
    names = ("scales", "forecast", "sensitivity", "kernel", "operators")
    expected = {f"{run}-{name}-{c}.png" for run in runs.values() for name in names for c in "uv"}
    expected |= {f"{run}-latent.png" for run in runs.values()}
    expected |= {f"cylinder-comparison-{c}.png" for c in "uv"}
    kinds = ("gif", "mp4")
    expected |= {f"{run}-forecast-{c}.{k}" for run in runs.values() for c in "uv" for k in kinds}
    assert {file.name for file in (tmp_path / "out").iterdir()} == expected
