"""Pictures of fields with a reference, gaps and a mask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from named_fields import TIMES, draw, image, land, line, sea_data, sea_fit, untrained_fit
from numpy.testing import assert_allclose, assert_array_equal

from pyro_msde import plot
from pyro_msde.data import Reference
from pyro_msde.plot.encoded import Encoded

R = 280.0 + np.random.default_rng(2).normal(size=(3, 1, 30))  # a mean, a cosine and a sine


def with_reference(coefficients, period=None):
    fit = untrained_fit()
    return replace(fit, scaling=replace(fit.scaling, reference=Reference(coefficients, period)))


@pytest.mark.parametrize("shape", ["channel", "point"])
def test_parts_of_fields_have_the_reference_back(case, shape):
    """Anomalies in float64 are the same but for 280's rounding; states are float32."""
    fit, truth, _ = case
    r = R[:1] if shape == "point" else np.full((1, 1, 1), 280.0)
    y = truth.values[0][:2].astype(np.float64)
    plain, high = Encoded.of(fit, y), Encoded.of(with_reference(r), y + r[0])
    for name in ("field", "macro", "total"):
        found, expected = (getattr(e.scales(), name) for e in (high, plain))
        assert_allclose(found, expected + r[0], rtol=0, atol=1e-4)
    coarse = plain.model.grid.unflatten(plain.z[:, : plain.model.grid.num_zeta])
    at = r[0] if shape == "channel" else r[0][..., plain.model.grid.coarse_index[0]]
    found = high.in_units(high.model.grid.unflatten(high.z[:, : high.model.grid.num_zeta]))
    assert_allclose(found, plain.in_units(coarse).numpy() + at, rtol=0, atol=1e-4)


def test_pictures_of_a_snapshot_ask_for_its_time_where_there_is_a_cycle(case):
    _, truth, _ = case
    fit = with_reference(R, period=0.8)
    y, t = truth.values[0][:3], TIMES[:3]
    r = fit.reference_at(t)
    shifted = y + r
    for picture, given in (
        (plot.scale_separation, (shifted[1], t[1])),
        (plot.scale_operators, (shifted[1], t[1])),
        (plot.power_spectra, (shifted, t)),
        (plot.drift_sensitivity, (shifted, t)),
    ):
        options = {"half_width": 1} if picture is plot.drift_sensitivity else {}
        with pytest.raises(ValueError, match="times: the fit's reference is a mean cycle"):
            picture(fit, given[0], **options)
        with pytest.raises(ValueError, match=r"times: shape \(4,\) for"):
            picture(fit, given[0], times=np.arange(4.0), **options)
        draw(picture(fit, given[0], times=given[1], **options))
    axes = plot.scale_separation(fit, shifted[1], times=t[1])
    plain = plot.scale_separation(untrained_fit(), y[1])
    assert_allclose(line(axes[0], "sum"), line(plain[0], "sum") + r[1], rtol=0, atol=1e-4)
    micro = r"$\Sigma_y S_\eta D(\eta)$"
    assert_allclose(line(axes[1], micro), line(plain[1], micro), rtol=0, atol=1e-4)
    draw(plot.scale_images(fit, shifted, t))


def test_land_and_clouds_are_left_out_of_pictures():
    fit, test = sea_fit(Reference(np.full((1, 1, 1, 1), 285.0))), sea_data(285.0)
    y = test.values[0][:3]
    axes = plot.scale_images(fit, y, test.times[0][:3], data=test)
    draw(axes)
    for row, gaps in ((0, np.isnan(y)), (1, np.broadcast_to(~land(), y.shape))):
        for ax, gap in zip(axes[row], gaps, strict=True):
            assert_array_equal(np.ma.getmaskarray(image(ax)) | np.isnan(image(ax)), gap)
            values = np.ma.masked_invalid(image(ax)).compressed()
            assert np.abs(values - 285).max() < 10
    fc = fit.forecast(test, num_samples=4)
    draw(plot.forecast_images(fc, test))
    draw(plot.coverage_by_lead(fc, test, bins=2))
    with pytest.raises(ValueError, match="fit: its grid has a mask, and fields with holes"):
        plot.power_spectra(fit, y, data=test)


def test_fields_with_gaps_have_no_spectrum(case):
    fit, truth, _ = case
    fit = replace(fit, metadata=replace(sea_fit().metadata, dims=None, units={}))
    y = truth.values[0][0].copy()
    y[3] = np.nan
    with pytest.raises(ValueError, match="y: has gaps, and fields with gaps have no power"):
        plot.power_spectra(fit, y)
