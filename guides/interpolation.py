"""Deep-kernel interpolation of node values in time (Ilersich & Nair 2025, App. E).

With k(t, t') = exp(−½ (h(t̂) − h(t̂'))² / ℓ²), h a small smooth network of time rescaled to
[−1, 1] within the segment, the value at t* of a quantity known at the nodes t is W(t*) x with

    W(t*) = k(t*, t) (k(t, t) + ν I)⁻¹,        Ẇ(t*) = ∂k(t*, t)/∂t* (k(t, t) + ν I)⁻¹.

The kernel's amplitude cancels but for its ratio to ν, which is what ν means here.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from pyro_msde.errors import NotPositiveDefiniteError

__all__ = ["DeepKernel", "Interpolant"]

_ROUGH_LENGTH, _ROUGH_NOISE = 2.0, 1e-3  # of rough paths: a segment's; of its variance
_JITTERS = (0.0, 1e-10, 1e-8, 1e-6, 1e-4)


class DeepKernel(nn.Module):
    """k(t, t') = exp(−½ (h(t̂) − h(t̂'))² / ℓ²) and its observation noise ν.

    h(t̂) = t̂ + network(t̂): at the start the kernel is close to a squared exponential. This is a
    plain `nn.Module` since a `PyroModule` cannot run inside `torch.func.jvp`.

    Args:
        width: Width of the two hidden layers of h.
        lengthscale: Initial ℓ, in units of rescaled time (a segment is 2 long).
        noise: Initial ν, relative to the kernel's amplitude.
    """

    def __init__(self, width: int = 32, lengthscale: float = 0.2, noise: float = 1e-2) -> None:
        super().__init__()
        # smooth activations, as W is differentiated in time
        self.network = nn.Sequential(
            nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)
        )
        self.log_lengthscale = nn.Parameter(torch.tensor(lengthscale).log())
        self.log_noise = nn.Parameter(torch.tensor(noise).log())

    def features(self, rescaled: Tensor) -> tuple[Tensor, Tensor]:
        """h/ℓ and its derivative by rescaled time, float64, shaped as `rescaled`."""
        flat = rescaled.reshape(-1, 1).to(self.log_lengthscale.dtype)
        h, h_dot = torch.func.jvp(self.network, (flat,), (torch.ones_like(flat),))[:2]
        ell = self.log_lengthscale.double().exp()
        h = rescaled + h.reshape(rescaled.shape).double()
        return h / ell, (1 + h_dot.reshape(rescaled.shape).double()) / ell

    @torch.no_grad()
    def start_rough(self) -> None:
        """Begin with straight lines between nodes, for paths that are noisy there."""
        self.log_lengthscale.fill_(_ROUGH_LENGTH).log_()
        self.log_noise.fill_(_ROUGH_NOISE).log_()

    def noise(self) -> Tensor:
        """ν relative to the kernel's amplitude, floored where float64 algebra stays sound."""
        return self.log_noise.double().exp() + 1e-6


class Interpolant:
    """W and Ẇ for given node times; the kernel matrix is factorised once.

    Args:
        kernel: Kernel of rescaled time.
        nodes: (..., m) float64, increasing; the first and last bound the segment.
        rough: Of paths that are noisy between nodes: k(t, t') = exp(−|h(t̂) − h(t̂')|/ℓ), with which
            values of distant ℓ are interpolated in straight lines, as bridges of noise are.

    Raises:
        NotPositiveDefiniteError: The kernel matrix stays indefinite at the largest jitter.
    """

    def __init__(self, kernel: DeepKernel, nodes: Tensor, *, rough: bool = False) -> None:
        self.kernel, self.rough = kernel, rough
        self.start = nodes[..., :1]
        self.rate = 2.0 / (nodes[..., -1:] - self.start)
        self.h_nodes = kernel.features((nodes - self.start) * self.rate - 1)[0]
        gap = self.h_nodes[..., :, None] - self.h_nodes[..., None, :]
        eye = torch.eye(nodes.shape[-1], dtype=gap.dtype, device=gap.device)
        self.chol = _cholesky(self._correlation(gap) + kernel.noise() * eye, nodes)

    def _correlation(self, gap: Tensor) -> Tensor:
        return torch.exp(-gap.abs() if self.rough else -0.5 * gap.square())

    def weights(self, at: Tensor) -> tuple[Tensor, Tensor]:
        """W(t*) and Ẇ(t*) = ∂W/∂t*, each (..., q, m) float64.

        Args:
            at: (..., q) float64, with the nodes' leading shape.
        """
        h, h_dot = self.kernel.features((at - self.start) * self.rate - 1)
        gap = h[..., :, None] - self.h_nodes[..., None, :]
        cross = self._correlation(gap)
        slope = gap.sign() if self.rough else gap
        cross_dot = -slope * (h_dot * self.rate)[..., None] * cross
        both = torch.cat([cross, cross_dot], -2)
        weights = torch.cholesky_solve(both.mT, self.chol).mT
        return weights[..., : at.shape[-1], :], weights[..., at.shape[-1] :, :]


def _cholesky(gram: Tensor, nodes: Tensor) -> Tensor:
    """Cholesky factor with growing jitter; on an accelerator one try, so that it never waits."""
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    if gram.device.type != "cpu":
        return cast(Tensor, torch.linalg.cholesky_ex(gram + _JITTERS[1] * eye).L)
    for jitter in _JITTERS:
        chol, info = torch.linalg.cholesky_ex(gram + jitter * eye)
        if not info.any():
            return cast(Tensor, chol)
    gap = torch.diff(nodes.detach(), dim=-1).min()
    where = (
        "non-finite kernel parameters" if not gram.isfinite().all() else f"times {gap:.3g} apart"
    )
    raise NotPositiveDefiniteError(
        f"kernel matrix of {gram.shape[-1]} observation times at jitter {_JITTERS[-1]:g}: {where}. "
        "Merge observations that lie closer than the kernel can tell, or lower the learning rate."
    )
