"""The latent SDE of a forecast, dz = γ(z, t) dt + √C dβ from z(t₀), before it is integrated."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Generator, Tensor

from pyro_msde.networks import LinearPart
from pyro_msde.protocols import Model

__all__ = ["Dynamics"]


@dataclass(frozen=True)
class Dynamics:
    """What is integrated for some draws of θ, and what an `Adjustment` changes, in scaled units.

    Attributes:
        model: The generative model.
        drift: γ(z, t, covariates), z (path, row, 1, latent), which takes covariates as a `Drift`
            does; a network unless it was adjusted.
        diffusion: (latent,) the diagonal of C, along `noise_axes`.
        encoded: (row, latent) mean of z(t₀) for each initial field.
        start: (path, row, latent) draws of z(t₀), those of a draw of θ side by side.
        generator: Of the CPU. At every draw of θ it gives the same numbers: who needs other ones at
            each makes `num_draws` of them and takes its own.
        draws: Which draws of θ the paths belong to, in equal shares.
        num_draws: Draws of θ altogether.
        box: (2, row, latent) ends of the states at which the drift was learned; None: not known.
        spread: Multiple of the distances of `start` from `encoded` at which paths start; a filter
            of several snapshots takes these as they are.
        longest_step: In training horizons, at which the midpoint rule is stable beside the drift.
        noise_axes: (latent, latent) orthogonal, in whose columns C is diagonal; None: the states.
        linear_part: From covariates (row, p), or None, and states (..., latent) to the stiff linear
            part of the drift; None: it has none that is known.
        coefficients: (draw, channel, term) of the drift's equation at these draws, if they are
            random.
    """

    model: Model
    drift: Callable[..., Tensor]
    diffusion: Tensor
    encoded: Tensor
    start: Tensor
    generator: Generator
    draws: range = range(1)
    num_draws: int = 1
    box: Tensor | None = None
    spread: float = 1.0
    longest_step: float = math.inf
    noise_axes: Tensor | None = None
    linear_part: Callable[[Tensor | None, Tensor], LinearPart] | None = None
    coefficients: Tensor | None = None

    def with_noise(self, scale: float, start: float) -> Dynamics:
        """With so many times the path noise √C, and so many times the spread of the start."""
        return replace(self, diffusion=self.diffusion * scale**2, spread=self.spread * start)
