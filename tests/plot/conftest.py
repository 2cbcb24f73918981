"""A forecast to draw; matplotlib without a display, and left as it was."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
import pytest
from named_fields import TIMES, named_data, plane_data, plane_fit, untrained_fit
from watched_calls import watch

from pyro_msde import Fit, Forecast, Trajectories

mpl.use("Agg")
import matplotlib.pyplot as plt

import pyro_msde.plot

watch(pyro_msde.plot)


@pytest.fixture(autouse=True)
def _closed_and_unchanged() -> Iterator[None]:
    """Settings of matplotlib are as before, and figures do not pile up."""
    before = dict(mpl.rcParams)
    yield
    after = dict(mpl.rcParams)
    plt.close("all")
    assert after == before


@pytest.fixture(scope="session")
def case() -> tuple[Fit, Trajectories, Forecast]:
    """Fit, three trajectories, their forecast."""
    fit, truth = untrained_fit(), named_data()
    y0 = np.stack([v[0] for v in truth.values])
    return fit, truth, fit.predict(y0, TIMES, num_samples=6)


@pytest.fixture(scope="session")
def plane() -> tuple[Fit, Trajectories, Forecast]:
    """Fit of two channels on two axes of space, one trajectory, its forecast."""
    fit, truth = plane_fit(), plane_data()
    return fit, truth, fit.predict(truth.values[0][0], truth.times[0], num_samples=3)
