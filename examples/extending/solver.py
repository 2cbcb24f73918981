"""A solver of one's own: Heun's rule for the latent SDE, passed to `Fit.predict`.

python examples/extending/solver.py
"""

from __future__ import annotations

import math

import numpy as np
import torch

import pyro_msde
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale


def heun(drift, diffusion, start, times, *, max_step, generator):
    """Paths (path, row, time, latent) of dz = γ(z, t) dt + √C dβ, steps no longer than max_step."""
    z, path = start[..., None, :], [start]
    for t, later in zip(times.mT[:-1], times.mT[1:], strict=True):
        count = max(1, math.ceil(float((later - t).max()) / max_step))
        h = ((later - t) / count)[:, None]
        for step in range(count):
            noise = torch.randn(z.shape, generator=generator).to(z)
            noise = noise * (diffusion * h[..., None]).sqrt().to(z)
            now, first = t[:, None] + step * h, drift(z, t[:, None] + step * h)
            second = drift(z + h[..., None].to(z) * first + noise, now + h)
            z = z + 0.5 * h[..., None].to(z) * (first + second) + noise
        path.append(z[..., 0, :])
    return torch.stack(path, -2)


t, x = np.linspace(0, 1, 101), np.arange(64) / 64
data = pyro_msde.Trajectories(t, [np.sin(2 * np.pi * (x - t[:, None] - p)) for p in (0, 0.2, 0.5)])
model = multiscale(64, 8, width=16)
fit = pyro_msde.fit(model, AmortizedGP(model), data, steps=50, length=16, stride=1, progress=False)
means = [fit.forecast(data, t[:11], solver=s, max_step=0.002).mean for s in (heun, None)]
print(f"Heun and midpoint differ by {float((means[0] - means[1]).abs().max()):.3f} where |u| is 1")
