"""Product of Experts (Ilersich & Nair 2025, eqs. 6, 15–24, 30–31): mean and variance of fields.

The experts p(y|ζ) = N(T_p ζ, S_ζ⁻¹) and p(y − T_p ζ|η) = N(D(η), S_η⁻¹) multiply to

    p(y|ζ, η) = N( T_p ζ + Σ_y S_η D(η), Σ_y ),        Σ_y = (S_ζ + S_η)⁻¹.

S_ζ and S_η are not separately identified; Σ_y and Σ_y S_η D(η) are. With diagonal precisions,
written here by the experts' variances v_ζ and v_η, Σ_y S_η = v_ζ / (v_ζ + v_η).
Others are in `pyro_msde/likelihoods/precisions.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_msde.likelihoods.precisions import Precision

__all__ = ["correlated_product_mean", "product_mean", "product_variance"]


def product_variance(var_zeta: Tensor, var_eta: Tensor | None) -> Tensor:
    """Σ_y of diagonal experts, elementwise; the macroscale expert's alone without the other."""
    return var_zeta if var_eta is None else var_zeta * var_eta / (var_zeta + var_eta)


def product_mean(
    macro: Tensor, detail: Tensor | None, var_zeta: Tensor, var_eta: Tensor | None
) -> Tensor:
    """T_p ζ + Σ_y S_η D(η) of diagonal experts, elementwise."""
    if detail is None or var_eta is None:
        return macro
    return torch.addcmul(macro, var_zeta / (var_zeta + var_eta), detail)


def correlated_product_mean(
    macro: Tensor,
    detail: Tensor | None,
    prec_eta: Precision | None,
    precision: Precision,
    field_ndim: int,
) -> Tensor:
    """T_p ζ + Σ_y S_η D(η) of any precisions.

    Args:
        macro: T_p ζ, (..., channel, *space).
        detail: D(η), shaped alike; None: there is one expert.
        prec_eta: S_η, of fields flattened; None likewise.
        precision: S_ζ + S_η.
        field_ndim: Number of axes of a field, the channel's and those of space.
    """
    if detail is None or prec_eta is None:
        return macro
    part: Tensor = precision.solve(prec_eta.times(detail.flatten(-field_ndim).double())).to(macro)
    return macro + part.unflatten(-1, macro.shape[-field_ndim:])
