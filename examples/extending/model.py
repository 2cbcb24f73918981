"""A model of one's own: a linear SDE of two coefficients, decoded by a fixed cosine and sine."""

from types import SimpleNamespace as Namespace

import pyro
import torch

import pyro_msde
from pyro_msde.guides import AmortizedGP
from pyro_msde.likelihoods import FieldNormal, WeightedFields
from pyro_msde.sde import LatentSDE
from pyro_msde.testing import check_model


class Waves(torch.nn.Module):
    make_encoder, n_eta, num_latent, grid = None, 0, 2, pyro_msde.Grid(20, 2)

    def __init__(self):
        super().__init__()
        self.A, self.logs = (torch.nn.Parameter(x) for x in (torch.zeros(2, 2), torch.zeros(3) - 5))

    def bind(self, sites=None):
        return Namespace(
            diffusion=self.logs[:2].exp(),
            drift=lambda z, *_, **more: z @ self.A.mT,
            operators=Namespace(prolong=lambda z: z @ waves, restrict=lambda y: y @ waves.mT / 10),
            observe=lambda z: FieldNormal(z[..., None, :] @ waves, self.logs[2].exp()),
        )

    def path_law(self, bound, batch):
        start = {"initial_mean": torch.zeros(2), "initial_var": torch.ones(2)}
        return LatentSDE(bound.drift, bound.diffusion, batch.times, **start)

    def forward(self, batch):
        bound = self.bind()
        with pyro.plate("segments", batch.num_segments, subsample=torch.arange(len(batch.times))):
            law = bound.observe(pyro.sample("path", self.path_law(bound, batch)))
            law = WeightedFields(law, 2, weight=batch.observation_weight, observed=batch.observed)
            return pyro.sample("field", law, obs=batch.values)


x, t = torch.pi * torch.arange(20) / 10, torch.linspace(0, 2, 253, dtype=torch.float64)
waves = torch.stack([x.cos(), x.sin()])
data = pyro_msde.Trajectories([t], (x - torch.pi * t[:, None]).sin()[None])
check_model(model := Waves())
fit = pyro_msde.fit(model, AmortizedGP(model), data, steps=300, learning_rate=0.05)
fc = fit.predict(data.values[0][0], t, num_samples=8)
print(f"rate {model.A[1, 0].item() / 2:.2f}, π in truth; error {pyro_msde.nrmse(fc, data[0]):.1%}")
