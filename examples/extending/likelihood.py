"""Observations under Student's t: a law of fields that is not normal, on data with outliers."""

import numpy as np
import torch

import pyro_msde
from pyro_msde.guides import AmortizedGP
from pyro_msde.likelihoods import StudentT
from pyro_msde.models import multiscale
from pyro_msde.testing import check_likelihood


def heavy_tailed(mean: torch.Tensor, variance: torch.Tensor) -> StudentT:
    """Student's t with three degrees of freedom: a third of the variance is the scale squared."""
    return StudentT(3.0, mean, (variance / 3).sqrt(), validate_args=False)


rng = np.random.default_rng(0)
times, x = np.linspace(0, 2, 41), np.arange(40) / 40
waves = [np.sin(2 * np.pi * (x - 0.3 * times[:, None] - rng.uniform())) for _ in range(4)]
noisy = [u + 0.03 * rng.standard_t(2, u.shape) for u in waves]  # some values are far off
data = pyro_msde.Trajectories([times] * 4, noisy)

model = multiscale(40, 8, width=16)
model.likelihood, model.config = heavy_tailed, None  # `load` is given the model of one's own
check_likelihood(heavy_tailed(torch.zeros(2), torch.ones(2)))
fit = pyro_msde.fit(
    model, AmortizedGP(model), data[:3], steps=300, length=9, stride=1, progress=False
)
fc = fit.predict(noisy[3][0], times, num_samples=16)
law = next(fc.mixtures()).laws[0]
cover = pyro_msde.coverage(fc, data[3], level=0.9)
print(f"forecasts mix {type(law).__name__}; their 90 % intervals hold {cover:.0%} of a new wave")
