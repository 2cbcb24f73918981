"""What the library asks of parts that a user may replace: small protocols, one a kind of part.

`pyro_msde.testing` has checks that try an object of your own, `examples/extending` has examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Generator, Tensor, dtype, nn
from torch.distributions import Distribution

if TYPE_CHECKING:
    from typing_extensions import Self

    from pyro_msde.data import Metadata, Scaling, SegmentBatch, Segments, Trajectories
    from pyro_msde.forecasts import Forecast
    from pyro_msde.grid import (
        ClusterOperators,
        GraphOperators,
        NeighbourSums,
        ScaleOperators,
        Stencil,
    )
    from pyro_msde.inference import TrainingView
    from pyro_msde.runs import TrainingRecord
    from pyro_msde.sde import Dynamics, GaussianMarginals, LatentSDE

__all__ = [
    "Adjustment",
    "BoundModel",
    "Boundary",
    "Callback",
    "Drift",
    "FittedModel",
    "FreeNodes",
    "Guide",
    "LastLayer",
    "LinearReadout",
    "Model",
    "Module",
    "Places",
    "PolynomialDrift",
    "SolvableLastLayer",
    "SolvableReadout",
    "Solver",
    "StencilDrift",
]

# ruff: noqa: D102  (the docstring of a protocol may say what its members are)


@runtime_checkable
class Boundary(Protocol):
    """One end of an axis: what stands beyond its last point, and where its wall is.

    `Grid` asks it, for operators, stencils and coordinates. The value at each `distance` (1, 2, …
    points beyond the end) is `weight` times the value at `source`, counted inwards from this end:
    0 is its last point; n and more lie beyond the other end, which then is asked in turn. `n` is
    the number of points on the axis; either answer may be one number for all distances. `wall` is
    the distance of the domain's end from the last point, in spacings, 1 at most: half of distance −
    source where ghosts are the field's mirror image. Must be hashable, and equal to its copies: a
    frozen dataclass is both.
    """

    @property
    def wall(self) -> float: ...

    def ghosts(self, distance: NDArray[np.int64], n: int) -> tuple[ArrayLike, ArrayLike]: ...


@runtime_checkable
class Places(Protocol):
    """Where fields and macroscale states are: `Grid`, `SensorGraph`; models and networks ask it.

    `regular`: fields have axes with even spacing. `periodic`: per axis, whether it is a ring.
    `kernel`: κ at the start. `half_width`: of a stencil at most so wide, and no wider than fits.
    `shape`: points per axis that models see; `data_shape`: those of the user's fields, without the
    `padding` before and after. `locations`: (num_coarse, k) features of where coarse points are.
    `coordinates`: per axis, of the fields' points; `coarse_index`: per axis, which of them are
    coarse. `mask`: (channel, *space) of the fields' points, True where there is a field; None:
    everywhere. `admits_constant`: by channel, whether the boundaries allow a constant. `filled`:
    fields, with padding, whose gaps are filled in. `unseen_points`, `unseen_states`: from where
    fields were observed, the share of their variance that is left at each point, and of each
    macroscale state and, last, of microscale states.
    """

    @property
    def regular(self) -> bool: ...
    @property
    def channels(self) -> int: ...
    @property
    def ndim(self) -> int: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def data_shape(self) -> tuple[int, ...]: ...
    @property
    def padding(self) -> tuple[tuple[int, int], ...]: ...
    @property
    def coarse(self) -> tuple[int, ...]: ...
    @property
    def stride(self) -> tuple[int, ...]: ...
    @property
    def periodic(self) -> tuple[bool, ...]: ...
    @property
    def num_points(self) -> int: ...
    @property
    def num_coarse(self) -> int: ...
    @property
    def num_zeta(self) -> int: ...
    @property
    def mask(self) -> NDArray[np.bool_] | None: ...
    @property
    def admits_constant(self) -> tuple[bool, ...]: ...
    @property
    def field_shape(self) -> tuple[int, ...]: ...
    @property
    def coordinates(self) -> tuple[NDArray[np.float64], ...]: ...
    @property
    def coarse_index(self) -> tuple[NDArray[np.int64], ...]: ...

    def flatten(self, coarse_field: Tensor) -> Tensor: ...
    def unflatten(self, zeta: Tensor) -> Tensor: ...
    def locations(self) -> Tensor: ...
    def half_width(self, most: int) -> int: ...
    def stencil(self, half_width: int) -> Stencil | NeighbourSums: ...
    def kernel(self, smoothing: str, radius: int) -> Tensor: ...
    def operators(self, kernel: Tensor) -> ScaleOperators | GraphOperators | ClusterOperators: ...
    def filled(self, fields: Tensor, observed: Tensor) -> Tensor: ...
    def unseen_points(self, observed: Tensor, dtype: dtype) -> Tensor: ...
    def unseen_states(self, observed: Tensor, dtype: dtype) -> Tensor: ...
    def to_dict(self) -> dict[str, Any]: ...


class Module(Protocol):
    """What the library asks of any `torch.nn.Module`, for protocols of modules to build on."""

    def children(self) -> Iterator[nn.Module]: ...
    def modules(self) -> Iterator[nn.Module]: ...
    def named_modules(self) -> Iterator[tuple[str, nn.Module]]: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any: ...
    def to(self, *args: Any, **kwargs: Any) -> Any: ...


class BoundModel(Protocol):
    """A model at one draw of θ, in scaled units. Programs, guides and forecasts call it."""

    @property
    def operators(self) -> Any:
        """What guides encode with: `restrict`, `prolong`, `smooth` and `sample` fields."""

    @property
    def diffusion(self) -> Tensor:
        """(latent,) positive, the diagonal of C.

        A model may also have `noise_axes`, (latent, latent) orthogonal, in whose columns C is
        diagonal instead of in the states.
        """

    def drift(self, z: Tensor, t: Tensor, covariates: Tensor | None = None) -> Tensor:
        """γ(z, t), shaped as z (..., segment, time, latent); t is (segment, time) float64.

        `covariates` as a `Drift` takes them.
        """

    def observe(self, z: Tensor) -> Distribution:
        """p(y|z) of each element of fields (..., channel, *space), from z (..., latent)."""


class Model(Module, Protocol):
    """A generative model, a `torch.nn.Module` and Pyro program. `fit` and `Fit` call it.

    A model that grows, or whose variances are closed at the end, offers more; see `Multiscale`.
    """

    grid: Places
    n_eta: int

    @property
    def num_latent(self) -> int:
        """Number of latent states, those of the grid's coarse points and n_eta."""

    def __call__(self, batch: SegmentBatch) -> Any:
        """The program: `path` under `path_law`, and fields observed under `observe`."""

    def bind(self, sites: Mapping[str, Tensor] | None = None) -> BoundModel:
        """The model at a draw of θ; without one, at what the program's own sites say."""

    def path_law(self, bound: BoundModel, batch: SegmentBatch) -> LatentSDE:
        """The latent SDE on the batch's times."""


class Guide(Module, Protocol):
    """A variational guide, a `torch.nn.Module` and Pyro program. `fit` and `Fit` call it."""

    def __call__(self, batch: SegmentBatch) -> Any:
        """The program: θ from `read_theta`, and `path` under `path_marginals`."""

    def read_theta(self) -> dict[str, Tensor]:
        """Draw θ from q(θ): values of the model's sites by name; none where θ is a point."""

    def encode(
        self,
        values: Tensor,
        bound: BoundModel,
        covariates: Tensor | None = None,
        observed: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """q(z|y) of fields (..., channel, *space), where forecasts start: mean and variance.

        `covariates` (..., p + c) are broadcast against the fields, controls last. Fields are filled
        in where `observed` is False; it is None where they are complete.
        """

    def path_marginals(self, batch: SegmentBatch, bound: BoundModel) -> GaussianMarginals:
        """q(z|t) over the batch's segments, which may depend on the model's diffusion."""


@runtime_checkable
class FreeNodes(Protocol):
    """A guide with numbers of its own for each training snapshot; `fit` tells it of the data."""

    def check_data(self, data: Trajectories) -> None:
        """Raise a ValueError where these are not the data that it was made for."""

    def start_nodes(self, segments: Segments) -> None:
        """Let the numbers start from the data, in scaled units."""


@runtime_checkable
class ChoosesInterpolation(Protocol):
    """A guide that can choose how it interpolates between encoded snapshots."""

    def choose_interpolation(self, batches: Sequence[SegmentBatch], bound: BoundModel) -> None:
        """Change its own parameters to what predicts encoded snapshots best from the others."""


class Drift(Protocol):
    """γ(z, t): the ELBO and forecasts call it. What it offers beyond is asked for by name."""

    def __call__(self, z: Tensor, t: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Drift of z (..., segment, time, latent), shaped alike; t (segment, time).

        `covariates` (segment, p) are the trajectories'; where the model has controls, these follow
        at each time: (segment, time, p + c).
        """


@runtime_checkable
class LastLayer(Protocol):
    """A drift whose networks are linear in their last weights; the jackknife calls it.

    γ = offset + joined({name: φ_name W_name}), where known physics may be the offset.
    """

    def features(self, z: Tensor, t: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
        """Features φ (..., p) of each network."""

    def offset(self, z: Tensor, t: Tensor, covariates: Tensor | None = None) -> Tensor | float:
        """The part of the drift that has no last weights."""

    def readout(self) -> dict[str, Tensor]:
        """Last weights W of each network: (p, output), or (point, p, output) of their own."""

    def joined(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """Drift (..., latent) from an output φ W (..., output) of each network; linear."""

    def split(self, values: Tensor) -> dict[str, Tensor]:
        """Outputs of each network from a drift; the inverse of `joined`."""


@runtime_checkable
class SolvableLastLayer(LastLayer, Protocol):
    """A `LastLayer` whose last weights can be set; `fit(refine=True)` solves for them."""

    def set_readout(self, weights: Mapping[str, Tensor]) -> None:
        """Let the last weights be these, shaped as `readout` gives them."""


@runtime_checkable
class LinearReadout(Protocol):
    """A network φ(x) W, linear in its last weights; drifts ask it where they are a `LastLayer`."""

    def features(self, x: Tensor) -> Tensor:
        """φ(x) (..., p)."""

    def readout(self) -> Tensor:
        """W (p, output), or (point, p, output) where x is (..., point, input)."""


@runtime_checkable
class SolvableReadout(LinearReadout, Protocol):
    """A `LinearReadout` whose last weights can be set, so that its drift's can be solved for."""

    def set_readout(self, weights: Tensor) -> None:
        """Let W be these, shaped as `readout` gives them."""


@runtime_checkable
class PolynomialDrift(Protocol):
    """A drift with a polynomial of the states around each coarse point; the regression sets it."""

    has_quadratic: bool

    def neighbourhoods(self, zeta: Tensor, *common: Tensor) -> Tensor:
        """Inputs x (..., point, m) from ζ (..., n_ζ) and numbers (..., any) all points share."""

    def set_polynomial(self, linear: Tensor, quadratic: Tensor) -> None:
        """Let it be A x + xᵀ Q x, with A (channel, m) and Q (channel, m, m) symmetric."""


@runtime_checkable
class StencilDrift(Protocol):
    """A drift that sees of each coarse point the states around it; the region is drawn in these."""

    middle: Sequence[int]  # where in its stencil a coarse point finds its own channels

    def stencils(self, z: Tensor) -> Tensor:
        """Stencils (..., point, k) from states (..., latent), whose first are (channel, point)."""


@runtime_checkable
class Callback(Protocol):
    """Follows training: `fit(callbacks=[…])` calls it. Derive from it and write what you need."""

    def start(self, view: TrainingView) -> None:
        """Called once, before the first step of a run or of what is left of it."""
        return

    def step(self, view: TrainingView) -> bool | None:
        """Called after each step; training ends with this step if the answer is True."""
        return None

    def validation(self, view: TrainingView) -> bool | None:
        """Called after each validation, and after `step`; ends training as well."""
        return None

    def end(self, view: TrainingView) -> None:
        """Called once, after the last step or an error, before Σ_y and the best are in place.

        Every callback's is called, whatever others raise; the first error is raised.
        """
        return


class Solver(Protocol):
    """What `Fit.predict(solver=…)` calls for paths of dz = γ(z, t) dt + √C dβ, C diagonal.

    Where the model's C is diagonal in other axes, z are components along these.
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
    def from_dict(cls, saved: Mapping[str, Any], model: Model) -> Self:
        """What `to_dict` gave; a ValueError says where it does not fit the model."""


class FittedModel(Protocol):
    """What folders before `interface` ask of a `Fit`."""

    @property
    def model(self) -> Model: ...
    @property
    def guide(self) -> Guide: ...
    @property
    def scaling(self) -> Scaling: ...
    @property
    def has_channel(self) -> bool: ...
    @property
    def metadata(self) -> Metadata | None: ...
    @property
    def adjustments(self) -> tuple[Adjustment, ...]: ...
    @property
    def training(self) -> TrainingRecord: ...
    @property
    def is_point(self) -> bool: ...
    @property
    def diffusion_scale(self) -> float: ...
    @property
    def predict(self) -> Callable[..., Forecast]: ...
    @property
    def forecast(self) -> Callable[..., Forecast]: ...
