"""Horseshoe prior: a few parameters may be large, the others are all but zero.

    w_j ~ N(0, (τ λ̃_j s_j)²),   λ_j ~ C⁺(0, 1),   τ ~ C⁺(0, τ₀),
    λ̃_j² = c² λ_j² / (c² + τ² λ_j²),   c² ~ Inv-Γ(ν/2, ν s²/2)

(Carvalho, Polson & Scott 2010; the slab c that keeps large parameters finite, Piironen & Vehtari
2017). s_j = 1/√fan-in for weights, as in `fan_in_normal`, and one for biases.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from pyro.distributions import HalfCauchy, InverseGamma, Normal
from pyro.nn import PyroSample
from torch import Tensor

from pyro_msde.checks import check_number
from pyro_msde.priors.laws import add_site

__all__ = ["Horseshoe"]

_LARGEST = 1e12  # beyond it, and below its inverse, densities leave float32


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
        ValueError: A number that is not from 1e-12 to 1e12.
    """

    global_scale: float = 0.1
    slab_scale: float | None = 1.0
    slab_df: float = 4.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("global_scale", "slab_scale", "slab_df"):
            value = getattr(self, name)
            if name != "slab_scale" or value is not None:
                number = check_number(name, value)
                if not 1 / _LARGEST <= number <= _LARGEST:
                    raise ValueError(
                        f"{name}={number}: give a number from {1 / _LARGEST:g} to {_LARGEST:g}."
                    )
                object.__setattr__(self, name, number)

    def attach(self, part: Any, units: Tensor) -> None:
        """Give a part the sites.

        Args:
            part: Whose parameters get the prior.
            units: (parameter,) s_j.
        """
        like = torch.ones_like(units)
        add_site(part, "global_scale", HalfCauchy(self.global_scale * like[0]))
        add_site(part, "local_scales", HalfCauchy(like).to_event(1))
        if self.slab_scale is not None:
            shape = 0.5 * self.slab_df * like[0]
            add_site(part, "slab", InverseGamma(shape, shape * self.slab_scale**2))
        part.register_buffer("units", units, persistent=False)  # which moves with the part
        part.theta = PyroSample(partial(_scaled, has_slab=self.slab_scale is not None))

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
        return sites


def _scaled(part: Any, has_slab: bool) -> Any:
    """p(θ | τ, λ, c²) of a part that has the sites."""
    # the order of reading is the order of sites: scales come before what they scale
    tau, lam = part.global_scale, part.local_scales
    sd = tau * lam
    if has_slab:
        sd = sd * (1 + sd.square() / part.slab).rsqrt()
    return Normal(torch.zeros_like(sd), sd * part.units.to(sd)).to_event(1)
