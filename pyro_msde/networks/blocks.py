"""Network blocks: perceptrons with polynomial paths, convolutional encoder and decoder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyro_msde.networks.growing import grow_from, put
from pyro_msde.networks.transposed import transposed_convolution
from pyro_msde.protocols import LinearReadout, Places
from pyro_msde.renaming import renamed_arguments

__all__ = [
    "MLP",
    "ConvDecoder",
    "ConvEncoder",
    "PolynomialMLP",
    "SmoothingKernel",
]

# by the number of axes
_CONV: list[type[nn.Module]] = [nn.Conv1d, nn.Conv2d, nn.Conv3d]
_TRANSPOSED = [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d]


class SmoothingKernel(nn.Module):
    """κ, one free kernel a channel (App. G.4).

    Args:
        initial: (channel, *kernel) its values at the start, such as `pyro_msde.grid.lanczos_kernel`
            or the paper's `gaussian_kernel` of the grid.
    """

    def __init__(self, initial: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(initial.clone())

    def forward(self) -> Tensor:
        """(channel, *kernel)."""
        return self.weight


def _in_place(activation: type[nn.Module]) -> nn.Module:
    """The activation; ReLU overwrites what it is given, which no layer before it needs again."""
    return nn.ReLU(inplace=True) if activation is nn.ReLU else activation()


class MLP(nn.Sequential):
    """Fully connected network with activations between the layers.

    Args:
        sizes: Width of the input, of each hidden layer, and of the output.
        activation: Class of the activations.
    """

    def __init__(self, sizes: Sequence[int], activation: type[nn.Module] = nn.ReLU) -> None:
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(sizes):
            layers += [nn.Linear(wide, narrow), _in_place(activation)]
        super().__init__(*layers[:-1])

    def features(self, x: Tensor) -> Tensor:
        """φ(x), (..., p), in which the network is linear: what its last layer takes, and one."""
        for layer in list(self)[:-1]:
            x = layer(x)
        return torch.cat([x, torch.ones_like(x[..., :1])], -1)

    def readout(self) -> Tensor:
        """W, (p, sizes[-1]), with which the network is φ(x) W."""
        last: Any = self[-1]
        return torch.cat([last.weight.mT, last.bias[None]])

    @torch.no_grad()
    def set_readout(self, weights: Tensor) -> None:
        """Let W be these, (p, sizes[-1])."""
        last: Any = self[-1]
        last.weight.copy_(weights[:-1].mT)
        last.bias.copy_(weights[-1])


class PolynomialMLP(nn.Module):
    """f(x) = A x + O (U x ∘ V x) + MLP(x): linear and low-rank quadratic paths beside a network.

    PDEs are mostly linear and quadratic in the stencil; these paths carry that part beyond the
    amplitudes seen in training, where a network is not to be trusted. A and O start at zero.

    Args:
        sizes: As for `MLP`.
        rank: Rank of the quadratic path; 0 leaves it out.
        reluctant: Start the network at zero too, and let its weights decay in training
            (`Recipe.weight_decay`): it is left with what the other paths cannot say.
    """

    def __init__(self, sizes: Sequence[int], rank: int = 8, *, reluctant: bool = False) -> None:
        super().__init__()
        self.network = MLP(sizes, nn.SiLU)
        self.linear = nn.Linear(sizes[0], sizes[-1], bias=False)
        nn.init.zeros_(self.linear.weight)
        self.reluctant = reluctant
        if reluctant:
            for last in self.network[-1].parameters():
                nn.init.zeros_(last)
        self.rank = rank
        if rank:
            self.factors = nn.Linear(sizes[0], 2 * rank, bias=False)
            self.output = nn.Linear(rank, sizes[-1], bias=False)
            nn.init.zeros_(self.output.weight)

    @property
    def has_polynomial(self) -> bool:
        """Whether the linear or the quadratic path has left its start at zero."""
        return bool(self.linear.weight.any()) or bool(self.rank and self.output.weight.any())

    @torch.no_grad()
    def set_polynomial(self, linear: Tensor, quadratic: Tensor) -> None:
        """Put values in the linear and quadratic paths; the network is left alone.

        A quadratic form of higher rank than there is room for is cut to its largest eigenvalues.

        Args:
            linear: A, (output, m), of the first m inputs; the other inputs' coefficients become 0.
            quadratic: Q, (output, m, m) symmetric: the k-th output has xᵀ Q_k x.
        """
        m = linear.shape[-1]
        self.linear.weight.zero_()[:, :m] = linear
        values, vectors = torch.linalg.eigh(quadratic)
        largest = values.abs().flatten().argsort(descending=True)[: self.rank]
        if self.rank:
            self.output.weight.zero_()
        for row, place in enumerate(largest.tolist()):
            output, k = divmod(place, m)
            # shared between the factors: Adam's steps then move both alike
            size = values[output, k].abs().sqrt()
            for factor in (row, self.rank + row):
                self.factors.weight[factor].zero_()[:m] = size * vectors[output, :, k]
            self.output.weight[output, row] = values[output, k].sign()

    def grow_from(self, smaller: PolynomialMLP, gaps: Sequence[tuple[int, int]] = ()) -> None:
        """Go on from a smaller one; `factors` has the rows of U, then those of V."""
        for name, layer in self.named_children():
            old = getattr(smaller, name, None)
            if name == "factors" and old is not None:
                row = torch.arange(smaller.rank)
                rows = torch.cat([row, self.rank + row])
                put(self.factors.weight, old.weight, rows=rows, gaps=gaps)
            else:
                grow_from(layer, old, gaps)

    def forward(self, x: Tensor) -> Tensor:
        """(..., sizes[0]) to (..., sizes[-1])."""
        value: Tensor = self.network(x) + self.polynomial(x)
        return value

    def polynomial(self, x: Tensor) -> Tensor:
        """The linear and quadratic paths alone."""
        value: Tensor = self.linear(x)
        if self.rank:
            u, v = self.factors(x).chunk(2, -1)
            value = value + self.output(u * v)
        return value

    def features(self, x: Tensor) -> Tensor:
        """φ(x), (..., p), in which f is linear: x, U x ∘ V x, and the network's."""
        quadratic = []
        if self.rank:
            u, v = self.factors(x).chunk(2, -1)
            quadratic.append(u * v)
        return torch.cat([x, *quadratic, self.network.features(x)], -1)

    def readout(self) -> Tensor:
        """W, (p, sizes[-1]), with which f is φ(x) W.

        Raises:
            NotImplementedError: The network is another one, which does not tell its last weights.
        """
        if not isinstance(self.network, LinearReadout):
            name = type(self.network).__name__
            raise NotImplementedError(f"network, a {name}, is no LinearReadout")
        quadratic = [self.output.weight.mT] if self.rank else []
        return torch.cat([self.linear.weight.mT, *quadratic, self.network.readout()])

    @torch.no_grad()
    def set_readout(self, weights: Tensor) -> None:
        """Let W be these, (p, sizes[-1])."""
        linear, quadratic, network = weights.split(
            [self.linear.in_features, self.rank, len(weights) - self.linear.in_features - self.rank]
        )
        self.linear.weight.copy_(linear.mT)
        if self.rank:
            self.output.weight.copy_(quadratic.mT)
        self.network.set_readout(network)


def _padding(periodic: Sequence[bool], half: int) -> tuple[list[int], list[int]]:
    """`F.pad` argument that wraps periodic axes, and the convolution's that zero-pads others."""
    wrap = [half * ring for ring in reversed(periodic) for _ in range(2)]
    return wrap, [half * (not ring) for ring in periodic]


class ConvEncoder(nn.Module):
    """Strided convolutions and a linear layer, from a fine-scale field to microscale states.

    Args:
        grid: Fine grid.
        n_eta: Microscale states.
        widths: Channels after each convolution.
        kernel: Length of the kernels, odd.
        stride: Stride of each convolution.
        num_covariates: Covariates that the linear layer takes too.

    Raises:
        ValueError: The kernel wraps around a periodic axis of a layer more than once.
    """

    @renamed_arguments(num_parameters="num_covariates")
    def __init__(
        self,
        grid: Places,
        n_eta: int,
        *,
        widths: Sequence[int] = (4, 16, 64),
        kernel: int = 25,
        stride: int = 2,
        num_covariates: int = 0,
    ) -> None:
        super().__init__()
        self.ndim, self.reach = grid.ndim, kernel // 2
        self.num_covariates = num_covariates
        channels = (grid.channels, *widths)
        self.wrap, zeros = _padding(grid.periodic, self.reach)
        self.layers = nn.ModuleList(
            _CONV[grid.ndim - 1](a, b, kernel, stride=stride, padding=zeros)
            for a, b in pairwise(channels)
        )
        self.activation = _in_place(nn.ReLU)
        _check_reach(grid, stride, len(widths), self.reach)
        size = _sizes(grid.shape, stride, len(widths))[-1]
        self.head = nn.Linear(widths[-1] * int(torch.Size(size).numel()) + num_covariates, n_eta)

    def forward(self, field: Tensor, covariates: Tensor | None = None) -> Tensor:
        """(..., channel, *space), and (..., num_covariates) if there are any, to (..., n_eta)."""
        lead = field.shape[: -self.ndim - 1]
        x = field.reshape(-1, *field.shape[-self.ndim - 1 :])
        for layer in self.layers:
            x = F.pad(x, self.wrap, mode="circular") if any(self.wrap) else x
            x = self.activation(layer(x))
        features = x.flatten(1)
        if covariates is not None:
            rows = covariates.expand(*lead, -1).reshape(len(features), -1)
            features = torch.cat([features, rows], -1)
        eta: Tensor = self.head(features)
        return eta.reshape(*lead, -1)


class ConvDecoder(nn.Module):
    """D(η): the encoder's mirror image, with transposed convolutions.

    Arguments and errors as for `ConvEncoder`, `widths` in the encoder's order.
    """

    def __init__(
        self,
        grid: Places,
        n_eta: int,
        *,
        widths: Sequence[int] = (4, 16, 64),
        kernel: int = 25,
        stride: int = 2,
    ) -> None:
        super().__init__()
        self.ndim, self.periodic = grid.ndim, grid.periodic
        self.reach, self.stride = kernel // 2, stride
        _check_reach(grid, stride, len(widths), self.reach)
        self.sizes = _sizes(grid.shape, stride, len(widths))[::-1]
        channels = (*reversed(widths), grid.channels)
        self.first = nn.Linear(n_eta, widths[-1] * int(torch.Size(self.sizes[0]).numel()))
        self.layers = nn.ModuleList(
            _TRANSPOSED[grid.ndim - 1](a, b, kernel, stride=stride, bias=False)
            for a, b in pairwise(channels)
        )
        self.biases = nn.ParameterList(torch.zeros(b, *(1,) * grid.ndim) for b in channels[1:])
        self.activation = _in_place(nn.ReLU)

    def forward(self, eta: Tensor) -> Tensor:
        """(..., n_eta) to (..., channel, *space)."""
        x = self.first(eta.reshape(-1, eta.shape[-1]))
        x = x.reshape(len(x), -1, *self.sizes[0])
        weights: list[Any] = [layer.weight for layer in self.layers]
        for weight, bias, size in zip(weights, self.biases, self.sizes[1:], strict=True):
            x = transposed_convolution(self.activation(x), weight, self.stride)
            x = self._trim(x, size) + bias
        return x.reshape(*eta.shape[:-1], *x.shape[1:])

    def _trim(self, x: Tensor, size: tuple[int, ...]) -> Tensor:
        """What a transposed convolution leaves beyond both ends is wrapped around, or cut off."""
        for axis, (n, ring) in enumerate(zip(size, self.periodic, strict=True), start=2):
            last = x.ndim - 1 - axis
            if ring:
                pad = [0, 0] * last + [n - self.reach, 2 * n + self.reach - x.shape[axis]]
                x = F.pad(x, pad).unflatten(axis, (3, n)).sum(axis)
            else:
                short = max(0, self.reach + n - x.shape[axis])
                x = F.pad(x, [0, 0] * last + [0, short]) if short else x
                x = x.narrow(axis, self.reach, n)
        return x


def _check_reach(grid: Places, stride: int, depth: int, reach: int) -> None:
    for size in _sizes(grid.shape, stride, depth)[:-1]:
        for n, ring in zip(size, grid.periodic, strict=True):
            if ring and reach > n:
                raise ValueError(
                    f"kernel: {2 * reach + 1} points wrap around a periodic layer of {n} more than "
                    "once. Use a smaller kernel, a smaller stride or fewer layers."
                )


def _sizes(shape: Sequence[int], stride: int, depth: int) -> list[tuple[int, ...]]:
    """Sizes of the grid after 0, 1, …, depth strided convolutions with odd, centred kernels."""
    sizes = [tuple(shape)]
    for _ in range(depth):
        sizes.append(tuple((n - 1) // stride + 1 for n in sizes[-1]))
    return sizes
