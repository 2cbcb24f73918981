"""A linear SDE under a control that differs from one trajectory to the next, and its exact mean.

    dz = (−a z + b u(t)) dt + s dβ,    u(t) = sin(2πft + φ) + [t > t₁],

the same at each of a few points, which are independent.
"""

from __future__ import annotations

import numpy as np

import pyro_msde

RATE, GAIN, NOISE = 2.0, 3.0, 0.2  # a, b, s
STEPS, END = 100, 2.0


def control(times, rng):
    """(time, 1) of one trajectory."""
    frequency, phase, jump = rng.uniform(0.5, 1.5), rng.uniform(0, 2 * np.pi), rng.uniform(0, END)
    return (np.sin(2 * np.pi * frequency * times + phase) + (times > jump))[:, None]


def exact_mean(start, times, u):
    """E z(t) of dz = (−a z + b u) dt + s dβ, u linear between the times; (time, *start)."""
    found = [np.asarray(start, float)]
    for h, low, high in zip(np.diff(times), u[:-1, 0], u[1:, 0], strict=True):
        decay, slope = np.exp(-RATE * h), (high - low) / h
        # ∫₀ʰ e^{−a(h − r)} (low + slope r) dr
        forced = low * (1 - decay) / RATE + slope * (h - (1 - decay) / RATE) / RATE
        found.append(decay * found[-1] + GAIN * forced)
    return np.stack(found)


def forced_data(count, seed, points=4, noise=NOISE, steps=STEPS):
    """Trajectories with their controls; forced paths about the exact mean are an OU process."""
    rng = np.random.default_rng(seed)
    times = np.linspace(0, END, steps + 1)
    h = times[1]
    decay, sd = np.exp(-RATE * h), noise * np.sqrt((1 - np.exp(-2 * RATE * h)) / (2 * RATE))
    values, controls = [], []
    for _ in range(count):
        u = control(times, rng)
        away = np.zeros((steps + 1, points))
        for i in range(steps):
            away[i + 1] = decay * away[i] + sd * rng.standard_normal(points)
        values.append(exact_mean(rng.standard_normal(points), times, u) + away)
        controls.append(u)
    return pyro_msde.Trajectories(times, values, controls=controls, control_names=["heating"])
