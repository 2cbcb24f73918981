"""A drift of your own: decay that is known beside what is learned, γ(z) = learned(z) − 3 z."""

import numpy as np
from torch import Tensor

from pyro_msde import Trajectories, fit
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale
from pyro_msde.networks import MultiscaleDrift
from pyro_msde.testing import check_drift


class Decaying(MultiscaleDrift):
    """`offset` tells the jackknife what has no last weights; without it `fit` would go without."""

    def forward(self, z: Tensor, t: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Drift, shaped as z (..., segment, time, latent)."""
        return super().forward(z, t, covariates) - 3.0 * z

    def offset(self, z: Tensor, t: Tensor, covariates: Tensor | None = None) -> Tensor | float:
        """The known part, beside what else has no last weights."""
        return super().offset(z, t, covariates) - 3.0 * z


model = multiscale(32, 8)
net = model.drift.net
model.drift.net = Decaying(net.grid, 0, net.macro, None, half_width=net.half_width)
check_drift(model.drift.net, model.num_latent)

times, x = np.linspace(0.0, 1.0, 41), np.arange(32) / 32
waves = [np.sin(2 * np.pi * (x - 0.2 * times[:, None] - k / 6)) for k in range(6)]
data = Trajectories(
    times, [(1 + 0.1 * k) * np.exp(-3.0 * times)[:, None] * wave for k, wave in enumerate(waves)]
)
result = fit(model, AmortizedGP(model), data, steps=200, length=8, stride=1, progress=False)
forecast = result.predict(data.values[0][0], times, max_step=0.01)
error = np.abs(np.asarray(forecast.mean) - data.values[0]).max()
sd = float(forecast.parameter_var.max()) ** 0.5
print(f"largest error {error:.3f}; sd that the learned part owes to single waves {sd:.3f}")
