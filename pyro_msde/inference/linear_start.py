"""A linear inverse model as the start of a drift's linear path, and of its C.

It is that of the encoded training data (`pyro_msde.inference.linear_inverse`), where these are
noisy or seldom observed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_msde.data import Segments
from pyro_msde.inference.linear_inverse import (
    LinearInverse,
    Record,
    is_smooth,
)
from pyro_msde.inference.linear_inverse_choice import linear_inverse_model
from pyro_msde.networks import ModalPath, MultiscaleDrift, NoiseAxes, drift_of
from pyro_msde.priors import LogVariance, part_of, starting_values
from pyro_msde.protocols import Model

__all__ = [
    "found_noisy",
    "has_noisy_paths",
    "linear_path",
    "observed_record",
    "set_diffusion",
    "start_linear_path",
]

Array = NDArray[Any]

_LEAST_DIFFUSION = 1e-3  # of a state, of the mean one
_UNSEEN = 0.1  # share of a snapshot's states that may have been filled in
_AT_ONCE = 64


def linear_path(model: Model) -> ModalPath | None:
    """The path of a macroscale drift that a linear inverse model may start; None: there is none."""
    drift, part = drift_of(model), part_of(model, "drift")
    if not isinstance(drift, MultiscaleDrift) or part is None or part.is_random:
        return None
    return drift.path


def found_noisy(model: Model) -> bool:
    """Whether a linear start has found that paths are moved at random between nodes."""
    path, axes = linear_path(model), getattr(model, "noise_axes", None)
    return (path is not None and path.started) or (isinstance(axes, NoiseAxes) and axes.started)


@torch.no_grad()
def has_noisy_paths(model: Model, segments: Segments) -> bool:
    """Whether ζ moves at random from one node of a segment to the next."""
    return not is_smooth([z for _, z, _ in _encoded(model, segments)], segments.stride)


@torch.no_grad()
def start_linear_path(model: Model, segments: Segments, judge: Segments | None = None) -> bool:
    """Start the linear path of a macroscale drift, and C, by a linear inverse model.

    Args:
        model: Model with a `MultiscaleDrift`, before training.
        segments: Training data in scaled units.
        judge: Validation data in scaled units; None: there are none.

    Returns:
        Whether that was done: not without a path, with priors, of too few snapshots, nor for paths
        that are smooth from one node of a segment to the next.
    """
    path = linear_path(model)
    if path is None or path.started:
        return False
    records = _encoded(model, segments)
    if is_smooth([z for _, z, _ in records], segments.stride):
        return False
    judged = None if judge is None else _encoded(model, judge)
    found = linear_inverse_model(records, judged, most=len(path.modes))
    if found is None:
        return False
    like = path.mean
    parts = found.modes, found.mean, found.A, found.rates, found.B
    path.start(*(torch.as_tensor(x).to(like) for x in parts))
    set_diffusion(model, found, 0)
    return True


def _encoded(model: Model, segments: Segments) -> list[Record]:
    """Times (time,), ζ (time, n_ζ) and controls (time, c) of each trajectory."""
    operators = model.bind(starting_values(model)).operators
    like = next(v for v in model.state_dict().values() if v.is_floating_point())
    states = []
    for values in segments.values:
        parts = [
            model.grid.flatten(operators.restrict(values[i : i + _AT_ONCE].to(like.device)))
            for i in range(0, len(values), _AT_ONCE)
        ]
        states.append(torch.cat(parts).double().cpu().numpy())
    controls: Sequence[Tensor | None] = segments.controls or [None] * len(states)
    each = zip(segments.times, segments.values, states, controls, strict=True)
    return [observed_record(*parts) for parts in each]


def observed_record(
    times: Tensor, values: Any, states: Array, controls: Tensor | None = None
) -> Record:
    """The record of those snapshots of a trajectory that were hardly filled in.

    Args:
        times: (time,).
        values: Its fields, which may say what of them is unseen.
        states: (time, n).
        controls: (time, c); None: there are none.
    """
    unseen, clock = getattr(values, "unseen", None), times.cpu().numpy()
    u = np.zeros((len(states), 0)) if controls is None else controls.double().cpu().numpy()
    if unseen is None:
        return clock, states, u
    lacking = unseen[:, :-1] - unseen[:, :-1].amin(0)  # beside what never is, as on land
    seen = lacking.mean(1).cpu().numpy() <= _UNSEEN
    return clock[seen], states[seen], u[seen]


@torch.no_grad()
def set_diffusion(model: Any, law: LinearInverse, first: int) -> None:
    """Let C of the states from `first` on be the law's, on average over those that share a number.

    Numbers of their own are drawn to the mean by the share of their differences that is expected of
    the errors of N pairs' mean squares, 2/N relative to their squares. Where the model has axes of
    its noise, these are chosen, and the law's C is taken as a whole.
    """
    part = part_of(model, "diffusion")
    net = None if part is None or part.is_random else part._modules["net"]
    if not isinstance(net, LogVariance):
        return
    before = law.diffusion()
    mean = float(before.mean())
    if not mean > 0:
        return
    spread = float(before.var()) / mean**2
    own = max(0.0, 1 - 2 / len(law.now) / spread) if spread > 0 else 0.0
    least = _LEAST_DIFFUSION * mean
    values = np.maximum(mean + own * (before - mean), least)
    axes = getattr(model, "noise_axes", None) if first == 0 else None
    if isinstance(axes, NoiseAxes) and net.index is None:
        C = law.correlation() * np.sqrt(values[:, None] * values)
        values, columns = np.linalg.eigh(C)
        values = np.maximum(values, least)
        axes.start(torch.as_tensor(columns).to(axes.axes))
    places = slice(first, first + len(values))
    count = len(net.log_value)
    owner = (torch.arange(count) if net.index is None else net.index.cpu())[places]
    for k in owner.unique().tolist():
        net.log_value[k] = math.log(float(values[(owner == k).numpy()].mean()))
