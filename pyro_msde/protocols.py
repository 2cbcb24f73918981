"""What the library asks of parts that a user may replace: small protocols, one a kind of part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import Generator, Tensor

if TYPE_CHECKING:
    from typing_extensions import Self

    from pyro_msde.sde import Dynamics

__all__ = ["Adjustment", "Solver"]


class Adjustment(Protocol):
    """A change of forecasts that leaves the weights alone, such as a `Region`.

    `Fit.predict` calls `apply` at each draw of θ, one adjustment after the other in the order of
    `fit.adjustments`. `Fit.save` writes what `to_dict` gives, tensors among the weights; `load`
    passes it to `from_dict` of the class registered under `name`
    (`pyro_msde.runs.register_adjustment`).

    Attributes:
        name: By which a fit and a saved run know it: letters, digits and underscores.
        is_random: Whether it differs between draws of θ, so that forecasts make several.
    """

    name: ClassVar[str]
    is_random: ClassVar[bool]

    def apply(self, dynamics: Dynamics) -> Dynamics:
        """The dynamics, adjusted."""

    def to_dict(self) -> Mapping[str, Any]:
        """Numbers, lists, strings and tensors by name."""

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], model: Any) -> Self:
        """What `to_dict` gave; a ValueError says where it does not fit the model."""


class Solver(Protocol):
    """What `Fit.predict(solver=…)` calls for paths of dz = γ(z, t) dt + √C dβ, C diagonal.

    drift takes z (path, row, 1, latent) and t (row, 1) float64; diffusion is C (latent,); start is
    (path, row, latent); times are (row, time) float64 in training horizons, increasing, the first
    being that of start. No step is longer than max_step. The noise comes from `generator`, which is
    of the CPU. Returns (path, row, time, latent).
    """

    def __call__(
        self,
        drift: Callable[[Tensor, Tensor], Tensor],
        diffusion: Tensor,
        start: Tensor,
        times: Tensor,
        *,
        max_step: float,
        generator: Generator,
    ) -> Tensor:
        """Paths at the times."""
