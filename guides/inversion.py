"""Microscale states of snapshots without an encoder: least squares by Levenberg and Marquardt."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["fit_states"]

_EASIER, _HARDER = 1 / 3, 4.0  # damping after a step that helped, and after one that did not


@torch.no_grad()
def fit_states(
    decoder: Callable[[Tensor], Tensor],
    start: Tensor,
    target: Tensor,
    weight: Tensor,
    *,
    iterations: int = 20,
) -> Tensor:
    """Argmin over η of Σ weight (target − D(η))², each row by itself; (row, n_eta).

    Args:
        decoder: D, from (..., n_eta) to (..., *field).
        start: (row, n_eta).
        target: (row, *field).
        weight: (row or 1, *field) not negative.
        iterations: Steps, of which those that do not help a row are not taken there.
    """
    roots = weight.sqrt().expand(target.shape)

    def weighted(eta: Tensor, root: Tensor) -> tuple[Tensor, Tensor]:
        value = (root * decoder(eta[None])[0]).flatten()
        return value, value

    both = torch.func.vmap(torch.func.jacfwd(weighted, has_aux=True))
    goal = (roots * target).flatten(1)
    eta, (jacobian, value) = start, both(start, roots)
    loss = (goal - value).square().sum(1)
    damping = torch.full_like(loss, 1e-3)
    for _ in range(iterations):
        J, r = jacobian.double(), (goal - value).double()
        normal = J.mT @ J
        scale = normal.diagonal(dim1=1, dim2=2).clamp(min=torch.finfo(eta.dtype).tiny)
        damped = normal + torch.diag_embed(damping.double()[:, None] * scale)
        step = torch.linalg.solve(damped, (J.mT @ r[..., None]))[..., 0].to(eta.dtype)
        proposal = eta + step
        new_jacobian, new_value = both(proposal, roots)
        new_loss = (goal - new_value).square().sum(1)
        better = new_loss < loss
        eta = torch.where(better[:, None], proposal, eta)
        value = torch.where(better[:, None], new_value, value)
        jacobian = torch.where(better[:, None, None], new_jacobian, jacobian)
        loss = torch.where(better, new_loss, loss)
        damping = damping * torch.where(better, _EASIER, _HARDER)
    return eta
