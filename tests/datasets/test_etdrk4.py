"""ETDRK4: exact linear part, fourth order, batches."""

from __future__ import annotations

import numpy as np
import pytest

from pyro_msde.datasets.etdrk4 import ETDRK4, integrate


def last(states):
    *_, v = states
    return v


def test_linear_part_is_exact_however_stiff():
    linear = np.array([0.0, 1e-9, -0.3, 2.0j, -1e6, -40.0 + 300.0j, 0.5])
    initial = np.random.default_rng(0).normal(size=(3, 7)) + 0j
    v = last(integrate(initial, linear, np.zeros_like, dt=0.7, num_steps=2))
    # rounding of exp(300 i · 1.4): |z| eps
    np.testing.assert_allclose(v, initial * np.exp(linear * 1.4), rtol=1e-12, atol=1e-15)


def test_constant_forcing_is_exact():
    # v' = L v + g: v = e^{Lt} v0 + (e^{Lt} − 1)/L g; the four weights of N sum to that
    linear = np.array([-2.0, -1e-8, -1e3, 1.0j, 0.01])
    g = np.array([1.0, 2.0, 3.0, 5.0, 7.0])
    v = last(integrate(np.ones(5), linear, lambda v: g + 0 * v, dt=0.3, num_steps=1))
    exact = np.exp(0.3 * linear) + np.expm1(0.3 * linear) / linear * g
    np.testing.assert_allclose(v, exact, rtol=1e-13)  # rounding only


def test_real_symbols_keep_real_states():
    v = last(integrate(np.ones(3), -np.arange(3.0), lambda v: -(v**2), dt=0.1, num_steps=2))
    assert v.dtype == np.float64


@pytest.mark.parametrize("linear", [1.0, -3.0])
def test_fourth_order(linear):
    # logistic v' = a v − v², v = a e^{at} / (a/v0 − 1 + e^{at})
    v0, horizon = np.array([0.2, 0.5, 1.7]), 1.0
    growth = np.exp(linear * horizon)
    exact = linear * growth / (linear / v0 - 1 + growth)
    steps = np.array([8, 16, 32])
    errors = [
        np.abs(
            last(integrate(v0, np.full(3, linear), lambda v: -(v**2), dt=horizon / n, num_steps=n))
            - exact
        ).max()
        for n in steps
    ]
    slopes = -np.diff(np.log(errors)) / np.log(2)
    # the next order's share is O(dt): within 0.3 of 4 at these steps
    assert np.all(np.abs(slopes - 4) < 0.3), slopes


def test_batch_equals_loop_and_substeps_equal_steps():
    rng = np.random.default_rng(1)
    initial, linear = rng.normal(size=(2, 3, 5)), -rng.uniform(0, 9, 5)

    def nonlinear(v):
        return np.sin(v) * np.roll(v, 1, axis=-1)

    batch = list(integrate(initial, linear, nonlinear, dt=0.1, num_steps=4, substeps=2))
    assert len(batch) == 5
    for index in np.ndindex(2, 3):
        one = list(integrate(initial[index], linear, nonlinear, dt=0.05, num_steps=8))[::2]
        for a, b in zip(batch, one, strict=True):
            np.testing.assert_allclose(a[index], b, rtol=1e-13)  # rounding only


def test_arguments_are_checked_before_the_first_state():
    for dt in (0.0, np.nan):
        with pytest.raises(ValueError, match="dt: "):
            ETDRK4.of(np.zeros(3), dt)
    with pytest.raises(ValueError, match="linear: NaN or infinity"):
        integrate(np.ones(2), np.array([0.0, np.nan]), np.zeros_like, dt=0.1, num_steps=1)
    with pytest.raises(ValueError, match="num_steps, substeps: got 3 and 0"):
        integrate(np.ones(2), np.zeros(2), np.zeros_like, dt=0.1, num_steps=3, substeps=0)


def test_blow_up_is_an_error_with_its_time():
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(FloatingPointError, match=r"not finite at t="),
    ):
        last(integrate(np.array([10.0]), np.zeros(1), lambda v: v**2, dt=0.1, num_steps=50))
