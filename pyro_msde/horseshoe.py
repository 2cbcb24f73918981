"""Horseshoe prior: a few parameters may be large, the others are all but zero.

    w_j ~ N(0, (τ λ̃_j s_j)²),   λ_j ~ C⁺(0, 1),   τ ~ C⁺(0, τ₀),
    λ̃_j² = c² λ_j² / (c² + τ² λ_j²),   c² ~ Inv-Γ(ν/2, ν s²/2)

(Carvalho, Polson & Scott 2010; the slab c that keeps large parameters finite, Piironen & Vehtari
2017). s_j = 1/√fan-in for weights, as in `fan_in_normal`, and one for biases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions import HalfCauchy, InverseGamma, Normal
from pyro.nn import PyroSample
from torch import Tensor

from pyro_msde.checks import check_number

__all__ = ["Horseshoe"]


@dataclass(frozen=True)
class Horseshoe:
    """The regularised horseshoe, for `pyro_msde.priors.bayesian`.

    Beside `<part>.theta` it makes the sites `<part>.global_scale` τ, `<part>.local_scales` λ
    (parameter,) and `<part>.slab` c².

    Attributes:
        global_scale: τ₀; about the expected ratio of large parameters to small ones.
        slab_scale: s, of large parameters. None: no slab, the plain horseshoe.
        slab_df: ν, the slab's degrees of freedom.

    Raises:
        ValueError: A number that is not positive.
    """

    global_scale: float = 0.1
    slab_scale: float | None = 1.0
    slab_df: float = 4.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("global_scale", "slab_scale", "slab_df"):
            value = getattr(self, name)
            if name != "slab_scale" or value is not None:
                check_number(name, value)

    def attach(self, part: Any, units: Tensor) -> None:
        """Give a part the sites.

        Args:
            part: Whose parameters get the prior.
            units: (parameter,) s_j.
        """
        like = torch.ones_like(units)
        part.global_scale = PyroSample(self._global(like[0]))
        part.local_scales = PyroSample(HalfCauchy(like).to_event(1))
        if self.slab_scale is not None:
            part.slab = PyroSample(self._slab(like[0]))
        part.register_buffer("units", units, persistent=False)  # which moves with the part

        part.theta = PyroSample(_Scaled(self.slab_scale is not None))

    def start(self, theta: Tensor, units: Tensor) -> dict[str, Tensor]:
        """Where a guide starts: every scale fits the parameters at hand.

        Args:
            theta: (parameter,) values.
            units: (parameter,) s_j.
        """
        size = (theta / units).abs()
        tau = size.median().clamp(min=1e-3)
        sites = {"global_scale": tau, "local_scales": (size / tau).clamp(0.1, 10.0)}
        if self.slab_scale is not None:
            sites["slab"] = torch.full_like(tau, self.slab_scale**2)
        self._check_start(sites)
        return sites

    def _check_start(self, sites: Mapping[str, Tensor]) -> None:
        """Refuse scales at which the prior's density underflows where a guide starts."""
        like = sites["global_scale"]
        densities = {"global_scale": self._global(like).log_prob(like)}
        if self.slab_scale is not None:
            densities["slab_scale"] = self._slab(like).log_prob(sites["slab"])
        for name, density in densities.items():
            if not bool(density.isfinite()):
                raise ValueError(
                    f"{name}={getattr(self, name)}: no finite density at {float(like):.3g}, where "
                    "guides start. Give one nearer to 1."
                )

    def _global(self, like: Tensor) -> HalfCauchy:
        return HalfCauchy(torch.full_like(like, self.global_scale))

    def _slab(self, like: Tensor) -> InverseGamma:
        shape = torch.full_like(like, 0.5 * self.slab_df)
        return InverseGamma(shape, shape * float(self.slab_scale or 0.0) ** 2)


class _Scaled:
    """p(θ | τ, λ, c²) of a part; a class, as functions within functions cannot be pickled.

    Args:
        has_slab: Whether there is c².
    """

    def __init__(self, has_slab: bool) -> None:
        self.has_slab = has_slab
        self.__name__ = self.__qualname__ = "scaled"  # Pyro asks for a function's names

    def __call__(self, part: Any) -> Any:
        # the order of reading is the order of sites: scales come before what they scale
        tau, lam = part.global_scale, part.local_scales
        sd = tau * lam
        if self.has_slab:
            sd = sd * (1 + sd.square() / part.slab).rsqrt()
        return Normal(torch.zeros_like(sd), sd * part.units.to(sd)).to_event(1)
