"""The drift residual ½∫E‖r‖²_{C⁻¹}dt: KL between the guide's marginals and the latent SDE.

For the linear SDE whose marginals are N(μ(t), Σ(t)) (App. D),

    r(z, t) = μ̇ − B (z − μ) − γ(z, t),       Σ B + B Σ = C − Σ̇  (symmetric solution),

and by Girsanov the divergence between its path measure and the prior's is ½∫E‖r‖²_{C⁻¹}dt (27).
It is estimated with random nodes in time and one reparametrised draw a node, or a pair of draws
μ ± ε. B (z − μ) is often far larger than what the drift still misses; in a pair its product with
that has no first-order part, so the drift is learned with far less noise. Neither has a bias.

Draws from a wider tube (`tube_width`) ask the drift to follow the linear SDE further away from the
mean than the marginals reach. Paths that err by more than that would else meet a drift that nothing
has taught.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import kl_divergence, register_kl
from torch.distributions.multivariate_normal import MultivariateNormal

from pyro_msde.sde.axes import turned, turned_back
from pyro_msde.sde.gaussian_marginals import GaussianMarginals, Moments, sample_moments
from pyro_msde.sde.latent_sde import LatentSDE

__all__ = ["dense_gain", "diagonal_gain", "drift_residual", "linear_drift"]


def diagonal_gain(var: Tensor, var_dot: Tensor, diffusion: Tensor) -> Tensor:
    """B = ½ (C − Σ̇)/Σ elementwise; var, var_dot (..., time, latent), diffusion (latent,)."""
    return 0.5 * (diffusion - var_dot) / var


def dense_gain(cov: Tensor, cov_dot: Tensor, diffusion: Tensor) -> Tensor:
    """B (..., time, latent, latent), symmetric in the coordinates C^{−½} z.

    In those coordinates the ELBO is exact for every reversible linear system. With Σ = U Λ Uᵀ,
    B = U [ (Uᵀ (I − Σ̇) U)_ij / (λ_i + λ_j) ] Uᵀ: O(n³), never the n² × n² Kronecker system. Of
    Σ's dtype, which should be float64 where its eigenvalues differ by powers of ten.

    Args:
        cov: (..., latent, latent) Σ, symmetric positive definite.
        cov_dot: (..., latent, latent) Σ̇.
        diffusion: (latent,) diagonal of C.
    """
    root = diffusion.sqrt().to(cov.dtype)
    outer = root[:, None] * root
    eye = torch.eye(len(root), dtype=cov.dtype, device=cov.device)
    gain: Tensor = _SymmetricLyapunov.apply(  # type: ignore[no-untyped-call]
        cov / outer, eye - cov_dot / outer
    )
    return root[:, None] * gain / root


class _SymmetricLyapunov(torch.autograd.Function):
    """X of S X + X S = R, S positive definite, R symmetric; (..., n, n).

    Its derivative is the solution of another such equation, so that equal eigenvalues of S, as all
    marginals have them at the start of training, do no harm: those of `eigh` itself would be
    infinite.
    """

    @staticmethod
    def forward(ctx: Any, S: Tensor, R: Tensor) -> Tensor:
        lam, u = torch.linalg.eigh(S)
        X = _in_eigenbasis(lam, u, R)
        ctx.save_for_backward(lam, u, X)
        return X

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        lam, u, X = ctx.saved_tensors
        by_R = _in_eigenbasis(lam, u, 0.5 * (grad + grad.mT))
        return -(by_R @ X + X @ by_R), by_R


def _in_eigenbasis(lam: Tensor, u: Tensor, R: Tensor) -> Tensor:
    rotated = u.mT @ R @ u
    return u @ (rotated / (lam[..., :, None] + lam[..., None, :])) @ u.mT


def linear_drift(
    moments: Moments, z: Tensor, diffusion: Tensor, axes: Tensor | None = None
) -> Tensor:
    """μ̇ − B (z − μ), the drift of the linear SDE with these marginals; shaped as z.

    Args:
        moments: Of the marginals.
        z: (..., time, latent).
        diffusion: (latent,) C along `axes`.
        axes: (latent, latent) in whose columns C is diagonal; None: the states.
    """
    mean, mean_dot, cov, cov_dot, own = moments
    away = turned(z - mean, axes)
    if cov.ndim == mean.ndim and _same(own, axes):
        pull = diagonal_gain(cov, cov_dot, diffusion) * away
    else:
        _, _, cov, cov_dot, _ = moments.dense()
        if axes is not None:
            Q = axes.to(cov.dtype)
            cov, cov_dot = Q.mT @ cov @ Q, Q.mT @ cov_dot @ Q
        gain = dense_gain(cov, cov_dot, diffusion).to(z.dtype)
        pull = (gain @ away[..., None])[..., 0]
    return mean_dot - turned_back(pull, axes)


def _same(own: Tensor | None, axes: Tensor | None) -> bool:
    if own is None or axes is None:
        return own is axes
    return own is axes or torch.equal(own, axes)


def drift_residual(
    q: GaussianMarginals,
    p: LatentSDE,
    *,
    num_nodes: int = 64,
    antithetic: bool = False,
    tube_width: float = 1.0,
) -> Tensor:
    """(segment,) ½∫E‖r‖²_{C⁻¹}dt, with KL(q(z₀) ‖ p(z₀)) where the prior states it.

    The estimate is random and has no bias. With the default arguments it is registered with torch
    and Pyro as the divergence of q from p.

    Args:
        q: The guide's marginals.
        p: The prior of the path.
        num_nodes: Quadrature nodes a segment.
        antithetic: A pair of opposite draws is taken at each node, not one draw.
        tube_width: Draws are taken so many times as far from the mean: 1 for the divergence itself.
    """
    times, weights = q.quadrature.draw(num_nodes)
    moments = q.moments(times)
    noise = tube_width * torch.randn_like(moments.mean)
    noise = torch.stack([noise, -noise]) if antithetic else noise[None]
    z = sample_moments(moments.mean, moments.cov, noise, moments.axes)
    residual = linear_drift(moments, z, p.diffusion, p.noise_axes) - p.drift(z, times)
    whitened = turned(residual, p.noise_axes).square() / p.diffusion
    integrand = 0.5 * whitened.sum(-1).mean(0)
    total = (integrand * weights.to(integrand.dtype)).sum(-1)
    if p.initial_weight is not None:
        total = total + p.initial_weight.to(total.dtype) * _initial_divergence(q, p)
    return total


@register_kl(GaussianMarginals, LatentSDE)
def _divergence(q: GaussianMarginals, p: LatentSDE) -> Tensor:
    return drift_residual(q, p)


def _initial_divergence(q: GaussianMarginals, p: LatentSDE) -> Tensor:
    """KL(q(z(t₀)) ‖ p(z(t₀))) of each segment's first time."""
    mean, cov = q.mean[..., 0, :], q.at_times.dense().cov[..., 0, :, :]
    prior = MultivariateNormal(p.initial_mean, torch.diag_embed(p.initial_var))
    return kl_divergence(MultivariateNormal(mean, cov.to(mean.dtype)), prior)
