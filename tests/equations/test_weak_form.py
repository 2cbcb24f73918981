"""Weak form and selection: coefficients of equations whose solutions are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from pyro_msde.equations import (
    Names,
    NormalEquations,
    Term,
    TestFunctions,
    identities,
    inclusion,
    leave_one_out,
    library,
    selected,
    weak_form,
    written,
)

LENGTH, POINTS = 2 * np.pi, 128
X = np.arange(POINTS) * LENGTH / POINTS
TIMES = np.linspace(0, 1, 101)
TESTS = TestFunctions((16,), 12)


def advected(rng: np.random.Generator, speed: float, nu: float) -> Any:
    """(time, 1, x) of u_t = −speed u_x + ν u_xx from four random waves, exactly."""
    u = np.zeros((len(TIMES), POINTS))
    for k in range(1, 5):
        a, b = rng.standard_normal(2)
        turned = k * (X - speed * TIMES[:, None])
        decay = np.exp(-nu * k**2 * TIMES)[:, None]
        u += decay * (a * np.cos(turned) + b * np.sin(turned))
    return u[:, None]


def folds_of(
    fields: list[Any], terms: Any, *, covariates: list[Any] | None = None, **options: Any
) -> list[NormalEquations]:
    """Equations of each trajectory, one a fold."""
    given = covariates or [()] * len(fields)
    periodic = options.pop("periodic", (True,))
    found = []
    for u, row in zip(fields, given, strict=True):
        blocks = weak_form(
            u, TIMES, (LENGTH / POINTS,), periodic, terms, TESTS, covariates=row, **options
        )
        found.append(sum(blocks, NormalEquations()))
    return found


def found_terms(folds: list[NormalEquations], terms: Any, names: Names) -> dict[str, float]:
    """What was selected, by name."""
    equation = selected(folds, 0)
    return {
        written(terms[k], names): float(c)
        for k, c in zip(equation.terms, equation.coefficients, strict=True)
    }


def test_a_linear_equation_is_found_to_the_error_of_its_sums() -> None:
    """Advection and diffusion, no other of sixteen terms; trapezoidal sums of smooth bumps."""
    rng = np.random.default_rng(0)
    terms = library(1, 1)
    fields = [advected(rng, 0.7, 0.05) for _ in range(5)]
    found = found_terms(folds_of(fields, terms), terms, Names.usual(1, 1))
    assert found == {"u_x": pytest.approx(-0.7, rel=1e-4), "u_xx": pytest.approx(0.05, rel=1e-3)}


def test_noise_is_averaged_away() -> None:
    """At noise of a tenth of the field the coefficients stay within five standard errors.

    These are of a thousandth and two hundredths; six draws of ten thousand are beyond for each of
    them, and the seed is fixed.
    """
    rng = np.random.default_rng(1)
    terms = [Term((1,), (1,)), Term((1,), (2,)), Term((2,), (1,))]
    fields = [advected(rng, 0.7, 0.05) for _ in range(10)]
    noisy = [u + 0.1 * u.std() * rng.standard_normal(u.shape) for u in fields]
    folds = folds_of(noisy, terms)
    equation = selected(folds, 0)
    assert equation.terms == (0, 1)
    error = np.abs(equation.coefficients - [-0.7, 0.05])
    assert (error < 5 * np.sqrt(np.square(leave_one_out(folds, 0, (0, 1))).sum(0))).all()
    assert (error < [0.01, 0.005]).all()


def test_a_coefficient_that_follows_a_covariate() -> None:
    """ν differs between trajectories, and is told."""
    rng = np.random.default_rng(2)
    terms = library(1, 1, 1)
    nus = [0.02, 0.03, 0.05, 0.07, 0.1, 0.04]
    fields = [advected(rng, 0.7, nu) for nu in nus]
    folds = folds_of(fields, terms, covariates=[(nu,) for nu in nus])
    found = found_terms(folds, terms, Names.usual(1, 1, ["nu"]))
    assert found == {"u_x": pytest.approx(-0.7, rel=1e-4), "nu*u_xx": pytest.approx(1.0, rel=1e-3)}


def test_a_constant_beside_the_field_is_found_out() -> None:
    """Of w = u + 3 with w_t = −w w_x + ν w_xx the equation has no other term than that of w."""
    rng = np.random.default_rng(3)
    k = np.fft.rfftfreq(POINTS, 1 / POINTS)

    def right(_: float, w: Any) -> Any:
        slope = np.fft.irfft(1j * k * np.fft.rfft(w * w))
        return -0.5 * slope + 0.1 * np.fft.irfft(-(k**2) * np.fft.rfft(w))

    fields = []
    for _ in range(5):
        start = 3 + sum(rng.standard_normal() * np.cos(j * X + rng.uniform(0, 6)) for j in (1, 2))
        path = solve_ivp(right, (0, 1), start, t_eval=TIMES, rtol=1e-8, atol=1e-8)
        fields.append(path.y.T[:, None])
    terms = library(1, 1)
    found = found_terms(folds_of(fields, terms), terms, Names.usual(1, 1))
    assert found == {"(u^2)_x": pytest.approx(-0.5, rel=1e-3), "u_xx": pytest.approx(0.1, rel=1e-2)}


def test_what_was_not_observed_has_no_part() -> None:
    """Wild values in a gap change nothing, and fewer test functions are left."""
    rng = np.random.default_rng(4)
    terms = [Term((1,), (1,)), Term((1,), (2,))]
    fields = [advected(rng, 0.7, 0.05) for _ in range(3)]
    whole = folds_of(fields, terms)
    spoilt, observed = fields[0].copy(), np.ones_like(fields[0], dtype=bool)
    spoilt[40:45, 0, 30:40], observed[40:45, 0, 30:40] = 1e6, False
    part = folds_of([spoilt], terms, observed=observed)[0]
    assert 0 < part.count < whole[0].count
    equation = selected([part, *whole[1:]], 0)
    assert equation.coefficients == pytest.approx([-0.7, 0.05], rel=1e-3)


def test_on_an_axis_with_ends_test_functions_stay_inside() -> None:
    """The same coefficients, from fewer test functions."""
    rng = np.random.default_rng(5)
    terms = [Term((1,), (1,)), Term((1,), (2,))]
    fields = [advected(rng, 0.7, 0.05) for _ in range(3)]
    ring, open_ends = (folds_of(fields, terms, periodic=(p,)) for p in (True, False))
    assert open_ends[0].count < ring[0].count
    assert selected(open_ends, 0).coefficients == pytest.approx([-0.7, 0.05], rel=1e-3)


@pytest.mark.parametrize("how", ["jitter", "missing", "growing", "gap"])
def test_at_uneven_times(how: str) -> None:
    """Times moved by two fifths of their distance, one or many missing, or ever further apart."""
    rng = np.random.default_rng(7)
    times = {
        "jitter": TIMES + 0.004 * rng.uniform(-1, 1, len(TIMES)),
        "missing": np.delete(TIMES, 37),
        "growing": TIMES**1.5,
        "gap": np.delete(TIMES, np.arange(30, 40)),
    }[how]
    terms = [Term((1,), (1,)), Term((1,), (2,)), Term((1,), (0,))]
    folds = []
    for _ in range(5):
        even = advected(rng, 0.7, 0.05)[:, 0]
        spectrum = np.fft.rfft(even[0])
        k = np.arange(len(spectrum))
        turned = np.exp(-1j * k * 0.7 * times[:, None] - 0.05 * k**2 * times[:, None])
        u = np.fft.irfft(spectrum * turned, n=POINTS)[:, None]
        blocks = weak_form(u, times, (LENGTH / POINTS,), (True,), terms, TESTS)
        folds.append(sum(blocks, NormalEquations()))
    equation = selected(folds, 0)
    assert equation.terms == (0, 1)
    assert equation.coefficients == pytest.approx([-0.7, 0.05], rel=1e-3)


def test_white_noise_has_no_equation() -> None:
    """Of fields without dynamics no term is kept but decay, which is what they do."""
    rng = np.random.default_rng(6)
    terms = library(1, 1)
    fields = [rng.standard_normal((len(TIMES), 1, POINTS)) for _ in range(6)]
    assert selected(folds_of(fields, terms), 0).error > 0.9


def regression(rng: np.random.Generator, coefficients: Any, groups: int) -> list[NormalEquations]:
    """Groups of fifty equations with independent unit columns and unit noise."""
    found = []
    for _ in range(groups):
        G = rng.standard_normal((50, len(coefficients)))
        b = (G @ coefficients + rng.standard_normal(50))[:, None]
        found.append(NormalEquations(G.T @ G, G.T @ b, np.square(b).sum(0), len(b)))
    return found


def test_the_jackknife_gives_the_variance_of_least_squares() -> None:
    """Of 40 groups of 50 equations with unit noise it is 1/2000 for each coefficient.

    The mean of four jackknife variances from 40 groups has a relative standard error of
    √(2/39/4) = .11; the tolerance of .45 is four of these.
    """
    groups = regression(np.random.default_rng(0), [1.0, -2.0, 0.5, 0.0], 40)
    moved = leave_one_out(groups, 0, (0, 1, 2, 3))
    assert np.square(moved).sum(0).mean() * 2000 == pytest.approx(1, abs=0.45)


def test_resamples_are_sure_of_strong_terms_and_not_of_weak_ones() -> None:
    """Terms of twenty standard errors are always there, others seldom.

    One that explains as much as an equation may lack, a fiftieth of the noise, sometimes is there.
    """
    size = 1 / 2000**0.5
    coefficients = [20 * size, -20 * size, 6.3 * size, 0.0, 0.0]
    groups = regression(np.random.default_rng(1), coefficients, 40)
    shares = inclusion(groups, 0, selected(groups, 0), draws=60)
    assert (shares[:2] == 1).all()
    assert 0.05 < shares[2] < 0.95
    assert (shares[3:] < 0.1).all()


def test_a_squared_slope_is_found() -> None:
    """Of h_t = .3 h_xx + .7 h_x² (Kardar, Parisi & Zhang 1986) from a mean that drifts."""
    rng = np.random.default_rng(8)
    k = np.fft.rfftfreq(POINTS, 1 / POINTS)

    def right(_: float, h: Any) -> Any:
        slope = np.fft.irfft(1j * k * np.fft.rfft(h))
        return 0.7 * slope**2 + 0.3 * np.fft.irfft(-(k**2) * np.fft.rfft(h))

    fields = []
    for _ in range(5):
        start = sum(rng.standard_normal() * np.cos(j * X + rng.uniform(0, 6)) for j in (1, 2))
        path = solve_ivp(right, (0, 1), start, t_eval=TIMES, rtol=1e-8, atol=1e-8)
        noisy = path.y.T + 1e-3 * rng.standard_normal(path.y.T.shape)
        fields.append(noisy[:, None])
    terms = library(1, 1)
    found = found_terms(folds_of(fields, terms), terms, Names.usual(1, 1))
    expected = {"u_xx": pytest.approx(0.3, rel=2e-2), "u_x*u_x": pytest.approx(0.7, rel=5e-3)}
    assert found == expected


def test_of_terms_that_add_up_the_fewest_are_taken() -> None:
    """b = −u v_x, which also is v u_x − (u v)_x."""
    rng = np.random.default_rng(0)
    terms = library(2, 1)
    ((whole, first, second),) = identities(terms)
    names = Names.usual(2, 1)
    assert [written(terms[k], names) for k in (whole, first, second)] == [
        "(u*v)_x",
        "u*v_x",
        "v*u_x",
    ]
    groups = []
    for _ in range(8):
        G = rng.standard_normal((200, len(terms)))
        G[:, whole] = G[:, first] + G[:, second]
        b = -G[:, [first]] + 1e-3 * rng.standard_normal((200, 1))
        groups.append(NormalEquations(G.T @ G, G.T @ b, np.square(b).sum(0), len(b)))
    same = identities(terms)
    chosen = selected(groups, 0, identities=same)
    assert chosen.terms == (first,)
    assert chosen.coefficients == pytest.approx([-1], rel=1e-3)
    shares = inclusion(groups, 0, chosen, draws=20, identities=same)
    assert shares[first] == 1
    assert shares.sum() == pytest.approx(1)
