"""Parts of a model: networks whose parameters are points, or random with a prior.

A model reads each part once, first thing in its forward pass, and then calls what it got. Read
values are therefore the same in the likelihood and in the drift residual, which Pyro evaluates
after the model's trace is closed, when reading a random parameter again would draw it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy, deepcopy
from typing import Any

import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyro_msde.protocols import Module

__all__ = [
    "LogVariance",
    "Part",
    "fixed_names",
    "flatten_parameters",
    "is_positive",
    "parameter_values",
    "part_of",
    "private",
    "unflatten_parameters",
]


def parameter_values(net: nn.Module) -> dict[str, Tensor]:
    """Tensors of `net.state_dict()` by name, without those that modules name in `fixed`.

    Parameters that have been given a prior are among them: they are buffers then.
    """
    fixed = fixed_names(net)
    return {name: p.detach() for name, p in net.state_dict().items() if name not in fixed}


def fixed_names(net: Module) -> set[str]:
    """Names in `net.state_dict()` of what modules name in `fixed`: data set it, not training."""
    return {
        f"{prefix}.{name}".lstrip(".")
        for prefix, module in net.named_modules()
        for name in getattr(module, "fixed", ())
    }


def flatten_parameters(net: nn.Module) -> Tensor:
    """All `parameter_values` as one vector."""
    return torch.cat([p.reshape(-1) for p in parameter_values(net).values()])


def unflatten_parameters(net: nn.Module, flat: Tensor) -> dict[str, Tensor]:
    """Inverse of `flatten_parameters`: tensors by name, views of `flat`."""
    shapes = {name: p.shape for name, p in parameter_values(net).items()}
    pieces = flat.split([shape.numel() for shape in shapes.values()], -1)
    return {
        name: piece.reshape(shape)
        for (name, shape), piece in zip(shapes.items(), pieces, strict=True)
    }


class LogVariance(nn.Module):
    """Positive values stored as logarithms: variances of experts, diffusion.

    Their learning rate is their own (`Recipe.variance_rate`): at the rate of the weights they would
    not converge within a usual run.

    Args:
        shape: Shape of the values.
        initial: Value of all of them at the start.
        floor: Smallest value.
        repeats: How often each value appears in a row, for a one-dimensional shape: values shared
            by all points of a channel.
        broadcast: Shape to which the values are broadcast, likewise for fields.
    """

    positive = True
    index: Tensor | None

    def __init__(
        self,
        shape: tuple[int, ...],
        initial: float,
        *,
        floor: float = 1e-10,
        repeats: Sequence[int] | None = None,
        broadcast: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.floor, self.broadcast = floor, broadcast
        self.log_value = nn.Parameter(torch.full(shape, initial).log())
        index = None if repeats is None else _repeated_index(repeats)
        self.register_buffer("index", index, persistent=False)

    def forward(self) -> Tensor:
        """The values, shaped as given, as `broadcast`, or (sum of repeats,)."""
        value = self.log_value.exp() + self.floor
        if self.broadcast is not None:
            return value.expand(*self.broadcast)
        return value if self.index is None else value[self.index]


def is_positive(net: object) -> bool:
    """Whether a network says, by `positive`, that its values are those of `LogVariance`s."""
    return getattr(net, "positive", False)


def _repeated_index(repeats: Sequence[int]) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(repeats)), torch.tensor(repeats))


class Part(PyroModule):
    """A network of the model, and the prior over its parameters if there is one.

    The network is a plain `nn.Module`; with a prior (`pyro_msde.priors.bayesian`) its parameters
    become buffers, which keep the values from before, and one site `<part>.theta` holds them all.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.prior: str | None = None  # in words, to tell runs apart
        self.scales_start: dict[str, Tensor] = {}  # of a hierarchical prior's other sites

    @property
    def is_random(self) -> bool:
        """Whether the parameters have a prior."""
        return "theta" in self._pyro_samples

    def read(self, theta: Mapping[str, Tensor] | None = None) -> Callable[..., Any]:
        """The network at its parameters' values now.

        Args:
            theta: Values of sites by name, as a guide over θ draws them; with them, if there are
                none too, Pyro has no part in it. None: as a Pyro program, which reads this part's
                site, if it has one, as the model does.

        Raises:
            ValueError: `theta` lacks this part's site.
        """
        net: Any = self._modules["net"]
        if theta is None:
            with self._pyro_context:  # within which attributes are parameters and sites
                if not self.is_random:
                    return self.net
                flat = self.theta
        elif not self.is_random:
            return net
        elif self.site in theta:
            flat = theta[self.site]
        else:
            raise ValueError(
                f"guide: has no site {self.site}, which the model samples. Make the guide after "
                "putting priors on the model."
            )
        like = next(iter(net.state_dict().values()))
        return _At(net, flat.to(like))

    @property
    def site(self) -> str:
        """Name of the site that holds the parameters."""
        return self.site_of("theta")

    def site_of(self, name: str) -> str:
        """Name of the site of one of the part's random attributes."""
        # not Pyro's own full name, which is defined only once the model has run
        return f"{self._pyro_name}.{name}" if self._pyro_name else name


def part_of(model: object, name: str) -> Part | None:
    """The part of a name, such as "drift"; None where a model has none of this name."""
    part = getattr(model, name, None)
    return part if isinstance(part, Part) else None


class _At:
    """A network evaluated at parameters held in one vector."""

    def __init__(self, net: Any, flat: Tensor) -> None:
        self.net = net
        values = unflatten_parameters(net, flat)
        if is_positive(net):
            values = {name: value.log() for name, value in values.items()}
        self.values = values

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return torch.func.functional_call(self.net, self.values, args, kwargs)

    def copy(self) -> Any:
        """A network of its own that holds the values."""
        net = deepcopy(self.net)
        net.load_state_dict(self.values, strict=False)
        return net


@torch.no_grad()
def private(theta: Any) -> Any:
    """Parameters as a model read them, with networks and tensors of their own.

    Later training does not reach into them, and several threads may use them: calls at a draw of θ
    put its values into the model's own network for as long as they last.

    Args:
        theta: What the model's `bind` gave.
    """

    def copied(value: Any) -> Any:
        if isinstance(value, _At):
            return value.copy()
        if isinstance(value, nn.Module):
            return deepcopy(value)
        return value.detach().clone() if isinstance(value, Tensor) else value

    new = copy(theta)
    vars(new).update({name: copied(value) for name, value in vars(theta).items()})
    return new
