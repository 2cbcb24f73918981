"""Spike and slab: a parameter is all but zero, or it may be large (George & McCulloch 1993).

    w ~ (1 − π) N(0, spike²) + π N(0, slab²)

with the choice between the two summed out, so that guides and NUTS see a density.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pyro.distributions import Normal, TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyro_msde.checks import check_number

__all__ = ["SpikeAndSlab"]


class SpikeAndSlab(TorchDistribution):
    """The prior of one parameter, for `pyro_msde.priors.bayesian`.

    Args:
        inclusion: π, how likely it is that a parameter is there.
        spike: Standard deviation of one that is not.
        slab: Of one that is.

    Raises:
        ValueError: Numbers that are not positive; π that is not below one, or a spike that is not
            narrower than the slab.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "inclusion": constraints.unit_interval,
        "spike": constraints.positive,
        "slab": constraints.positive,
    }
    support = constraints.real
    has_rsample = False

    def __init__(
        self, inclusion: Any = 0.5, spike: Any = 0.01, slab: Any = 1.0, validate_args: Any = None
    ) -> None:
        numbers = {"inclusion": inclusion, "spike": spike, "slab": slab}
        for name, value in numbers.items():
            if not isinstance(value, Tensor):
                numbers[name] = check_number(name, value)
        given = (
            torch.as_tensor(value, dtype=torch.get_default_dtype())
            for value in (numbers["inclusion"], numbers["spike"], numbers["slab"])
        )
        self.inclusion, self.spike, self.slab = torch.broadcast_tensors(*given)
        if not bool((self.inclusion < 1).all()):
            raise ValueError(f"inclusion={inclusion}: give a probability between 0 and 1.")
        if not bool((self.spike < self.slab).all()):
            raise ValueError(f"spike={spike}: give less than the slab's {slab}.")
        super().__init__(self.inclusion.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> SpikeAndSlab:
        """The same for each of a batch."""
        shape = torch.Size(batch_shape)
        inclusion, spike, slab = (x.expand(shape) for x in (self.inclusion, self.spike, self.slab))
        return SpikeAndSlab(inclusion, spike, slab, validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws."""
        shape = self._extended_shape(torch.Size(sample_shape))
        there = torch.rand(shape).to(self.inclusion) < self.inclusion
        return torch.where(there, self.slab, self.spike) * torch.randn(shape).to(self.slab)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density."""
        return torch.stack(self._parts(value)).logsumexp(0)

    def probability_of_slab(self, value: Tensor) -> Tensor:
        """How likely it is that parameters of these values are there, shaped as they are.

        Averaged over draws of a posterior it is the posterior probability of inclusion.
        """
        return torch.stack(self._parts(value)).softmax(0)[1]

    def _parts(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Log densities of spike and slab, times their shares."""
        spike = (-self.inclusion).log1p() + Normal(0.0, self.spike).log_prob(value)
        slab = self.inclusion.log() + Normal(0.0, self.slab).log_prob(value)
        return spike, slab
