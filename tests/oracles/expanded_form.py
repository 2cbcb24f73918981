"""The Product of Experts written out (Ilersich & Nair 2025, eq. 6), for dense precisions too."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def expanded_log_density(
    residual: Tensor, detail: Tensor, prec_zeta: Tensor, prec_eta: Tensor
) -> tuple[Tensor, Tensor]:
    """Log density in the expanded form (6), and the scale-separation penalty ½‖D‖²_Λ'.

    Args:
        residual: (..., n) r = y − T_p ζ.
        detail: (..., n) D(η).
        prec_zeta: (n, n) S_ζ, symmetric positive definite.
        prec_eta: (n, n) S_η, symmetric positive definite.

    Returns:
        log p and the penalty, each (...,).
    """
    total = prec_zeta + prec_eta
    penalty_matrix = prec_eta @ torch.linalg.solve(total, prec_eta)

    def form(a: Tensor, matrix: Tensor, b: Tensor) -> Tensor:
        return torch.einsum("...i,ij,...j->...", a, matrix, b)

    penalty = 0.5 * form(detail, penalty_matrix, detail)
    constant = 0.5 * torch.logdet(total) - 0.5 * residual.shape[-1] * math.log(2 * math.pi)
    cross = form(residual, prec_eta, detail)
    return constant - 0.5 * form(residual, total, residual) + cross - penalty, penalty
