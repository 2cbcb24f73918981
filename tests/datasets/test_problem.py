"""Problems of several fields, of one trajectory cut in time, and with covariates by design."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from pyro_msde.datasets.cylinder import CYLINDER, X, Y
from pyro_msde.datasets.problem import Problem


def solve(initial, covariates, num_steps, dt, rng):
    """A phase that advances, as two fields on three points, the last of which is solid."""
    rate = covariates[0] if covariates else 1.0
    phase = initial + rate * dt * np.arange(num_steps + 1)[:, None] + [0.0, 0.1, np.nan]
    return np.stack([np.cos(phase), np.sin(phase)], 1)


PROBLEM = Problem(
    name="phase",
    parts={
        "cut": {"train": (1, 1.5)},
        "rates": {"train": (2, 1.0), "validation": (1, 1.0), "test": (1, 1.0)},
    },
    draw={
        "cut": lambda rng: (rng.uniform(), ()),
        "rates": lambda rng: (rng.uniform(), (rng.uniform(7, 8),)),
    },
    solve=solve,
    coords={"x": np.arange(3.0)},
    dt=0.1,
    dt_at={"rates": 0.25},
    noise_sd=0.0,
    covariates={"rates": ("rate",)},
    designed={"rates": {"train": [(1.0,), (3.0,)], "validation": [(2.0,)]}},
    cuts={"cut": (1.0, 1.2)},
    variables=("u", "v"),
    keep_clean=False,
    driven=True,
)


def test_one_trajectory_is_cut_in_time(tmp_path):
    parts = PROBLEM.splits("cut", directory=tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["phase_cut_seed0.nc"]
    for part, first, last in zip(parts, (0, 11, 13), (10, 12, 15), strict=True):
        np.testing.assert_allclose(part.times[0], np.arange(first, last + 1) * 0.1)
        assert part.channel_names == ("u", "v")
        u, v = part.values[0][:, 0, 0], part.values[0][:, 1, 0]
        phase = np.unwrap(np.arctan2(v, u))
        np.testing.assert_allclose(np.diff(phase), 0.1, rtol=1e-5)
        assert np.isnan(part.values[0][..., 2]).all()
        assert np.isfinite(part.values[0][..., :2]).all()
    again = PROBLEM.splits("cut")
    np.testing.assert_array_equal(again.test.values[0], parts.test.values[0])


def test_covariates_by_design_then_drawn():
    parts = PROBLEM.splits("rates")
    assert [t.covariates.tolist() for t in parts[:2]] == [[[1.0], [3.0]], [[2.0]]]
    assert 7 <= parts.test.covariates[0, 0] <= 8
    assert 7 <= PROBLEM.fresh("rates", 1, 0, 1.0).covariates[0, 0] <= 8
    np.testing.assert_allclose(parts.train.times[0], np.arange(5) * 0.25)
    u, v = parts.train.values[1][:, 0, 1], parts.train.values[1][:, 1, 1]
    np.testing.assert_allclose(np.diff(np.unwrap(np.arctan2(v, u))), 0.75, rtol=1e-5)


def test_the_files_say_what_they_hold(tmp_path):
    PROBLEM.splits("rates", directory=tmp_path)
    with xr.open_dataset(tmp_path / "phase_rates_train_seed0.nc") as ds:
        assert ds["u"].dims == ds["v"].dims == ("trajectory", "time", "x")
        assert ds["u"].attrs["long_name"] == "u"
        assert ds.attrs["dt"] == 0.25


def test_the_cylinder_is_sampled_as_published_and_its_reynolds_numbers_lie_in_between():
    np.testing.assert_allclose(np.diff(X), 0.0125)
    np.testing.assert_allclose(np.diff(Y), 0.0125)
    assert (X[0], X[-1], Y[0], Y[-1]) == pytest.approx((-0.49375, 3.49375, -0.49375, 0.49375))
    designed = CYLINDER.designed["hard"]
    train = [re for (re,) in designed["train"]]
    assert (len(train), train[0], train[-1]) == (8, 80.0, 200.0)
    others = {re for part in ("validation", "test") for (re,) in designed[part]}
    assert len(others) == 5
    gaps = np.searchsorted(train, sorted(others))
    assert len(set(gaps)) == 5  # no two between the same neighbours, none outside
    assert 0 < gaps.min()
    assert gaps.max() < 8
    snapshots = sum(n * (round(t / 0.025) + 1) for n, t in CYLINDER.parts["hard"].values())
    assert snapshots * 2 * 320 * 80 * 4 < 1e9  # bytes
