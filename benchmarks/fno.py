"""A Fourier neural operator as a time stepper (Li et al., ICLR 2021), trained on its own roll-outs.

u(t + Δ) = u(t) + s × FNO(u(t), covariates [, places]), four layers of a spectral convolution beside
a pointwise one, on a grid that is coarser than the data's. Steps Δ of two lengths are tried for a
fifth of the time each; the one with the better forecasts of validation trajectories is trained on,
from one step to rolled-out ones, at a learning rate that falls to zero. Of its states those that
validate best are kept. Seconds are the processor's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor, nn

from benchmarks.coarse_grids import apply, interpolation, sampling
from pyro_msde import Trajectories

__all__ = ["NeuralOperator", "Sizes", "trained"]

Array = NDArray[Any]

_PILOT = 0.2  # of the seconds, for each length of steps
_VALIDATED = 12  # times while training
_LONGEST_ROLL = 4  # steps
_RATE, _DECAY = 2e-3, 1e-5
_MARGIN = 8  # points beyond walls


@dataclass(frozen=True)
class Sizes:
    """Of an operator and its training.

    Attributes:
        points: Of its grid, along each axis.
        periodic: Whether axes are rings; else fields are zero at walls.
        strides: Lengths of steps to try, in snapshots.
        width: Channels of each layer.
        modes: Of each axis.
        batch: Fields of a step of training.
    """

    points: int
    periodic: bool
    strides: tuple[int, ...]
    width: int
    modes: int
    batch: int


class _Spectral(nn.Module):
    """Multiplies the lowest modes by matrices, drops the others."""

    def __init__(self, width: int, modes: int, ndim: int) -> None:
        super().__init__()
        self.modes, self.ndim = modes, ndim
        corners = 2 ** (ndim - 1)
        size = (corners, width, width, *(modes,) * ndim)
        self.weight = nn.Parameter(torch.randn(*size, dtype=torch.cfloat) / width)

    def forward(self, u: Tensor) -> Tensor:
        if self.ndim == 1:
            spectrum = torch.fft.rfft(u)
            found = torch.zeros_like(spectrum)
            m = min(self.modes, spectrum.shape[-1])
            found[..., :m] = torch.einsum(
                "bim,iom->bom", spectrum[..., :m], self.weight[0, ..., :m]
            )
            return torch.fft.irfft(found, n=u.shape[-1])
        spectrum = torch.fft.rfft2(u)
        found = torch.zeros_like(spectrum)
        m = self.modes
        for corner, rows in enumerate((slice(None, m), slice(-m, None))):
            found[..., rows, :m] = torch.einsum(
                "bixy,ioxy->boxy", spectrum[..., rows, :m], self.weight[corner]
            )
        return torch.fft.irfft2(found, s=u.shape[-2:])


class _Operator(nn.Module):
    """From fields and inputs (row, channel, *space) to (row, 1, *space)."""

    def __init__(self, inputs: int, sizes: Sizes, ndim: int) -> None:
        super().__init__()
        conv = nn.Conv1d if ndim == 1 else nn.Conv2d
        self.margin = 0 if sizes.periodic else _MARGIN
        self.ndim, width = ndim, sizes.width
        self.lift = conv(inputs, width, 1)
        self.spectral = nn.ModuleList(_Spectral(width, sizes.modes, ndim) for _ in range(4))
        self.pointwise = nn.ModuleList(conv(width, width, 1) for _ in range(4))
        self.out = nn.Sequential(conv(width, 2 * width, 1), nn.GELU(), conv(2 * width, 1, 1))

    def forward(self, u: Tensor) -> Tensor:
        x = nn.functional.pad(self.lift(u), (0, self.margin) * self.ndim)
        for k, (spectral, pointwise) in enumerate(zip(self.spectral, self.pointwise, strict=True)):
            x = spectral(x) + pointwise(x)
            x = nn.functional.gelu(x) if k < 3 else x
        inner = (slice(None), slice(None), *(slice(n) for n in u.shape[2:]))
        found: Tensor = self.out(x[inner])
        return found


class NeuralOperator:
    """A stepper for trajectories of one channel."""

    def __init__(self, train: Trajectories, sizes: Sizes, stride: int, seed: int) -> None:
        self.sizes, self.stride = sizes, stride
        self.spacing = stride * float(np.median(np.diff(train.times[0])))
        fine = train.values[0].shape[1:]
        axes = [(n, sizes.points, sizes.periodic) for n in fine]
        self.down = [sampling(n, m, ring, "point") for n, m, ring in axes]
        self.up = [interpolation(n, m, ring, "spectral") for n, m, ring in axes]
        self.fields = [torch.tensor(apply(self.down, y)).float() for y in train.values]
        self.scale = float(torch.stack([y.square().mean() for y in self.fields]).mean().sqrt())
        self.fields = [y / self.scale for y in self.fields]
        rows = np.zeros((len(train), 0)) if train.covariates is None else train.covariates
        self.mean, self.sd = rows.mean(0), rows.std(0)
        self.rows = self._rows(rows)
        changes = torch.cat([(y[stride:] - y[:-stride]).flatten() for y in self.fields])
        self.change = float(changes.square().mean().sqrt())
        places = 0 if sizes.periodic else len(fine)
        torch.manual_seed(seed)
        self.net = _Operator(1 + rows.shape[1] + places, sizes, len(fine))
        self.generator = torch.Generator().manual_seed(seed)

    def _rows(self, covariates: Array) -> Tensor:
        return torch.tensor((covariates - self.mean) / self.sd).float()

    def step(self, u: Tensor, rows: Tensor) -> Tensor:
        """Fields (row, *space) a step later."""
        ones = (1,) * (u.ndim - 1)
        beside = rows.reshape(*rows.shape, *ones).expand(*rows.shape, *u.shape[1:])
        parts = [u[:, None], beside]
        if not self.sizes.periodic:
            line = torch.linspace(-1, 1, u.shape[-1])
            places = torch.stack(torch.meshgrid(*[line] * (u.ndim - 1), indexing="ij"))
            parts.append(places.expand(len(u), *places.shape))
        return u + self.change * self.net(torch.cat(parts, 1))[:, 0]

    def loss(self, roll: int) -> Tensor:
        """Of a batch of roll-outs, relative to changes over a step."""
        picks = torch.randint(len(self.fields), (self.sizes.batch,), generator=self.generator)
        total, starts = torch.zeros(()), []
        for k in picks.tolist():
            last = len(self.fields[k]) - roll * self.stride
            starts.append(int(torch.randint(last, (), generator=self.generator)))
        pairs = list(zip(picks.tolist(), starts, strict=True))
        u = torch.stack([self.fields[k][s] for k, s in pairs])
        for n in range(1, roll + 1):
            u = self.step(u, self.rows[picks])
            truth = torch.stack([self.fields[k][s + n * self.stride] for k, s in pairs])
            total = total + (u - truth).square().mean() / self.change**2
        return total / roll

    @torch.no_grad()
    def forecast(self, one: Trajectories) -> Array:
        """(time, *space) from the first snapshot of one trajectory, at its times."""
        times = one.times[0]
        own = None if one.covariates is None else one.covariates
        rows = self._rows(np.zeros((1, 0)) if own is None else own)
        spacing = self.spacing
        steps = math.ceil((times[-1] - times[0]) / spacing - 1e-9)
        u = torch.tensor(apply(self.down, one.values[0][:1])).float() / self.scale
        path = [u]
        for _ in range(steps):
            path.append(self.step(path[-1], rows))
        states = torch.cat(path).double().numpy() * self.scale
        between = CubicSpline(spacing * np.arange(steps + 1), states)(times - times[0])
        return apply(self.up, between)


def trained(
    train: Trajectories, validation: Trajectories, sizes: Sizes, seconds: float, seed: int = 0
) -> tuple[NeuralOperator, str]:
    """The operator, and what was chosen; in about so many seconds."""
    pilots = []
    for stride in sizes.strides:
        operator = NeuralOperator(train, sizes, stride, seed)
        _train(operator, validation, _PILOT * seconds, rolls=(1, 2), checks=2)
        pilots.append((error(operator, validation), operator))
    _, best = min(pilots, key=lambda pair: pair[0])
    left = seconds * (1 - _PILOT * len(pilots))
    _train(best, validation, left, rolls=(1, 2, _LONGEST_ROLL), checks=_VALIDATED)
    return best, f"steps of {best.stride} snapshots"


def error(operator: NeuralOperator, data: Trajectories) -> float:
    """Mean relative error of forecasts, infinite if any is not finite."""
    found = []
    for one in data:
        path = operator.forecast(one)
        away = np.square(path - one.values[0]).sum() / np.square(one.values[0]).sum()
        found.append(math.sqrt(away) if np.isfinite(away) else math.inf)
    return float(np.mean(found))


def _train(
    operator: NeuralOperator,
    validation: Trajectories,
    seconds: float,
    *,
    rolls: Sequence[int],
    checks: int,
) -> None:
    """For so many seconds, a share of them at each length of roll-outs."""
    net = operator.net
    optimiser = torch.optim.AdamW(net.parameters(), lr=_RATE, weight_decay=_DECAY)
    best, kept, due = math.inf, deepcopy(net.state_dict()), 1
    began = time.process_time()
    while (spent := (time.process_time() - began) / seconds) < 1:
        roll = rolls[min(len(rolls) - 1, int(spent * len(rolls)))]
        for group in optimiser.param_groups:
            group["lr"] = _RATE * 0.5 * (1 + math.cos(math.pi * spent)) * min(1, 50 * spent + 0.02)
        loss = operator.loss(roll)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        if spent * checks >= due:
            due += 1
            if (found := error(operator, validation)) < best:
                best, kept = found, deepcopy(net.state_dict())
    if error(operator, validation) > best:
        net.load_state_dict(kept)
