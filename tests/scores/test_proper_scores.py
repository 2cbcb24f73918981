"""Scores of single snapshots by loops, by scipy and in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.stats import norm

from pyro_msde.scores import proper_scores
from pyro_msde.scores.proper_scores import (
    fair_crps,
    fair_energy,
    interval_score,
    pit_histogram,
)
from pyro_msde.sde import in_opposite_pairs, opposites

N, BATCH, TIMES, FIELD = 5, 2, 3, (2, 7)
DISTANCES = {"rtol": 1e-7, "atol": 0}  # root of rounding: distances come from squares


def sample(n=N, offset=0.0, dtype=np.float64):
    rng = np.random.default_rng(8)
    draws = offset + rng.normal(size=(n, BATCH, TIMES, *FIELD)) * 0.3
    y = offset + rng.normal(size=(BATCH, TIMES, *FIELD))
    return torch.from_numpy(draws.astype(dtype)), torch.from_numpy(y.astype(dtype))


def energy_by_loops(draws, y):
    """Over pairs of different draws, ‖·‖ the root mean square."""
    n = len(draws)
    out = np.zeros(y.shape[:2])
    for b, t in np.ndindex(*out.shape):
        size = [np.sqrt(np.square(x[b, t] - y[b, t]).mean()) for x in draws]
        pairs = [
            np.sqrt(np.square(draws[i, b, t] - draws[j, b, t]).mean())
            for i in range(n)
            for j in range(n)
            if i != j
        ]
        out[b, t] = np.mean(size) - 0.5 * np.mean(pairs)
    return out


@pytest.mark.parametrize("n", [2, N])
@pytest.mark.parametrize("blocks", [2**22, 30])
def test_the_energy_score_is_over_pairs_of_different_draws(n, blocks, monkeypatch):
    monkeypatch.setattr(proper_scores, "MOST_DISTANCES", blocks)
    draws, y = sample(n)
    assert_allclose(fair_energy(draws, y), energy_by_loops(draws.numpy(), y.numpy()), **DISTANCES)


def test_the_energy_score_of_fields_far_from_zero_keeps_its_digits():
    """With 30 draws, where torch takes distances from squares, in float32."""
    draws, y = sample(30, offset=100.0, dtype=np.float32)
    expected = energy_by_loops(draws.double().numpy(), y.double().numpy())
    assert_allclose(fair_energy(draws, y), expected, rtol=1e-5)  # 30 times float32's eps


def test_at_one_point_the_energy_score_is_the_crps():
    draws, y = sample()
    draws, y = draws[..., :1, :1], y[..., :1, :1]
    assert_allclose(fair_energy(draws, y), fair_crps(draws, y)[..., 0, 0], **DISTANCES)


@pytest.mark.parametrize(("score", "name"), [(fair_crps, "CRPS"), (fair_energy, "energy score")])
def test_one_draw_has_no_pairs(score, name):
    draws, y = sample(1)
    with pytest.raises(ValueError, match=f"fc: 1 draw, but the {name} needs pairs"):
        score(draws, y)


def test_the_interval_score_by_hand():
    low, high = torch.tensor(-1.0), torch.tensor(2.0)
    y = torch.tensor([-1.5, -1.0, 0.0, 2.0, 3.0], dtype=torch.float64)
    expected = [3 + 20 * 0.5, 3, 3, 3, 3 + 20 * 1.0]  # 2/(1 − .9) = 20
    assert_allclose(interval_score(low, high, y, 0.9), expected, rtol=1e-12)


def test_the_interval_score_is_least_for_the_true_interval():
    """Its mean at N(0, 1) for ±c is 2 c + (4/α) (φ(c) − c (1 − Φ(c))), least at Φ⁻¹(1 − α/2)."""
    level, alpha = 0.8, 0.2
    y = torch.from_numpy(norm.ppf((np.arange(20_000) + 0.5) / 20_000))
    best = norm.ppf(1 - alpha / 2)
    found = {}
    for c in (0.8 * best, best, 1.25 * best):
        high = torch.tensor(c, dtype=torch.float64)
        found[c] = interval_score(-high, high, y, level).mean().item()
        exact = 2 * c + 4 / alpha * (norm.pdf(c) - c * norm.sf(c))
        assert found[c] == pytest.approx(exact, rel=1e-3)  # the midpoint rule's tails
    assert min(found, key=found.get) == best


def test_shares_inside_intervals_and_histograms_are_counts():
    p = np.random.default_rng(2).uniform(size=(BATCH, TIMES, *FIELD))
    p[0, 0, 0, :2] = 0.0, 1.0
    flat = p.reshape(BATCH, TIMES, -1)
    bars = pit_histogram(torch.from_numpy(p), 5)
    for b, t in np.ndindex(BATCH, TIMES):
        counts, _ = np.histogram(flat[b, t], np.linspace(0, 1, 6))
        assert_allclose(bars[b, t], counts / 14, rtol=1e-12)


@pytest.mark.parametrize("n", [4, 5, 8])
def test_opposite_draws_are_no_pair_of_a_fair_score(n):
    """Of y = 0 and standard normals E|x| − ½ E|x − x'| is .2337; 20 000 means err by .004."""
    half = torch.randn((n + 1) // 2, 20_000, 1, generator=torch.Generator().manual_seed(5))
    draws, y = in_opposite_pairs(half, n), torch.zeros(20_000, 1)
    expected = (2 / np.pi) ** 0.5 - 1 / np.pi**0.5
    assert fair_crps(draws, y, opposites(n)).mean() == pytest.approx(expected, abs=0.004)
    energy = fair_energy(draws[..., None], y[..., None], None, opposites(n))
    assert energy.mean() == pytest.approx(expected, abs=0.004)
    assert fair_crps(draws, y).mean() < expected - 0.01
