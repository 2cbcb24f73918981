"""The general model's networks at sensible sizes, for a grid of one to three dimensions.

Cases are short configurations of `multiscale`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from pyro_msde.checks import check_choice, check_flag, check_seed, check_whole
from pyro_msde.data import packed_static, static_at_coarse_points
from pyro_msde.grid import BoundaryWords, Grid, SensorGraph, sizes_of
from pyro_msde.isolation import Isolation
from pyro_msde.likelihoods import FAMILIES, DenseCorrelation, PatternCorrelation
from pyro_msde.models.drifts import multiscale_drift
from pyro_msde.models.equations import equation_path
from pyro_msde.models.from_data import Factory
from pyro_msde.models.general import Multiscale
from pyro_msde.networks import (
    ConvDecoder,
    ConvEncoder,
    FrontVariance,
    NoiseAxes,
    PrincipalDecoder,
    PrincipalEncoder,
    SmoothingKernel,
)
from pyro_msde.priors import LogVariance
from pyro_msde.protocols import Places
from pyro_msde.renaming import renamed_arguments
from pyro_msde.runs import check_size, register

__all__ = ["multiscale"]

_CONVOLUTIONS: dict[int, dict[str, Any]] = {
    1: {"kernel": 25, "stride": 2, "widths": (4, 16, 64)},
    2: {"kernel": 9, "stride": 4, "widths": (16, 32, 64)},
    3: {"kernel": 5, "stride": 2, "widths": (8, 16, 32)},
}
_MOST_TURNED = 1024  # states whose noise may go together: so many squared are kept


@Factory
@renamed_arguments(num_parameters="num_covariates", recipe="architecture")
def multiscale(
    grid: int | Sequence[int] | Grid | SensorGraph | None = None,
    coarse: int | Sequence[int] | None = None,
    *,
    n_eta: int = 0,
    adjacency: Any = None,
    channels: int = 1,
    boundary: BoundaryWords = "periodic",
    lower: float | Sequence[float] | None = None,
    upper: float | Sequence[float] | None = None,
    mask: Any = None,
    num_covariates: int = 0,
    num_controls: int = 0,
    half_width: int | None = None,
    located: bool = False,
    static: Any = None,
    local: bool = False,
    varying: bool = False,
    coupling: bool = False,
    modes: int = 0,
    width: int = 128,
    rank: int | None = None,
    smoothing: str | None = None,
    radius: int | None = None,
    components: int | None = None,
    expert_variance: str = "point",
    expert_covariance: str = "diagonal",
    expert_rank: int | None = None,
    time_features: bool | None = None,
    architecture: str = "default",
    likelihood: str = "normal",
    equation: str | None = None,
    axes: str | None = None,
    unit_gain: bool = True,
    seed: int = 0,
) -> Multiscale:
    """Model of a field on a grid: a macroscale state on every σ-th point, n_η microscale states.

    `multiscale.like(data, n_eta=…)` reads the grid from trajectories.

    Args:
        grid: Points per axis, one to three axes; or a `Grid` or `SensorGraph`, which says the same
            as `coarse`, `channels`, `boundary`, `lower`, `upper` and `mask`.
        coarse: Coarse points per axis. They divide the number of points, but on axes with an end
            that is "neumann" or "replicate", which get more points than the fields have where
            needed: see `Grid`. Of sensors on a graph, the number of clusters; None: each sensor is
            a coarse point.
        n_eta: Microscale states; 0 is the implicit-scale (closure) model.
        adjacency: Instead of a grid, the neighbours of sensors, as `SensorGraph` takes them: an
            index table (n, k), a matrix (n, n), edges (2, E), or a graph of networkx.
        channels: Values per grid point.
        boundary: What lies beyond the ends of the domain: "periodic" (the other end), "dirichlet"
            (zero), "neumann" (the mirror image), "antisymmetric" (minus that image), "replicate"
            (the end point's value) or an object of your own, for all axes or for each; ends and
            channels may differ, see `Grid`. Convolutions (`components=0`) wrap around periodic axes
            and put zeros beyond all other ends.
        lower: Where the domain begins per axis; 0 unless given.
        upper: Where it ends; 1 unless given.
        mask: (*space) or (channel, *space) bool, True where there is a field; see `Grid`.
        num_covariates: Numbers fixed along a trajectory (`Trajectories.covariates`), such as a
            viscosity, which drifts and microscale encoder take.
        num_controls: Numbers known at all times (`Trajectories.controls`), such as a heating or the
            hour of the day, which these take as well.
        half_width: Stencil half-width q of the macroscale drift; None: 8, 2 and 1 in one, two and
            three dimensions, or what the coarse grid has room for; published: 2. On a graph with
            weighted edges, how many steps along them the drift sees; None: 2.
        located: Tell the macroscale drift where each coarse point is: sines and cosines of periodic
            coordinates, others, and the `positions` of a graph, scaled to [−1, 1]. For dynamics
            that differ from place to place, such as a conductivity or an obstacle in the domain.
        static: (s, *space) fields that never change, such as orography, which the macroscale drift
            takes where `located` is: at each coarse point the mean around it. They belong to the
            model. `multiscale.like` reads them from the data.
        local: Give the macroscale drift last weights of its own at each coarse point, beside those
            that all share. They are many, so it takes thousands of snapshots, or `refine`.
        varying: Let the last weights of both drifts be polynomials of second degree in the
            covariates. For dynamics that depend on these throughout, such as a flow's on its
            Reynolds number; it takes trajectories of three values or more.
        coupling: Let the macroscale drift take φ(η) = η + φ*(η, sin t, cos t, x) for η, where x is
            a coarse point's place and time comes with `time_features`, as the paper's does for the
            flow past a cylinder; published microscale drifts have that case's widths then. There is
            none without microscale states. It takes the place of `located`.
        modes: Give the macroscale drift a linear path among so many leading modes of its state
            (`pyro_msde.networks.ModalPath`), beside the stencil, which sees no further than its
            width. `fit` starts it as a linear inverse model where paths are noisy between
            observations; elsewhere it stays zero. Path noise may then go together in space, along
            axes that `fit` chooses likewise. `multiscale.like` has 20.
        width: Width of the macroscale drift's two hidden layers.
        rank: Rank of the macroscale drift's quadratic path, which the published architecture lacks;
            None: enough for any quadratic function of its inputs, so many for each channel.
        smoothing: The kernel κ at the start: "gaussian", one coarse spacing wide, as published;
            "lanczos", which lets pass what the coarse points resolve. None: the second, unless
            published.
        radius: Cut-off of κ in coarse spacings; None: 3 for the Gaussian; for the Lanczos kernel 5
            in one dimension, 4 in more.
        components: Principal components of the fine scale that microscale encoder and decoder work
            on (`pyro_msde.networks.pod`); 0: convolutions on the grid, as published. None: 32 in
            one dimension, 64 in more, unless published.
        expert_variance: "point": one a grid point, as published; "shared": one a channel; "front":
            one a grid point, which also follows the macroscale's gradient there, for fields whose
            fronts are less certain than the rest (`pyro_msde.networks.FrontVariance`).
        expert_covariance: How an expert's errors at its points go together: "diagonal", not at all,
            as published; "low-rank", `expert_rank` patterns of the whole field vary beyond what
            points do by themselves; "dense", in any way, for small fields only.
        expert_rank: Patterns of each expert, where it is "low-rank"; None: 8.
        time_features: Give microscale drift and coupling sin t and cos t, t in training horizons;
            None: in the published architecture only. Such a drift does not extrapolate in time.
        architecture: "default": autonomous SiLU drifts with linear and low-rank quadratic paths,
            one diffusion a channel. "published": the paper's ReLU networks, one diffusion a state.
        likelihood: Of fields around the product of the experts, with its variance: "normal",
            "laplace", or "student" with four degrees of freedom, for data with outliers.
        equation: An equation as part of the macroscale drift, whose stencil network rests beside
            one that forecasts the data, and learns what another lacks. "identified": `fit` finds it
            in a library of terms, if one forecasts the training data. Or an equation that is known,
            such as "u_t = -u*u_x + 0.1*u_xx + c1*u_xxx", in the user's units: fields u, v, w, …,
            axes x, y, z, covariates and then controls c1, c2, …, on rings also static fields s1,
            s2, …; see `pyro_msde.equations.parsing`. It takes a `Grid` without mask and padding
            whose axes are "periodic", "dirichlet", "antisymmetric" or
            "neumann". `multiscale.like` has "identified" where the grid allows it.
        axes: Letters that equations call the axes by, such as "yx"; None: x, y, z in their order.
            `multiscale.like` has those of the data's `dims`, x for longitudes and y for latitudes.
        unit_gain: Let a constant macroscale state be a constant field up to "neumann" and
            "replicate" ends, as in runs saved before there was a choice it is not. A grid that is
            given says it itself.
        seed: Of the initial weights.

    Raises:
        ValueError: Unknown architecture, likelihood, smoothing, boundary or variance; numbers and
            flags that are none or out of range; coarse points that do not divide the fine ones
            where they have to; a stencil wider than a periodic coarse axis; `located` or `static`
            beside `coupling`; `varying` without covariates; an equation that is none, or on a grid
            that takes none.
    """
    check_choice("architecture", architecture, ("default", "published"))
    check_choice("likelihood", likelihood, tuple(FAMILIES))
    check_choice("smoothing", smoothing, (None, "gaussian", "lanczos"))
    check_choice("expert_variance", expert_variance, ("point", "shared", "front"))
    check_choice("expert_covariance", expert_covariance, ("diagonal", "low-rank", "dense"))
    if expert_covariance != "diagonal" and likelihood != "normal":
        raise ValueError(
            f"expert_covariance={expert_covariance!r}: only normal errors go together. Use "
            "likelihood='normal', or 'diagonal'."
        )
    check_flag("located", located)
    check_flag("local", local)
    check_flag("varying", varying)
    check_flag("coupling", coupling)
    if located and coupling:
        raise ValueError("located: the coupling tells the drift where coarse points are. Give one.")
    if static is not None and coupling:
        raise ValueError("static: the coupling takes none. Give one of both.")
    if time_features is not None:
        check_flag("time_features", time_features)
    seed = check_seed("seed", seed)
    check_flag("unit_gain", unit_gain)
    places = _places(grid, coarse, adjacency, channels, boundary, lower, upper, mask, unit_gain)
    values = places.channels * places.num_points
    known = None if static is None else static_at_coarse_points(static, places)
    n_eta = check_whole("n_eta", n_eta, 0, values)
    correlation = _correlation(expert_covariance, values, expert_rank)
    num_covariates = check_whole("num_covariates", num_covariates, 0)
    num_controls = check_whole("num_controls", num_controls, 0)
    num_inputs = num_covariates + num_controls
    if varying and not num_covariates:
        raise ValueError("varying: there are no covariates to vary with. Give num_covariates.")
    modes = check_whole("modes", modes, 0)
    turned = modes > 0 and places.num_zeta <= _MOST_TURNED
    check_size("modes", modes * (modes + places.num_zeta) + turned * places.num_zeta**2)
    width = check_whole("width", width, 1)
    if half_width is not None:
        half_width = check_whole("half_width", half_width, 0)
    if rank is not None:
        rank = check_whole("rank", rank, 0)
    if radius is not None:
        radius = check_whole("radius", radius, 1)
    if components is not None:
        components = check_whole("components", components, 0, values)
    check_size("grid", places.channels * places.num_points)
    check_size("width", width)
    for name, inputs in (("n_eta", n_eta), ("num_covariates", num_inputs)):
        check_size(name, inputs * max(width, inputs))  # the drift's products are as many as inputs
    config = {
        "case": "multiscale",
        **_described(places),
        "n_eta": n_eta,
        "num_covariates": num_covariates,
        "half_width": half_width,
        "located": located,
        "width": width,
        "rank": rank,
        "smoothing": smoothing,
        "radius": radius,
        "components": components,
        "expert_variance": expert_variance,
        "time_features": time_features,
        "architecture": architecture,
        "seed": seed,
    }
    if known is not None:
        check_size("static", known.numel())
        config["static"] = packed_static(known)
    if num_controls:
        config["num_controls"] = num_controls
    if likelihood != "normal":  # what runs say that were saved before there was a choice
        config["likelihood"] = likelihood
    if expert_covariance != "diagonal":
        config |= {"expert_covariance": expert_covariance, "expert_rank": expert_rank}
    if coupling:
        config["coupling"] = coupling
    if local:
        config["local"] = local
    if varying:
        config["varying"] = varying
    if modes:
        config["modes"] = modes
    if equation is not None:
        config["equation"] = equation
        if axes is not None:
            config["axes"] = axes
    published = architecture == "published"
    if smoothing is None:
        smoothing = "gaussian" if published else "lanczos"
    if components is None:
        most = 32 if places.ndim == 1 else 64
        components = 0 if published else min(most, values)
    encoder, decoder = _microscale(places, n_eta, num_inputs, components)
    shared_variance = (places.channels, *(1,) * places.ndim)
    variance_shape = shared_variance if expert_variance == "shared" else places.field_shape
    diffusions = [places.num_coarse] * places.channels + [1] * n_eta
    kappa = _kernel(places, smoothing, radius)
    right = (
        None
        if equation is None
        else equation_path(
            places,
            equation,
            num_covariates,
            kappa,
            num_controls,
            0 if known is None else known.shape[1],
            axes,
        )
    )
    with Isolation(seed).turn():
        return Multiscale(
            places,
            n_eta,
            drift=multiscale_drift(
                places,
                n_eta,
                num_covariates,
                num_controls,
                half_width=half_width,
                located=located,
                static=known,
                local=local,
                varying=varying,
                coupling=coupling,
                modes=modes,
                width=width,
                rank=rank,
                published=published,
                time_features=published if time_features is None else time_features,
                equation=right,
            ),
            kernel=SmoothingKernel(kappa),
            diffusion=LogVariance((places.num_zeta + n_eta,), 0.1)
            if published or modes
            else LogVariance((len(diffusions),), 0.1, repeats=diffusions),
            var_zeta=LogVariance(variance_shape, 0.01, broadcast=places.field_shape),
            var_eta=LogVariance(variance_shape, 0.01, broadcast=places.field_shape)
            if n_eta
            else None,
            decoder=decoder() if n_eta else None,
            encoder=encoder,
            num_covariates=num_covariates,
            num_controls=num_controls,
            static=known,
            likelihood=FAMILIES[likelihood],
            front=FrontVariance(places) if expert_variance == "front" else None,
            correlation=correlation,
            noise_axes=NoiseAxes(places.num_zeta) if turned else None,
            config=config,
        )


@register("multiscale")
def _saved(**config: Any) -> Multiscale:
    """A model as it was saved; those of before there was a choice have the plain adjoint."""
    found: Multiscale = multiscale(**{"unit_gain": False, **config})
    return found


def _correlation(kind: str, values: int, rank: int | None) -> Callable[[], nn.Module] | None:
    """What makes an expert's correlation of so many values."""
    if kind != "low-rank" and rank is not None:
        raise ValueError("expert_rank: goes with expert_covariance='low-rank'. Leave it out.")
    if kind == "diagonal":
        return None
    if kind == "dense":
        check_size("expert_covariance", values**2)
        return partial(DenseCorrelation, values)
    rank = min(8, values) if rank is None else check_whole("expert_rank", rank, 1, values)
    check_size("expert_rank", values * rank**2)
    return partial(PatternCorrelation, values, rank)


def _places(
    grid: int | Sequence[int] | Grid | SensorGraph | Mapping[str, Any] | None,
    coarse: int | Sequence[int] | None,
    adjacency: Any,
    channels: int,
    boundary: BoundaryWords,
    lower: float | Sequence[float] | None,
    upper: float | Sequence[float] | None,
    mask: Any,
    unit_gain: bool,
) -> Places:
    if adjacency is not None:
        if grid is not None:
            raise ValueError("adjacency: takes the place of grid. Give one of them.")
        return SensorGraph(adjacency, channels=channels, coarse=coarse)
    if isinstance(grid, Places):
        given = {"coarse": coarse, "lower": lower, "upper": upper, "mask": mask}
        beside = [name for name, value in given.items() if value is not None]
        beside += ["channels"] * (channels not in (1, grid.channels))
        beside += ["boundary"] * (boundary != "periodic")
        if beside:
            raise ValueError(f"{beside[0]}: the {type(grid).__name__} says it. Leave it out.")
        return grid
    if isinstance(grid, Mapping):  # of a saved run
        return SensorGraph(**grid)
    if grid is None:
        raise ValueError("grid: missing. Give points per axis and coarse points, or adjacency.")
    if coarse is None:
        raise ValueError("coarse: missing. Give the number of coarse points per axis.")
    fine = sizes_of("grid", grid)
    return Grid(
        fine,
        coarse,
        channels=channels,
        boundary=boundary,
        lower=lower,
        upper=upper,
        mask=mask,
        unit_gain=unit_gain,
    )


def _described(places: Places) -> dict[str, Any]:
    """The arguments of `multiscale` that give these places."""
    described = places.to_dict()
    if isinstance(places, SensorGraph) and set(described) != {"adjacency", "channels"}:
        return {"grid": described}
    return {"grid" if name == "shape" else name: v for name, v in described.items()}


def _kernel(places: Places, smoothing: str, radius: int | None) -> Tensor:
    lanczos = smoothing == "lanczos"
    radius = radius or (3 if not lanczos else 5 if places.ndim == 1 else 4)
    check_size("radius", places.channels * math.prod(2 * radius * n + 1 for n in places.stride))
    return places.kernel(smoothing, radius)


def _microscale(
    grid: Places, n_eta: int, num_inputs: int, components: int
) -> tuple[Callable[[], nn.Module], Callable[[], nn.Module]]:
    """What makes the microscale encoder, and the decoder."""
    if components:
        numbers = grid.channels * grid.num_points + n_eta + num_inputs
        check_size("components", components * numbers)
        return (
            partial(PrincipalEncoder, grid, n_eta, rank=components, num_covariates=num_inputs),
            partial(PrincipalDecoder, grid, n_eta, rank=components),
        )
    if not grid.regular:
        raise ValueError("components: a graph has no convolutions. Choose at least 1.")
    sizes = _conv_sizes(grid)
    widths = sizes["widths"]
    left = math.prod(-(-n // sizes["stride"] ** len(widths)) for n in grid.shape)
    check_size("n_eta", n_eta * left * widths[-1])
    return (
        partial(ConvEncoder, grid, n_eta, num_covariates=num_inputs, **sizes),
        partial(ConvDecoder, grid, n_eta, **sizes),
    )


def _conv_sizes(grid: Places) -> dict[str, Any]:
    """The paper's convolutions, with shorter kernels and fewer layers where the grid is small."""
    sizes = dict(_CONVOLUTIONS[grid.ndim])
    stride = sizes["stride"]
    smallest = min(grid.shape)
    inputs: list[int] = []  # fewest points of an axis before each layer
    while smallest > 1 and len(inputs) < len(sizes["widths"]):
        inputs.append(smallest)
        smallest = (smallest - 1) // stride + 1
    sizes["widths"] = sizes["widths"][: max(1, len(inputs))]
    sizes["kernel"] = min(sizes["kernel"], 2 * min(inputs, default=0) + 1)
    return sizes
