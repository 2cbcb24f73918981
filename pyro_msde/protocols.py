"""What the library asks of the parts that a user may replace, each in a small protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributions import Distribution

    from pyro_msde.data import SegmentBatch
    from pyro_msde.sde import GaussianMarginals, LatentSDE

__all__ = ["BoundModel", "Guide", "Model"]


class BoundModel(Protocol):
    """A model at one draw of θ, in scaled units. Programs, guides and forecasts call it."""

    @property
    def operators(self) -> Any:
        """What guides encode with: `restrict`, `prolong`, `smooth` and `sample` fields."""

    @property
    def diffusion(self) -> Tensor:
        """(latent,) positive, the diagonal of C."""

    def drift(self, z: Tensor, t: Tensor, parameters: Tensor | None = None) -> Tensor:
        """γ(z, t), shaped as z (..., segment, time, latent); t is (segment, time) float64."""

    def observe(self, z: Tensor) -> Distribution:
        """p(y|z) of each element of fields (..., channel, *space), from z (..., latent)."""


class Model(Protocol):
    """A generative model, a `torch.nn.Module` and Pyro program. `fit` and `Fit` call it.

    A model that grows, or whose variances are closed at the end, offers more; see `Multiscale`.
    """

    grid: Any
    n_eta: int

    @property
    def num_latent(self) -> int:
        """Number of latent states, those of the grid's coarse points and n_eta."""

    def __call__(self, batch: SegmentBatch) -> Any:
        """The program: `path` under `path_law`, and fields observed under `observe`."""

    def bind(self, sites: Mapping[str, Tensor] | None = None) -> BoundModel:
        """The model at a draw of θ; without one, at what the program's own sites say."""

    def path_law(self, bound: Any, batch: SegmentBatch) -> LatentSDE:
        """The latent SDE on the batch's times."""


class Guide(Protocol):
    """A variational guide, a `torch.nn.Module` and Pyro program. `fit` and `Fit` call it."""

    def __call__(self, batch: SegmentBatch) -> Any:
        """The program: θ from `read_theta`, and `path` under `path_marginals`."""

    def read_theta(self) -> dict[str, Tensor]:
        """Draw θ from q(θ): values of the model's sites by name; none where θ is a point."""

    def encode(
        self, values: Tensor, bound: BoundModel, parameters: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """q(z|y) of fields (..., channel, *space), where forecasts start: mean and variance."""

    def path_marginals(self, batch: SegmentBatch, bound: BoundModel) -> GaussianMarginals:
        """q(z|t) over the batch's segments, which may depend on the model's diffusion."""
