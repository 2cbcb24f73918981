"""A guide of one's own: restricted snapshots, interpolated linearly in time."""

import pyro
import torch
from torch import nn

from pyro_msde.models import multiscale
from pyro_msde.sde import GaussianMarginals, Moments
from pyro_msde.testing import check_guide


class Interpolated(nn.Module):
    def __init__(self, model):
        super().__init__()
        self._model, self.log_var = (model,), nn.Parameter(torch.zeros(model.num_latent) - 7)

    def read_theta(self):
        return {}

    def encode(self, values, bound, covariates=None, observed=None):
        mean = self._model[0].grid.flatten(bound.operators.restrict(values))
        return mean, self.log_var.exp().expand_as(mean)

    def path_marginals(self, batch, bound):
        nodes = self.encode(batch.values, bound)[0]
        slopes = nodes.diff(dim=1) / batch.times.diff(dim=1)[..., None].to(nodes)
        bends = slopes.diff(dim=1, prepend=0 * slopes[:, :1])

        def moments(at):
            late = (at[..., None] - batch.times[:, None, :-1]).relu().to(nodes)
            rate, var = (late > 0).to(nodes) @ bends, self.log_var.exp().expand(*at.shape, -1)
            return Moments(nodes[:, :1] + late @ bends, rate, var, 0 * var)

        return GaussianMarginals(batch.times, moments, batch.quadrature)

    def forward(self, batch):
        marginals = self.path_marginals(batch, self._model[0].bind(self.read_theta()))
        with pyro.plate("segments", batch.num_segments, subsample=torch.arange(len(batch.times))):
            return pyro.sample("path", marginals)


model = multiscale(40, 8, width=16)
check_guide(model, Interpolated(model))
print("the guide's marginals, draws and encoder agree, and its ELBO has gradients")
