"""Axes along which noise is independent: C = Q diag(c) Qᵀ, Q orthogonal.

Without them the states are these axes. A covariance that is diagonal along the same Q stays so
between observations, so that all that is done for diagonal ones serves along other axes as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

__all__ = ["along", "covariance", "noise_axes", "turned", "turned_back"]


def noise_axes(bound: Any) -> Tensor | None:
    """Q (latent, latent) of a bound model or a law, its columns; None: the states themselves."""
    axes: Tensor | None = getattr(bound, "noise_axes", None)
    return axes


def turned(z: Tensor, axes: Tensor | None) -> Tensor:
    """Components Qᵀ z of states (..., latent) along the axes."""
    return z if axes is None else z @ axes.to(z.dtype)


def turned_back(components: Tensor, axes: Tensor | None) -> Tensor:
    """States Q w (..., latent) of components."""
    return components if axes is None else components @ axes.mT.to(components.dtype)


def along(
    drift: Callable[[Tensor, Tensor], Tensor], axes: Tensor | None
) -> Callable[[Tensor, Tensor], Tensor]:
    """The drift of components w = Qᵀ z, whose noise is independent."""
    if axes is None:
        return drift
    return lambda w, t: turned(drift(turned_back(w, axes), t), axes)


def covariance(variances: Tensor, axes: Tensor | None) -> Tensor:
    """Q diag(v) Qᵀ, (..., latent, latent), of variances (..., latent) along the axes."""
    if axes is None:
        return variances.diag_embed()
    Q = axes.to(variances.dtype)
    return (Q * variances[..., None, :]) @ Q.mT
