"""Precisions of experts beyond diagonal ones, and of their product (Ilersich & Nair 2025, 15–24).

An expert is N(m, S⁻¹); experts multiply to the normal of precision S = Σ_k S_k. Fields x are
flattened to (..., n). Low-rank ones have an expert's covariance in the form

    S⁻¹ = √v (I + V Vᵀ) √v,      v (n,),  V (n, r):   r patterns vary beyond what points do alone,

hence, by Woodbury, S = D − U Uᵀ with D = 1/v, U = V C⁻ᵀ/√v and C Cᵀ = I + Vᵀ V, and sums of such
S are of the same form. With K = I − Uᵀ D⁻¹ U, positive definite,

    S⁻¹ = D⁻¹ + D⁻¹ U K⁻¹ Uᵀ D⁻¹,      |S| = |D| |K|,

and of those elements o that were observed, m being the others, the marginal precision is

    S_o = D_o − U_o M⁻¹ U_oᵀ,    M = I − U_mᵀ D_m⁻¹ U_m,      |S_o| = |D_o| |K| / |M|.

Nothing of size n × n is made; `Dense` has such matrices, because they were asked for. Numbers are
float64: where a pattern is wide, what is left of a difference is little.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

__all__ = ["Dense", "LowRank", "Precision"]


@dataclass(frozen=True, eq=False)
class LowRank:
    """S = diag(D) − U Uᵀ.

    Attributes:
        diagonal: D, (n,) positive.
        factor: U, (n, r), with I − Uᵀ D⁻¹ U positive definite.
    """

    diagonal: Tensor
    factor: Tensor

    @classmethod
    def of_patterns(cls, variance: Tensor, patterns: Tensor) -> LowRank:
        """That of the covariance √v (I + V Vᵀ) √v, from v (n,) and V (n, r)."""
        variance, patterns = variance.double(), patterns.double()
        chol = torch.linalg.cholesky(_identity(patterns) + patterns.mT @ patterns)
        return cls(1 / variance, _times_inverse(patterns / variance.sqrt()[:, None], chol))

    def plus(self, other: LowRank) -> LowRank:
        """Of the product of two experts."""
        factor = torch.cat([self.factor, other.factor], 1)
        return LowRank(self.diagonal + other.diagonal, factor)

    def times(self, x: Tensor) -> Tensor:
        """S x, of x (..., n)."""
        return self.diagonal * x - (x @ self.factor) @ self.factor.mT

    def solve(self, x: Tensor) -> Tensor:
        """S⁻¹ x, of x (..., n)."""
        return x / self.diagonal + (x @ self._root) @ self._root.mT

    @cached_property
    def variance(self) -> Tensor:
        """(n,) of each element, the diagonal of S⁻¹."""
        return 1 / self.diagonal + self._root.square().sum(1)

    def coloured(self, noise: Tensor) -> Tensor:
        """A draw of N(0, S⁻¹) from one of N(0, I), both (..., n): √D⁻¹ (I − W Wᵀ)^(−½) noise.

        W = √D⁻¹ U has Wᵀ W = E Λ Eᵀ, and (I − W Wᵀ)^(−½) = I + W E f(Λ) Eᵀ Wᵀ with
        f(λ) = ((1 − λ)^(−½) − 1)/λ.
        """
        sd = self.diagonal.rsqrt()
        W = self.factor * sd[:, None]
        size, E = torch.linalg.eigh(W.mT @ W)
        root = (1 - size).rsqrt()
        gain = root.square() / (1 + root)  # f without the difference
        return sd * (noise + (((noise @ W) @ E) * gain) @ (W @ E).mT)

    def squares(self, x: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor]:
        """xᵀ S_o x and log |S_o| of those elements of x (..., n) that were observed, (...) each.

        Args:
            x: Errors.
            observed: Bool, shaped alike; None: all.
        """
        D, U = self.diagonal, self.factor
        log_det = D.log().sum() + _log_det(self._chol)
        if observed is None:
            return (D * x.square()).sum(-1) - (x @ U).square().sum(-1), log_det.expand(x.shape[:-1])
        x, missing = x.where(observed, 0), (~observed).to(x)
        products = (U[:, :, None] * (U / D[:, None])[:, None]).flatten(1)  # (n, r²)
        M = _identity(U) - (missing @ products).unflatten(-1, (U.shape[1],) * 2)
        chol = torch.linalg.cholesky(M)
        along = torch.linalg.solve_triangular(chol, (x @ U)[..., None], upper=False)[..., 0]
        squares = (D * x.square()).sum(-1) - along.square().sum(-1)
        return squares, log_det - missing @ D.log() - _log_det(chol)

    @cached_property
    def _chol(self) -> Tensor:
        """Of K."""
        U = self.factor
        return torch.linalg.cholesky(_identity(U) - U.mT @ (U / self.diagonal[:, None]))

    @cached_property
    def _root(self) -> Tensor:
        """D⁻¹ U times a root of K⁻¹, (n, r)."""
        return _times_inverse(self.factor / self.diagonal[:, None], self._chol)


@dataclass(frozen=True, eq=False)
class Dense:
    """S as it is, (n, n).

    Attributes:
        matrix: S, symmetric and positive definite.
    """

    matrix: Tensor

    def plus(self, other: Dense) -> Dense:
        """Of the product of two experts."""
        return Dense(self.matrix + other.matrix)

    def times(self, x: Tensor) -> Tensor:
        """S x, of x (..., n)."""
        return x @ self.matrix

    def solve(self, x: Tensor) -> Tensor:
        """S⁻¹ x, of x (..., n)."""
        return x @ self._covariance

    @cached_property
    def variance(self) -> Tensor:
        """(n,) of each element, the diagonal of S⁻¹."""
        return self._covariance.diagonal()

    def coloured(self, noise: Tensor) -> Tensor:
        """A draw of N(0, S⁻¹) from one of N(0, I), both (..., n)."""
        rows = noise.reshape(-1, noise.shape[-1])
        drawn = torch.linalg.solve_triangular(self._chol, rows, upper=False, left=False)
        return drawn.reshape(noise.shape)

    def squares(self, x: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor]:
        """As `LowRank.squares`; a matrix of its own for each snapshot with gaps."""
        if observed is None:
            return (x @ self._chol).square().sum(-1), _log_det(self._chol).expand(x.shape[:-1])
        seen = observed.to(x)
        # ones on the diagonal of what is missing, which counts nothing
        covariance = self._covariance * seen[..., None] * seen[..., None, :]
        chol = torch.linalg.cholesky(covariance + torch.diag_embed(1 - seen))
        away = torch.linalg.solve_triangular(chol, x.where(observed, 0)[..., None], upper=False)
        return away.square().sum((-2, -1)), -_log_det(chol)

    @cached_property
    def _chol(self) -> Tensor:
        return torch.linalg.cholesky(self.matrix)

    @cached_property
    def _covariance(self) -> Tensor:
        return torch.cholesky_inverse(self._chol)


Precision = LowRank | Dense


def _identity(like: Tensor) -> Tensor:
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)


def _times_inverse(x: Tensor, chol: Tensor) -> Tensor:
    """Rows x (n, r) times C⁻ᵀ, C lower triangular."""
    return torch.linalg.solve_triangular(chol.mT, x, upper=True, left=False)


def _log_det(chol: Tensor) -> Tensor:
    return 2 * chol.diagonal(dim1=-2, dim2=-1).log().sum(-1)
