"""Spectra of waves of known wavenumber and power."""

from __future__ import annotations

import numpy as np
import pytest

from pyro_msde.grid import Grid
from pyro_msde.scores.spectra import band_power, shell_spectrum

N, DX, SIZE = 48, 0.25, 1.6  # points, spacing, amplitude of a wave
J = np.arange(N)


@pytest.mark.parametrize(
    ("boundary", "wave", "k", "step"),
    [
        ("periodic", np.sin(2 * np.pi * 5 * J / N + 0.3), 5 / (N * DX), 1 / (N * DX)),
        ("replicate", np.sin(2 * np.pi * 5 * J / N + 0.3), 5 / (N * DX), 1 / (N * DX)),
        ("neumann", np.cos(np.pi * 7 * (J + 0.5) / N), 3.5 / (N * DX), 0.5 / (N * DX)),
        ("antisymmetric", np.sin(np.pi * 7 * (J + 0.5) / N), 3.5 / (N * DX), 0.5 / (N * DX)),
        ("antisymmetric", (-1.0) ** J, 0.5 / DX, 0.5 / (N * DX)),  # the shortest
        (
            "dirichlet",
            np.sin(np.pi * 7 * (J + 1) / (N + 1)),
            3.5 / ((N + 1) * DX),
            0.5 / ((N + 1) * DX),
        ),
    ],
)
def test_a_wave_has_its_power_at_its_wavenumber(boundary, wave, k, step):
    at, power = shell_spectrum(SIZE * wave, [boundary], [DX])
    assert at[power.argmax()] == pytest.approx(k, rel=1e-12)
    assert np.allclose(np.diff(at), step, rtol=1e-9, atol=0)
    inside = power.sum() if boundary == "replicate" else power.max()  # a window spreads it
    mean_square = SIZE**2 * np.square(wave).mean()
    assert inside * step == pytest.approx(mean_square, rel=1e-12)  # rounding


@pytest.mark.parametrize("boundary", ["periodic", "neumann", "dirichlet", "antisymmetric"])
def test_the_integral_is_the_mean_square(boundary):
    fields = np.random.default_rng(3).normal(size=(4, 3, N))
    at, power = shell_spectrum(fields, [boundary], [DX])
    zero = boundary in ("dirichlet", "antisymmetric")  # on the walls: no wave is a constant
    constant = 0.0 if zero else np.square(fields.mean(-1)).mean()
    total = np.square(fields).mean() - constant
    assert len(at) == {"periodic": N // 2, "neumann": N - 1}.get(boundary, N)
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
    with pytest.raises(ValueError, match="2 boundaries and 1 spacings"):
        band_power(np.ones((3, 5)), ["periodic"] * 2, [1.0], 3)


def test_a_wave_of_each_field_has_its_power_in_its_band():
    sizes, waves = np.array([[1.0, 2.0], [0.5, 3.0]]), np.array([[1, 3], [7, 23]])
    fields = sizes[..., None] * np.cos(2 * np.pi * waves[..., None] * J / N)
    edges, power = band_power(fields, ["periodic"], [DX], 3)
    expected = np.array([0.5, 2.5, 8.5, 24.5]) / (N * DX)  # 1 · 25^(b/3) is 1, 2.9, 8.5, 25
    assert np.allclose(edges, expected, rtol=1e-12, atol=0)
    assert power.shape == (2, 2, 3)
    place = np.digitize(waves / (N * DX), expected) - 1
    for k in np.ndindex(2, 2):
        assert np.allclose(power[k], sizes[k] ** 2 / 2 * (np.arange(3) == place[k]), atol=1e-12)


def test_bands_on_a_plane_of_two_kinds_of_walls_are_sums_over_waves_one_by_one():
    n, m, dx, dy = 5, 7, 0.3, 0.2
    field = np.random.default_rng(5).normal(size=(n, m))
    edges, power = band_power(field, ["dirichlet", "neumann"], [dx, dy], 2)
    width = max(0.5 / ((n + 1) * dx), 0.5 / (m * dy))
    expected = np.zeros(2)
    for p in range(1, n + 1):
        for q in range(m):
            sine = np.sin(np.pi * p * np.arange(1, n + 1) / (n + 1))
            cosine = np.cos(np.pi * q * (np.arange(m) + 0.5) / m)
            wave = sine[:, None] * cosine
            part = (field * wave).sum() ** 2 / np.square(wave).sum() / (n * m)
            k = np.hypot(p * 0.5 / ((n + 1) * dx), q * 0.5 / (m * dy))
            band = np.digitize((np.rint(k / width)) * width, edges) - 1
            if 0 <= band < 2:
                expected[band] += part
    assert np.allclose(power, expected, rtol=1e-12, atol=0)
    assert edges[-1] == pytest.approx(0.5 / dx, abs=width)  # the coarser axis's Nyquist


def test_a_short_axis_has_fewer_bands_than_asked_for():
    edges, power = band_power(np.ones((2, 6)), ["periodic"], [1.0], 8)
    assert np.allclose(edges * 6, [0.5, 1.5, 2.5, 3.5])
    assert power.shape == (2, 3)
    assert np.allclose(power, 0, atol=1e-15)


def test_ends_without_waves_in_common_are_refused_and_reports_leave_powers_out():
    for boundary in (
        ["periodic", ("dirichlet", "neumann")],
        [("antisymmetric", "neumann"), "periodic"],
        [("neumann", "neumann"), object()],
    ):
        with pytest.raises(ValueError, match=r"boundary"):
            shell_spectrum(np.ones((5, 6)), boundary, [1.0, 1.0])
    with pytest.raises(ValueError, match=r"\[1\]: no waves suit \S+ ends \('dirichlet', 'n"):
        band_power(np.ones((5, 6)), ["periodic", ("dirichlet", "neumann")], [1.0, 1.0], 3)
    same = shell_spectrum(np.sin(J), [("neumann", "neumann")], [DX])
    assert np.array_equal(same, shell_spectrum(np.sin(J), ["neumann"], [DX]))
    assert not Grid(6, 3, boundary=[("dirichlet", "neumann")]).has_waves
    assert not Grid(6, 3, channels=2, boundary={0: "dirichlet", 1: "neumann"}).has_waves
    assert Grid((6, 4), (3, 2), boundary=("dirichlet", "neumann")).has_waves
