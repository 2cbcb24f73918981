"""The picture of power spectra."""

from __future__ import annotations

import numpy as np
import pytest
from named_fields import X, draw, line, untrained_fit

from pyro_msde import plot


def test_the_picture_has_the_coarse_nyquist_line_and_units(case):
    fit, truth, _ = case
    y = np.sin(2 * np.pi * 4 * (X - X[0]) / 6).astype(np.float32)  # 4 waves on 6 km
    ax = plot.power_spectra(fit, np.stack([y, -2 * y]), data=truth)
    drawn = next(x for x in ax.lines if x.get_label() == "$y$")
    assert drawn.get_xdata()[np.argmax(drawn.get_ydata())] == pytest.approx(4 / 6)
    assert drawn.get_ydata().max() / 6 == pytest.approx(0.5 * (1 + 4) / 2, rel=1e-5)  # float32
    assert np.allclose(ax.lines[3].get_xdata(), 1 / (2 * 1.2))  # coarse points 1.2 km apart
    assert [x.get_label() for x in ax.lines] == [
        "$y$",
        r"$T_p\zeta$",
        r"$T_p\zeta + \Sigma_y S_\eta D(\eta)$",
        "coarse Nyquist",
    ]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("wavenumber (1/km)", "power (m² km)")
    draw(ax)


def test_the_picture_of_two_axes_has_a_line_for_each(plane):
    fit, truth, _ = plane
    ax = plot.power_spectra(fit, truth.values[0], data=truth, channel=1)
    lines = [x.get_xdata()[0] for x in ax.lines[3:]]
    assert np.allclose(lines, [1 / (2 * 6 * 0.25), 1 / (2 * 3 * 0.2)])
    draw(ax)


def test_a_closure_has_no_reconstruction_and_uneven_points_no_spectrum(case):
    _, truth, _ = case
    ax = plot.power_spectra(untrained_fit(0), truth.values[0])
    assert [x.get_label() for x in ax.lines] == ["$y$", r"$T_p\zeta$", "coarse Nyquist"]
    assert np.all(line(ax, "$y$") > 0)
    crooked = truth[0]
    crooked.coords = {"s": X**2}
    with pytest.raises(ValueError, match="points along s are not evenly spaced"):
        plot.power_spectra(untrained_fit(0), truth.values[0], data=crooked)
