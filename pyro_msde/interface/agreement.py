"""Whether description, weights, model and guide of a saved run belong together and make sense."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch
from torch import Tensor

from pyro_msde.data import ROOM, Scaling, num_controls_of, num_covariates_of, num_inputs_of
from pyro_msde.errors import SavedRunError
from pyro_msde.interface.description import structure_of
from pyro_msde.isolation import Isolation, place_of
from pyro_msde.priors import described_priors, fixed_names, is_positive
from pyro_msde.protocols import BoundModel, FittedModel, Guide, Model, Module, Places
from pyro_msde.runs import Description, config_of
from pyro_msde.sde import Dynamics, noise_axes

__all__ = [
    "FolderPath",
    "check_options",
    "check_parameters",
    "check_scaling",
    "check_structure",
    "check_weights",
]

FolderPath = str | os.PathLike[str]

_MOST = 1e8  # of anything in scaled units
_TRIED = 16  # fields, and states
_ORTHOGONAL = 1e-3  # of products of unit vectors in single precision


def check_options(path: FolderPath, described: Description, model: Model, guide: Guide) -> None:
    """Options and priors agree where both are known; the seed of the start does not matter.

    Raises:
        SavedRunError: They do not.
    """
    pairs = [
        ("model", described.model, config_of(model)),
        ("guide", described.guide, config_of(guide)),
        ("prior of model", described.priors, described_priors(model)),
    ]
    for role, saved_options, built_options in pairs:
        if saved_options is None or built_options is None:
            continue
        for name in sorted((saved_options.keys() | built_options.keys()) - {"seed"}):
            saved, built = saved_options.get(name), built_options.get(name)
            if saved != built:
                raise SavedRunError(
                    f"{role}: the run in {path} has {name}={saved!r}, here it is {built!r}. Build "
                    "it as it was."
                )


def check_structure(
    path: FolderPath, role: str, module: Module, saved: Mapping[str, str] | None
) -> None:
    """Networks are of the classes that they were of, as far as that is known.

    Raises:
        SavedRunError: One is of another: equal weights would mean something else.
    """
    if saved is None:
        return
    built = structure_of(role, module)
    was = {name: kind for name, kind in saved.items() if name.split(".", 1)[0] == role}
    for name in sorted(built.keys() | was.keys()):
        if built.get(name) != was.get(name):
            raise SavedRunError(
                f"{role}: in the run in {path} {name} is a {was.get(name, 'missing')}, here "
                f"{built.get(name, 'missing')}. Build it as it was and pass load(path, {role}=…)."
            )


def check_weights(
    path: FolderPath, role: str, module: Module, weights: Mapping[str, Tensor], dtype: torch.dtype
) -> None:
    """Names, shapes and dtypes agree, and values are finite.

    What is not trained may be in half precision (`pyro_msde.interface.description.weights_of`).

    Raises:
        SavedRunError: They are not.
    """
    state, fixed = module.state_dict(), fixed_names(module)
    for name in sorted(state.keys() | weights.keys()):
        built, saved = state.get(name), weights.get(name)
        if built is None or saved is None or built.shape != saved.shape:
            shapes = ["missing" if v is None else tuple(v.shape) for v in (saved, built)]
            raise SavedRunError(
                f"{role}: the run in {path} is of another {role}: {name} is {shapes[0]} there and "
                f"{shapes[1]} here."
            )
        wanted = dtype if built.is_floating_point() else built.dtype
        half = name in fixed and built.is_floating_point() and saved.dtype == torch.float16
        if saved.dtype != wanted and not half:
            raise SavedRunError(
                f"path: the weights in {path} are damaged: {role}.{name} is {saved.dtype}, not "
                f"{wanted}."
            )
        if not bool(saved.isfinite().all()):
            raise SavedRunError(
                f"path: the weights in {path} are damaged: {role}.{name} is not finite."
            )


def check_scaling(fit: FittedModel, dtype: torch.dtype) -> None:
    """Scales for each channel and parameter that the model's dtype holds.

    Raises:
        ValueError: They are not.
    """
    grid, wanted, scaling = fit.model.grid, num_covariates_of(fit.model), fit.scaling
    _check_units(scaling, grid, dtype)
    if scaling.link is not None:
        if len(scaling.link.offsets) != grid.channels:
            raise ValueError(f"scaling.link: {len(scaling.link.offsets)} offsets")
        _check_units(scaling.seen, grid, dtype)
    never = scaling.never_observed
    if never is not None and tuple(never.shape) != (grid.channels, *grid.data_shape):
        raise ValueError(
            f"scaling.never_observed: {tuple(never.shape)} on a grid {grid.data_shape}"
        )
    if len(scaling.covariates) not in (0, wanted):
        raise ValueError(f"scaling.covariates: {len(scaling.covariates)}, the model has {wanted}")
    wanted = num_controls_of(fit.model)
    if len(scaling.controls) != wanted:
        raise ValueError(f"scaling.controls: {len(scaling.controls)}, the model has {wanted}")
    most = ROOM[dtype][1]
    if not all(abs(number) <= most for control in scaling.controls for number in control):
        raise ValueError(f"scaling.controls: {dtype} has room for numbers up to {most:g}")
    if not fit.has_channel and grid.channels > 1:
        raise ValueError("has_channel: the grid has several")


def _check_units(scaling: Scaling, grid: Places, dtype: torch.dtype) -> None:
    """Of fields, or of what models see of them."""
    least, most = ROOM[dtype]
    if len(scaling.channels) != grid.channels:
        raise ValueError(f"scaling.channels: {len(scaling.channels)}, the grid has {grid.channels}")
    coefficients = scaling.reference.coefficients
    if coefficients is not None:
        count, *shape = coefficients.shape
        full = (grid.channels, *grid.data_shape)
        fits = len(shape) == len(full) and all(
            n in (1, m) for n, m in zip(shape, full, strict=True)
        )
        if not fits or shape[0] != grid.channels or count % 2 == 0:
            raise ValueError(f"scaling.reference: {tuple(coefficients.shape)} on a grid {full}")
        if (count > 1) != (scaling.reference.period is not None):
            raise ValueError("scaling.reference: a cycle without a period, or the other way round")
    if not all(least <= s <= most for s in (*scaling.channels, *scaling.covariates)):
        raise ValueError(f"scaling: {dtype} has room for {least:g} to {most:g}")


@torch.no_grad()
def check_parameters(fit: FittedModel) -> None:
    """Variances are positive and finite; drift, decoder and encoder give sensible numbers.

    These are tried at a few fields of the data's size, and at states from the region, with one draw
    of θ: weights may be finite, and overflow together.

    Raises:
        ValueError: They do not.
    """
    model, guide = fit.model, fit.guide
    for role, module in (("model", model), ("guide", guide)):
        for name, part in module.named_modules():
            if is_positive(part):
                _check_positive(f"{role}.{name}", part())
    with Isolation(0, place_of(model)[1]).turn():
        sites = guide.read_theta()
        theta = model.bind(sites)
        for name, value in sites.items():  # of priors without a unit, hence of any size
            if not bool(value.isfinite().all()):
                raise ValueError(f"{name}: q(θ) draws what is not finite")
        _check_positive("diffusion", theta.diffusion)
        _check_orthogonal("noise_axes", noise_axes(theta))
        _try(fit, theta)


def _try(fit: FittedModel, theta: BoundModel) -> None:
    """Encode a few fields; move and decode a few states."""
    model, (dtype, device) = fit.model, place_of(fit.model)
    wanted = num_inputs_of(model)
    covariates = torch.ones(1, wanted, dtype=dtype, device=device) if wanted else None
    fields = 2 * torch.randn(_TRIED, *model.grid.field_shape).to(device, dtype)
    rows = None if covariates is None else covariates.expand(_TRIED, -1)
    z, var = fit.guide.encode(fields, theta, rows)
    _check_sensible("encoder", z)
    _check_sensible("encoder's variance", var)
    clock = torch.zeros(1, 1, dtype=torch.float64, device=device)
    dynamics = Dynamics(
        model,
        theta.drift,
        theta.diffusion,
        z[:1],
        z[:, None],
        torch.Generator().manual_seed(0),
        draws=range(_TRIED),
        num_draws=_TRIED,
    )
    tried = {"drift": dynamics}
    for adjustment in fit.adjustments:
        tried[adjustment.name] = dynamics = adjustment.apply(dynamics)
    if dynamics.box is not None:
        low, high = dynamics.box
        z = low + torch.rand(z.shape).to(z) * (high - low)
    for name, law in tried.items():
        _check_sensible(name, law.drift(z[:, None, None], clock, covariates=covariates))
        _check_sensible(name, law.diffusion)
    observed = theta.observe(z)
    _check_sensible("decoder", observed.mean)
    _check_positive("observation's variance", observed.variance)


def _check_sensible(name: str, value: Tensor) -> None:
    """Numbers in scaled units, in which data and times are of size one."""
    if not bool((value.abs() <= _MOST).all()):
        raise ValueError(f"{name}: takes values that are not finite, or above {_MOST:.0e}")


def _check_positive(name: str, value: Tensor) -> None:
    if not bool(((value > 0) & (value <= _MOST)).all()):
        raise ValueError(f"{name}: a variance that is not positive and at most {_MOST:.0e}")


def _check_orthogonal(name: str, axes: Tensor | None) -> None:
    if axes is None:
        return
    unit = torch.eye(len(axes)).to(axes)
    if not torch.allclose(axes.mT @ axes, unit, atol=_ORTHOGONAL):
        raise ValueError(f"{name}: columns that are not orthogonal, or of another length than 1")
