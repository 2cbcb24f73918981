"""The exponential rule against closed forms and scipy: decay, noise, a stiff equation."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from oracles.tolerance import standard_errors
from scipy.integrate import solve_ivp

from pyro_msde.networks import LinearPart
from pyro_msde.sde import ConfinedDrift, integrate_exponentially


def diagonal(rates: torch.Tensor) -> LinearPart:
    """L = diag(rates) of each row, its waves being the states themselves."""
    return LinearPart(
        torch.complex(rates, torch.zeros_like(rates)),
        lambda z: z.to(torch.complex128),
        lambda amplitudes: amplitudes.real,
    )


RATES = torch.tensor([[-1.0, -300.0], [0.5, -20_000.0]], dtype=torch.float64)


def test_linear_decay_is_exact_at_any_step() -> None:
    """Rows with rates and times of their own, in steps a thousand times too long for others."""
    start = torch.tensor([[[1.0, 2.0], [3.0, -1.0]]], dtype=torch.float64)
    times = torch.tensor([[0.0, 0.25, 0.75], [1.0, 1.5, 1.75]], dtype=torch.float64)
    start = start.expand(3, -1, -1)
    path = integrate_exponentially(
        lambda z, t: RATES[:, None] * z,
        diagonal(RATES),
        torch.zeros(2, dtype=torch.float64),
        start,
        times,
        max_step=0.5,
    )
    expected = start[0, :, None] * ((times - times[:, :1])[..., None] * RATES[:, None]).exp()
    torch.testing.assert_close(path[1], expected, rtol=1e-9, atol=1e-12)


def driven(rate: float, z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """A slow state that drives a fast one, z₁' = −z₀ z₁ + cos t and z₀' = −a (z₀ − z₁²)."""
    fast, slow = z.unbind(-1)
    return torch.stack([-rate * (fast - slow**2), -fast * slow + t.cos()], -1)


@pytest.mark.parametrize(
    ("rate", "step", "tolerance"), [(10.0, 0.1, 1e-4), (10.0, 0.025, 4e-7), (1000.0, 0.05, 5e-3)]
)
def test_a_stiff_equation_against_scipy(rate: float, step: float, tolerance: float) -> None:
    """Of fourth order where the step resolves the fast state, and stable where it does not."""
    rates = torch.tensor([[-rate, 0.0]], dtype=torch.float64)
    stiff = partial(driven, rate)
    times = torch.linspace(0, 3, 7, dtype=torch.float64)[None]
    path = integrate_exponentially(
        stiff,
        diagonal(rates),
        torch.zeros(2, dtype=torch.float64),
        torch.tensor([[[0.25, 0.5]]], dtype=torch.float64),
        times,
        max_step=step,
    )
    exact = solve_ivp(
        lambda t, z: stiff(torch.tensor(z), torch.tensor(t, dtype=torch.float64)).numpy(),
        (0, 3),
        [0.25, 0.5],
        method="Radau",
        t_eval=times[0].numpy(),
        rtol=1e-10,
        atol=1e-12,
    )
    assert np.abs(path[0, 0].numpy() - exact.y.T).max() < tolerance


def test_times_within_a_step_are_interpolated() -> None:
    """A hundred times in a step of a slow oscillation, to the fourth order of the step."""
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    times = torch.linspace(0, 2, 101, dtype=torch.float64)[None]
    path = integrate_exponentially(
        lambda z, t: z @ turn,
        diagonal(torch.zeros(1, 2, dtype=torch.float64)),
        torch.zeros(2, dtype=torch.float64),
        torch.tensor([[[1.0, 0.0]]], dtype=torch.float64),
        times,
        max_step=0.2,
    )
    expected = torch.stack([times[0].cos(), times[0].sin()], -1)
    assert float((path[0, 0] - expected).abs().max()) < 0.2**4 / 50


def test_noise_has_the_variance_of_an_ornstein_uhlenbeck_process() -> None:
    """Rates resolved by the step; false alarms 2e-5, the bias (a h)²/12 being far below."""
    rates = torch.tensor([[-1.0, -2.0]], dtype=torch.float64)
    diffusion = torch.tensor([0.5, 2.0], dtype=torch.float64)
    times = torch.tensor([[0.0, 0.4, 1.0]], dtype=torch.float64)
    draws = 20_000
    path = integrate_exponentially(
        lambda z, t: rates[:, None] * z,
        diagonal(rates),
        diffusion,
        torch.zeros(draws, 1, 2, dtype=torch.float64),
        times,
        max_step=0.02,
        generator=torch.Generator().manual_seed(0),
    )
    for i in (1, 2):
        t = float(times[0, i])
        exact = diffusion / (-2 * rates[0]) * (1 - (2 * rates[0] * t).exp())
        found = path[:, 0, i].var(0)
        allowed = standard_errors(4) * exact * math.sqrt(2 / draws)
        assert bool(((found - exact).abs() < allowed).all())


def test_times_within_a_step_have_noise_of_their_own() -> None:
    """A random walk's variance at each of eight times in a step that is long; false alarms 2e-5."""
    times = torch.linspace(0, 1, 9, dtype=torch.float64)[None]
    draws = 4000
    path = integrate_exponentially(
        lambda z, t: torch.zeros_like(z),
        diagonal(torch.zeros(1, 1, dtype=torch.float64)),
        torch.ones(1, dtype=torch.float64),
        torch.zeros(draws, 1, 1, dtype=torch.float64),
        times,
        max_step=1.0,
        generator=torch.Generator().manual_seed(0),
    )
    found, exact = path[:, 0, 1:, 0].var(0), times[0, 1:]
    assert bool(((found - exact).abs() < standard_errors(8) * exact * math.sqrt(2 / draws)).all())


def test_paths_of_too_many_steps_are_refused() -> None:
    """As by the other rules."""
    with pytest.raises(ValueError, match=r"200,000 steps .* 100,000 are the most"):
        integrate_exponentially(
            lambda z, t: z,
            diagonal(torch.zeros(1, 1, dtype=torch.float64)),
            torch.zeros(1, dtype=torch.float64),
            torch.zeros(1, 1, 1, dtype=torch.float64),
            torch.tensor([[0.0, 200.0]], dtype=torch.float64),
            max_step=1e-3,
        )


def test_opposite_paths_have_opposite_noise() -> None:
    """Their mean is that without noise, for a linear drift."""
    rates = torch.tensor([[-1.0]], dtype=torch.float64)
    path = integrate_exponentially(
        lambda z, t: rates[:, None] * z,
        diagonal(rates),
        torch.ones(1, dtype=torch.float64),
        torch.ones(6, 1, 1, dtype=torch.float64),
        torch.tensor([[0.0, 1.0]], dtype=torch.float64),
        max_step=0.1,
        generator=torch.Generator().manual_seed(0),
        opposed=6,
    )
    means = path[:, 0, -1, 0].unflatten(0, (3, 2)).mean(1)
    torch.testing.assert_close(means, torch.full_like(means, math.exp(-1)), rtol=1e-8, atol=0)
    assert float(path[:, 0, -1].std()) > 0.1


def test_paths_outside_are_drawn_back_as_fast_as_they_should() -> None:
    """z' = −ρ (z − 1) beyond one, at rates that no step resolves."""
    confined = ConfinedDrift(lambda z, t: torch.zeros_like(z), lambda z: z.clamp(max=1.0), 50.0)
    path = integrate_exponentially(
        confined.inner,
        diagonal(torch.zeros(1, 1, dtype=torch.float64)),
        torch.zeros(1, dtype=torch.float64),
        torch.full((1, 1, 1), 3.0, dtype=torch.float64),
        torch.tensor([[0.0, 0.1, 0.2]], dtype=torch.float64),
        max_step=0.1,
        project=confined.project,
        pull=confined.pull,
    )
    assert path[0, 0, :, 0].tolist() == pytest.approx(
        [3, 1 + 2 * math.exp(-5), 1 + 2 * math.exp(-10)]
    )
    inside, outside = confined(torch.tensor(0.5), torch.tensor(0.0)), confined(torch.tensor(3.0), 0)
    assert float(inside) == 0
    assert float(outside) == -100
