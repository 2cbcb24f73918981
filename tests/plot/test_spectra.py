"""Spectra of waves of known wavenumber and power, and the picture of them."""

from __future__ import annotations

import numpy as np
import pytest
from named_fields import X, draw, line, untrained_fit

from pyro_msde import plot
from pyro_msde.plot.spectra import shell_spectrum

N, DX, SIZE = 48, 0.25, 1.6  # points, spacing, amplitude of a wave
J = np.arange(N)


@pytest.mark.parametrize(
    ("boundary", "wave", "k", "step"),
    [
        ("periodic", np.sin(2 * np.pi * 5 * J / N + 0.3), 5 / (N * DX), 1 / (N * DX)),
        ("replicate", np.sin(2 * np.pi * 5 * J / N + 0.3), 5 / (N * DX), 1 / (N * DX)),
        ("neumann", np.cos(np.pi * 7 * (J + 0.5) / N), 3.5 / (N * DX), 0.5 / (N * DX)),
        ("dirichlet", np.sin(np.pi * 7 * (J + 1) / (N + 1)), 3.5 / ((N + 1) * DX),
         0.5 / ((N + 1) * DX)),
    ],
)  # fmt: skip
def test_a_wave_has_its_power_at_its_wavenumber(boundary, wave, k, step):
    at, power = shell_spectrum(SIZE * wave, [boundary], [DX])
    assert at[power.argmax()] == pytest.approx(k, rel=1e-12)
    assert np.allclose(np.diff(at), step, rtol=1e-9, atol=0)
    inside = power.sum() if boundary == "replicate" else power.max()  # a window spreads it
    mean_square = SIZE**2 * np.square(wave).mean()
    assert inside * step == pytest.approx(mean_square, rel=1e-12)  # rounding


@pytest.mark.parametrize("boundary", ["periodic", "neumann", "dirichlet"])
def test_the_integral_is_the_mean_square(boundary):
    fields = np.random.default_rng(3).normal(size=(4, 3, N))
    at, power = shell_spectrum(fields, [boundary], [DX])
    constant = 0.0 if boundary == "dirichlet" else np.square(fields.mean(-1)).mean()
    total = np.square(fields).mean() - constant
    assert len(at) == {"periodic": N // 2, "neumann": N - 1, "dirichlet": N}[boundary]
    assert power.sum() * at[0] == pytest.approx(total, rel=1e-12)


def test_a_wave_on_a_plane_is_in_the_shell_of_its_length():
    x, y = np.arange(40) * 0.1, np.arange(30) * 0.2
    wave = np.cos(2 * np.pi * (2 / 4 * x[:, None] + 5 / 6 * y))  # on [0, 4) × [0, 6)
    at, power = shell_spectrum(wave, ["periodic"] * 2, [0.1, 0.2])
    shell = np.hypot(2 / 4, 5 / 6)
    assert abs(at[power.argmax()] - shell) <= 0.5 * at[0]
    assert power.max() * at[0] == pytest.approx(0.5, rel=1e-12)
    assert at[-1] == pytest.approx(2.5)  # the coarser axis's 1/(2 · 0.2)


def test_arguments_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"fields: shape \(5,\) for 2 boundaries"):
        shell_spectrum(np.ones(5), ["periodic"] * 2, [1.0, 1.0])


def test_the_picture_has_the_coarse_nyquist_line_and_units(case):
    fit, truth, _ = case
    y = np.sin(2 * np.pi * 4 * (X - X[0]) / 6).astype(np.float32)  # 4 waves on 6 km
    ax = plot.power_spectra(fit, np.stack([y, -2 * y]), data=truth)
    drawn = next(x for x in ax.lines if x.get_label() == "$y$")
    assert drawn.get_xdata()[np.argmax(drawn.get_ydata())] == pytest.approx(4 / 6)
    assert drawn.get_ydata().max() / 6 == pytest.approx(0.5 * (1 + 4) / 2, rel=1e-5)  # float32
    assert np.allclose(ax.lines[3].get_xdata(), 1 / (2 * 1.2))  # coarse points 1.2 km apart
    assert [x.get_label() for x in ax.lines] == [
        "$y$", r"$T_p\zeta$", r"$T_p\zeta + \Sigma_y S_\eta D(\eta)$", "coarse Nyquist",
    ]  # fmt: skip
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
