"""A fit without a microscale that is linear throughout, in float64, with its matrices in numpy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from oracles import deep_kernel
from oracles.transposed_convolution import transposed_convolution
from problems import NUM_COARSE, NUM_POINTS, tiny_model
from torch import Tensor, nn

from pyro_msde import Fit
from pyro_msde.data import Scaling
from pyro_msde.guides import AmortizedGP

SCALE, HORIZON = 1.7, 3.0
STRIDE = NUM_POINTS // NUM_COARSE


class Decay(nn.Module):
    """γ(z) = −rate z."""

    def __init__(self, rate: float = 1.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, z: Tensor, t: Tensor, covariates: Tensor | None = None) -> Tensor:
        return -self.rate * z


class LinearFit(NamedTuple):
    """y = scale (H z + noise), z encoded as E y / scale, dz = −z dt + √C dβ.

    Attributes:
        fit: The fit.
        H: (point, latent).
        E: (latent, point).
        C: (latent,).
        var: (point,) Σ_y in scaled units.
        node_var: (latent,) of the guide's encoder.
    """

    fit: Fit
    H: np.ndarray
    E: np.ndarray
    C: np.ndarray
    var: np.ndarray
    node_var: np.ndarray


def linear_fit(**options: object) -> LinearFit:
    """`options` go to the `Fit`."""
    rng = np.random.default_rng(4)
    model = tiny_model(0, drift=Decay()).double()
    guide = AmortizedGP(model).double()
    C, node_var = (np.exp(rng.normal(m, 0.5, NUM_COARSE)) for m in (-2.0, -4.0))
    var = np.exp(rng.normal(-3.0, 0.3, NUM_POINTS))
    with torch.no_grad():
        for net, value in (
            (model.diffusion.net, C),
            (guide.node_variance, node_var),
            (model.var_zeta.net, var[None]),
        ):
            net.log_value.copy_(torch.from_numpy(np.log(value - net.floor)))
    kappa = model.kernel.net.weight.detach().numpy()[0]
    columns = [
        transposed_convolution(e[None], kappa[None, None], STRIDE, (NUM_POINTS,), (True,))[0]
        for e in np.eye(NUM_COARSE)
    ]
    smooth = sum(
        k * np.roll(np.eye(NUM_POINTS), len(kappa) // 2 - i, 0) for i, k in enumerate(kappa)
    )
    fit = Fit(model, guide, Scaling((SCALE,), HORIZON), **options)
    return LinearFit(fit, STRIDE * np.array(columns).T, smooth[::STRIDE], C, var, node_var)


def smoothed_moments(
    linear: LinearFit, times: np.ndarray, values: np.ndarray, nodes: np.ndarray, at: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The guide's mean and variance (n, latent) at times `at`, by matrix algebra.

    Only the kernel's features h/ℓ are asked of its network.
    """
    kernel = linear.fit.guide.time_kernel
    start, end = times[nodes[0]], times[nodes[-1]]

    def features(t: np.ndarray) -> np.ndarray:
        rescaled = torch.as_tensor(2 * (t - start) / (end - start) - 1)
        return kernel.features(rescaled)[0].detach().numpy()

    W = deep_kernel.weights(features(at), features(times[nodes]), 1.0, kernel.noise().item())
    mean = W @ (values[nodes] / SCALE) @ linear.E.T
    return mean, np.exp(W.sum(1)[:, None] * np.log(linear.node_var))
