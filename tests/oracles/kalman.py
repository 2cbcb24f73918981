"""Exact inference in a linear SDE seen through linear-Gaussian observations.

    dz = A z dt + L dβ,  C = L Lᵀ,      y_i = H z(t_i) + ε_i,  ε_i ~ N(0, R),   z(t_0) ~ N(m₀, P₀)

The first observation is made at t_0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm
from scipy.stats import multivariate_normal


@dataclass(frozen=True)
class LinearSystem:
    """A, C (n, n); H (m, n); R (m, m); m0 (n,); P0 (n, n)."""

    A: np.ndarray
    C: np.ndarray
    H: np.ndarray
    R: np.ndarray
    m0: np.ndarray
    P0: np.ndarray

    def transition(self, step: float) -> tuple[np.ndarray, np.ndarray]:
        """Φ = exp(A step) and the covariance that the noise adds over it (Van Loan)."""
        n = len(self.A)
        block = np.zeros((2 * n, 2 * n))
        block[:n, :n], block[:n, n:], block[n:, n:] = -self.A, self.C, self.A.T
        e = expm(block * step)
        phi = e[n:, n:].T
        return phi, phi @ e[:n, n:]

    def simulate(self, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Observations (time, m) of one path."""
        z = rng.multivariate_normal(self.m0, self.P0)
        observed = []
        for i in range(len(times)):
            if i:
                phi, noise = self.transition(times[i] - times[i - 1])
                z = rng.multivariate_normal(phi @ z, noise)
            observed.append(rng.multivariate_normal(self.H @ z, self.R))
        return np.array(observed)


class Smoother:
    """Kalman filter, and the continuous Rauch–Tung–Striebel smoother at any time.

    Attributes:
        log_evidence: log p(y).
        filtered: Per observation, mean and covariance given it and all before.
        smoothed: Per observation, mean and covariance given all.
    """

    def __init__(self, system: LinearSystem, times: np.ndarray, observed: np.ndarray) -> None:
        self.system, self.times = system, times
        self.log_evidence = 0.0
        self.filtered = []
        m, P = system.m0, system.P0
        for i, y in enumerate(observed):
            if i:
                m, P = self._predict(*self.filtered[-1], times[i] - times[i - 1])[:2]
            S = system.H @ P @ system.H.T + system.R
            gain = np.linalg.solve(S, system.H @ P).T
            self.log_evidence += multivariate_normal.logpdf(y, system.H @ m, S)
            m, P = m + gain @ (y - system.H @ m), P - gain @ S @ gain.T
            self.filtered.append((m, 0.5 * (P + P.T)))
        self.smoothed = [self.filtered[-1]]
        for i in range(len(times) - 2, -1, -1):
            step = times[i + 1] - times[i]
            self.smoothed.insert(0, self._back(*self.filtered[i], step, *self.smoothed[0]))

    def _predict(self, m, P, step):
        phi, noise = self.system.transition(step)
        return phi @ m, phi @ P @ phi.T + noise, phi

    def _back(self, m, P, step, mu, cov):
        """Smoothed moments from those `step` later and the filtered ones here."""
        m_next, P_next, phi = self._predict(m, P, step)
        G = np.linalg.solve(P_next, phi @ P).T
        return m + G @ (mu - m_next), P + G @ (cov - P_next) @ G.T

    def moments(self, t: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Mean, its derivative, covariance and its derivative at time t given all observations.

        With filtered moments m, P between observations, the smoothed ones obey
            μ̇ = A μ + C P⁻¹ (μ − m),      Σ̇ = F Σ + Σ Fᵀ − C,   F = A + C P⁻¹.
        At an observation the derivatives are those from the right (at the last, from the left).
        """
        i = min(np.searchsorted(self.times, t, side="right") - 1, len(self.times) - 2)
        m, P = self._predict(*self.filtered[i], t - self.times[i])[:2]
        mu, cov = self._back(m, P, self.times[i + 1] - t, *self.smoothed[i + 1])
        A, C = self.system.A, self.system.C
        F = A + C @ np.linalg.inv(P)
        mu_dot = A @ mu + C @ np.linalg.solve(P, mu - m)
        return mu, mu_dot, cov, F @ cov + cov @ F.T - C


def joint_log_evidence(system: LinearSystem, times: np.ndarray, observed: np.ndarray) -> float:
    """log p(y) as one large normal of all observations, without recursion over them."""
    mean, cross = [], {}
    for i, t in enumerate(times):
        phi, noise = system.transition(t - times[0])
        mean.append(phi @ system.m0)
        cross[i, i] = phi @ system.P0 @ phi.T + noise
    for i in range(len(times)):
        for j in range(i + 1, len(times)):
            cross[j, i] = system.transition(times[j] - times[i])[0] @ cross[i, i]
            cross[i, j] = cross[j, i].T
    H, count = system.H, len(times)
    cov = np.block([[H @ cross[i, j] @ H.T for j in range(count)] for i in range(count)])
    cov += np.kron(np.eye(count), system.R)
    stacked = np.concatenate([H @ m for m in mean])
    return float(multivariate_normal.logpdf(observed.reshape(-1), stacked, cov))
