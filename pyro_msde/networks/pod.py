"""Microscale networks on principal components of what the macroscale leaves (POD modes).

    E(r) = f(v ∘ Φᵀ r),        D(η) = Φ (w ∘ g(η)),

where Φ holds the first few principal components of training residuals r and f, g are small
networks. With s the root mean square along each component and n that of the noise, which is what
remains along all others, w = √(s² − n²) and v = (1 − n²/s²)/s: f gets numbers of size one, and none
of those that are but noise. The residuals of a flow fill a low-dimensional linear space, in which
the curved set that η parametrises lies: the networks learn its shape, not how a field looks, which
takes far fewer steps than convolutions do, and far less work a step.

Φ, v and w are not trained: `start_principal_components` reads them off the data, once, as `fit`
does. Until then they are random. The numbers of Φ are of the size 1/√N on N points. Half precision
has each to 2⁻¹¹ of itself, or to 3·10⁻⁸ where it is below 6·10⁻⁵, and so D to about .02 %.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyro_msde.data import Segments
from pyro_msde.networks.blocks import PolynomialMLP
from pyro_msde.priors import part_of, starting_values
from pyro_msde.protocols import Guide, Model, Places
from pyro_msde.renaming import renamed_arguments

__all__ = [
    "PrincipalDecoder",
    "PrincipalEncoder",
    "principal_components",
    "start_principal_components",
]

_MOST_SNAPSHOTS = 1000  # from which the components are taken
_ROUNDING = 10.0  # times a dtype's smallest step, of a field's size
_UNSEEN = 0.1  # share of a field's variance, beyond the least of all snapshots', that tells nothing


class _Modes(nn.Module):
    """Φ, v or w, and whether data have set them."""

    fixed = ("modes", "weights", "started")
    modes: Tensor
    weights: Tensor
    started: Tensor

    def __init__(self, grid: Places, rank: int) -> None:
        super().__init__()
        size = grid.channels * grid.num_points
        if not 1 <= rank <= size:
            raise ValueError(f"rank: {rank} components of fields of {size} numbers.")
        self.field_shape = grid.field_shape
        self.register_buffer("modes", torch.linalg.qr(torch.randn(size, rank))[0].mT.contiguous())
        self.register_buffer("weights", torch.ones(rank))
        self.register_buffer("started", torch.tensor(False))

    def start(self, modes: Tensor, weights: Tensor) -> None:
        """Set Φ (rank, numbers of a field), and v or w (rank,).

        Φ is rounded to half precision, in which it is saved, but in float64. So the networks learn
        with what is saved, and a fit that is loaded is the one that was saved, in every bit.
        """
        half = self.modes.dtype == torch.float32
        self.modes.copy_(modes.half() if half else modes)
        self.weights.copy_(weights)
        self.started.fill_(True)


class PrincipalEncoder(_Modes):
    """E(r) = f(v ∘ Φᵀ r), from fine-scale fields to microscale states.

    Args:
        grid: Fine grid.
        n_eta: Microscale states.
        rank: Principal components.
        widths: Of the hidden layers of f.
        num_covariates: Covariates that f takes too.
    """

    @renamed_arguments(num_parameters="num_covariates")
    def __init__(
        self,
        grid: Places,
        n_eta: int,
        *,
        rank: int = 32,
        widths: Sequence[int] = (128, 128),
        num_covariates: int = 0,
    ) -> None:
        super().__init__(grid, rank)
        self.num_covariates = num_covariates
        self.head = PolynomialMLP([rank + num_covariates, *widths, n_eta], 0)

    def forward(self, field: Tensor, covariates: Tensor | None = None) -> Tensor:
        """(..., channel, *space), and (..., num_covariates) if there are any, to (..., n_eta)."""
        x = field.flatten(-len(self.field_shape)) @ self.modes.mT * self.weights
        if covariates is not None:
            x = torch.cat([x, covariates.expand(*x.shape[:-1], -1)], -1)
        eta: Tensor = self.head(x)
        return eta


class PrincipalDecoder(_Modes):
    """D(η) = Φ (w ∘ g(η)), arguments as for `PrincipalEncoder`."""

    def __init__(
        self,
        grid: Places,
        n_eta: int,
        *,
        rank: int = 32,
        widths: Sequence[int] = (128, 128),
    ) -> None:
        super().__init__(grid, rank)
        self.first = PolynomialMLP([n_eta, *widths, rank], 0)

    def forward(self, eta: Tensor) -> Tensor:
        """(..., n_eta) to (..., channel, *space)."""
        field = (self.first(eta) * self.weights) @ self.modes
        return field.unflatten(-1, self.field_shape)


@torch.no_grad()
def start_principal_components(model: Model, guide: Guide, segments: Segments) -> bool:
    """Set the components of a model's decoder and its guide's encoder from training data.

    The decoder's are those of y − T_p T_r y, the encoder's those of y − S y.

    Args:
        model: Model with `decoder`, `grid` and `bind`.
        guide: Its guide, with `encoder`.
        segments: Training data in scaled units.

    Returns:
        Whether anything was done: not for other networks, nor where it has been done before.
    """
    part = part_of(model, "decoder")
    decoder = None if part is None else part._modules["net"]
    encoder = getattr(guide, "encoder", None)
    pending = [
        net for net in (decoder, encoder) if isinstance(net, _Modes) and not bool(net.started)
    ]
    if not pending:
        return False
    operators = model.bind(starting_values(model)).operators
    every = -(-sum(len(t) for t in segments.times) // _MOST_SNAPSHOTS)
    like = pending[0].modes
    y = torch.cat([v[::every] for v in segments.values]).to(like)
    y = y[_well_observed(segments, every).to(y.device)]
    smoothed = operators.smooth(y)
    left = {id(encoder): smoothed, id(decoder): operators.prolong(operators.sample(smoothed))}
    # what is smaller is rounding: all that fields that do not vary in space leave over
    size = float(y.flatten(1).norm(dim=1).square().mean()) ** 0.5 or 1.0
    least = _ROUNDING * torch.finfo(like.dtype).eps * size
    for net in pending:
        residual = (y - left[id(net)]).flatten(1)
        modes, sizes, noise = principal_components(residual, len(net.weights))
        above = sizes.clamp(min=least)
        signal = sizes.square() - noise**2
        if net is encoder:
            net.start(modes, signal.clamp(min=0) / above**3)
        else:
            net.start(modes, signal.clamp(min=(1e-3 * float(above[0])) ** 2).sqrt())
    return True


def _well_observed(segments: Segments, every: int) -> Tensor:
    """Which of every so many snapshots are hardly less observed than the best of them, (n,)."""
    shares = []
    for clock, values in zip(segments.times, segments.values, strict=True):
        unseen = getattr(values, "unseen", None)
        nothing = torch.zeros(len(clock))[::every]
        shares.append(nothing if unseen is None else unseen[::every, -1].to(nothing))
    share = torch.cat(shares)
    return share <= share.min() + _UNSEEN


def principal_components(fields: Tensor, rank: int) -> tuple[Tensor, Tensor, float]:
    """First principal components, without centring, by the method of snapshots (Sirovich 1987).

    With snapshots as rows of X, X Xᵀ = V s² Vᵀ, and the components are the columns of Xᵀ V s⁻¹.

    Args:
        fields: (snapshot, number) fields.
        rank: How many; if there are fewer, random ones orthogonal to them follow.

    Returns:
        Components (rank, number), orthonormal; the root mean square along each (rank,), at least
        a thousandth of the first; and that along a direction orthogonal to all, on average.
    """
    count = len(fields)
    gram = torch.zeros(count, count, dtype=torch.float64, device=fields.device)
    for columns in fields.split(4096, -1):
        gram += columns.double() @ columns.double().mT
    values, vectors = torch.linalg.eigh(gram / count)
    # so few snapshots have no more directions than this
    others = min(count, fields.shape[1]) - rank
    noise = float(values.flip(0)[rank:].clamp(min=0).sum() / others) if others > 0 else 0.0
    values, vectors = values.flip(0)[:rank].clamp(min=0), vectors.flip(1)[:, :rank]
    sizes = values.sqrt()
    sizes = torch.cat([sizes, sizes.new_zeros(rank - len(sizes))])
    span = fields.double().mT @ vectors
    more = torch.randn(span.shape[0], rank - span.shape[1], dtype=span.dtype, device=span.device)
    modes, upper = torch.linalg.qr(torch.cat([span, more], 1))
    modes = modes * torch.where(upper.diagonal() < 0, -1.0, 1.0)
    floor = 1e-3 * sizes[0].clamp(min=torch.finfo(torch.float32).tiny)
    return modes.mT.to(fields.dtype), sizes.clamp(min=floor).to(fields.dtype), noise**0.5
