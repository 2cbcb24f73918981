"""Fields are decoded once, a chunk at a time, and of their draws only probes are kept."""

from __future__ import annotations

import numpy as np
import pytest
from named_fields import plane_data, plane_fit

from pyro_msde.forecasts import Mixture
from pyro_msde.forecasts import posterior_predictive as forecasting
from pyro_msde.io.arviz import likelihood, to_arviz

POINTS = 2 * 12 * 18  # of two channels
SAMPLES, TIMES = 6, 5
CHUNK = 2 * SAMPLES * POINTS  # two times


@pytest.fixture
def decoded(monkeypatch):
    """Sizes of what is decoded, by who asks for it; the guide's likelihood is in one segment."""
    sizes: dict[str, list[int]] = {"forecast": [], "guide": []}
    for name, module in (("forecast", forecasting), ("guide", likelihood)):
        monkeypatch.setattr(module, "_CHUNK", CHUNK)

        def watched(where, laws, *rest, own=sizes[name]):
            own.append(sum(law.mean.numel() for law in laws))
            return Mixture(where, laws, *rest)

        monkeypatch.setattr(module, "Mixture", watched)
    return sizes


def test_each_field_is_decoded_once_and_few_at_a_time(decoded):
    idata = to_arviz(plane_fit(), plane_data(), num_samples=SAMPLES, probes={"a": [1.4]})
    assert max(decoded["forecast"] + decoded["guide"]) <= CHUNK
    assert sum(decoded["forecast"]) == SAMPLES * TIMES * POINTS
    assert sum(decoded["guide"]) == SAMPLES * TIMES * POINTS
    # with draws, what is kept is at one of 12 and three of 18 points; moments have no draws
    for group in ("posterior_predictive", "log_likelihood"):
        for values in idata[group].data_vars.values():
            full = {"a", "b"} & set(values.dims)
            assert not full or "draw" not in values.dims
    assert idata.posterior_predictive["w"].shape == (1, SAMPLES, 1, TIMES, 2, 1, 3)


def test_without_likelihoods_the_guide_decodes_nothing(decoded):
    fit = plane_fit()
    idata = to_arviz(fit, plane_data(), num_samples=SAMPLES, log_likelihood=False, horizon=4.9)
    count = idata.posterior_predictive.sizes["time"] + idata.predictions.sizes["time"]
    assert sum(decoded["forecast"]) == SAMPLES * count * POINTS
    assert not decoded["guide"]


def test_chunks_change_nothing(monkeypatch):
    fit, options = plane_fit(), {"num_samples": SAMPLES, "horizon": 4.9}
    whole = to_arviz(fit, plane_data(), **options)
    monkeypatch.setattr(forecasting, "_CHUNK", 1)
    parts = to_arviz(fit, plane_data(), **options)
    for group in ("posterior_predictive", "predictions"):
        for name in whole[group].data_vars:
            if name != "w":  # whose noise is drawn by chunks
                found, expected = parts[group][name].values, whole[group][name].values
                assert np.allclose(found, expected, rtol=1e-5, atol=1e-6), name  # float32
    same = [x.log_likelihood["w_forecast"].values for x in (whole, parts)]
    assert np.allclose(*same, rtol=1e-5, atol=0)
