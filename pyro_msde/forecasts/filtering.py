"""What several snapshots say of the latest latent state: an ensemble Kalman filter.

The first snapshot is encoded. From each to the next the ensemble moves by the learned SDE, and is
then corrected by the model's own likelihood of what was observed, linearised about its mean:

    P_a = (P⁻¹ + J)⁻¹,   m_a = m + P_a Hᵀ R⁻¹ (y − h(m)),   J = Hᵀ R⁻¹ H,   z_a = m_a + A (z − m),

with h(z) and R mean and variance of p(y|z), and A P Aᵀ = P_a: a square root filter (Tippett et al.
2003, Mon. Weather Rev. 131). P is the ensemble's covariance, its correlations shrunk to zero by
what so few members leave open (Schäfer & Strimmer 2005, doi:10.2202/1544-6115.1175).

The encoder's variance is that of a smoothed path, which many snapshots hold in place. Of a raw one
its mean has the noise of the observations as well: members encode the first snapshot with noise of
the likelihood's variance added, each with its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Generator, Tensor

from pyro_msde.forecasts.readings import Encoded, Reading
from pyro_msde.isolation import exclusive
from pyro_msde.protocols import BoundModel, Guide
from pyro_msde.sde import sample_moments

__all__ = ["FEWEST_MEMBERS", "corrected", "filtered", "information", "shrunk_covariance"]

FEWEST_MEMBERS = 8  # of an ensemble whose covariance says anything

_JITTER = 1e-9  # of correlations
_NARROWEST = 1e-9  # of states in scaled units: what does not vary cannot be divided by
_LEAST = 1e-3  # over which h is differenced, in scaled units: float32 rounds h to 1e-7


def filtered(
    members: Sequence[Reading],
    guide: Guide,
    snapshots: Sequence[Encoded],
    times: Tensor,
    move: Callable[[Reading, Tensor], Tensor],
    generator: Generator,
) -> list[Reading]:
    """Readings whose paths start from what all snapshots say of the last one's state.

    Args:
        members: Readings; all of their paths together are the ensemble.
        guide: Which encodes the first snapshot.
        snapshots: One or more.
        times: (row, snapshot) theirs, in training horizons.
        move: From a reading and times (row, 2) to its paths (path, row, 2, latent).
        generator: Of the CPU.
    """
    starts = [_noisily_encoded(member, guide, snapshots[0], generator) for member in members]
    members = _started(members, starts)
    for i, snapshot in enumerate(snapshots[1:], 1):
        states = [move(member, times[:, i - 1 : i + 1])[..., 1, :] for member in members]
        members = _started(members, _analysis(members, states, snapshot))
    return list(members)


def _started(members: Sequence[Reading], states: Sequence[Tensor]) -> list[Reading]:
    mean = torch.cat(list(states)).mean(0)
    return [member.started_at(z, mean) for member, z in zip(members, states, strict=True)]


def _noisily_encoded(member: Reading, guide: Guide, first: Encoded, generator: Generator) -> Tensor:
    """Draws (path, row, latent) of the state of a raw snapshot."""
    start, grid = member.unadjusted.start, member.unadjusted.model.grid
    sd = member.theta.observe(member.unadjusted.encoded).variance.sqrt()
    shape = (len(start), *first.values.shape)
    noise = torch.randn(shape, generator=generator, dtype=torch.float32).to(sd) * sd
    fields = replace(first, values=first.values + noise)
    if first.observed is not None and first.expected is not None:
        seen = first.observed.expand(shape)
        filled = grid.filled(fields.values.where(seen, 0), seen)
        fields = Encoded(filled, seen, first.expected.expand(shape), first.covariates)
    with exclusive():
        mean, cov = fields.moments(guide, member.theta)
    return sample_moments(mean, cov, torch.randn(start.shape, generator=generator).to(start))


def _analysis(
    members: Sequence[Reading], states: Sequence[Tensor], snapshot: Encoded
) -> list[Tensor]:
    """States (path, row, latent) of each member, given a snapshot."""
    together = torch.cat(list(states))
    mean, cov = together.mean(0), shrunk_covariance(together)
    results = [z.clone() for z in states]
    for row in range(len(mean)):
        if not bool(cov[row].isfinite().all()):
            continue  # paths that ran away; `Forecast.diverged` tells
        seen = None if snapshot.observed is None else snapshot.observed[row]
        sd = cov[row].diagonal().sqrt().to(mean)
        for member, result in zip(members, results, strict=True):
            b, J = information(member.theta, mean[row], sd, snapshot.values[row], seen)
            result[:, row] = corrected(result[:, row], mean[row], cov[row], b, J)
    return results


def shrunk_covariance(states: Tensor) -> Tensor:
    """Covariances (row, n, n) float64 of states (member, row, n), with shrunk correlations."""
    count = len(states)
    away = (states - states.mean(0)).double()
    sd = (away.square().sum(0) / max(1, count - 1)).sqrt()
    unit = away / sd.clamp(min=torch.finfo(sd.dtype).tiny)
    product = torch.einsum("mri,mrj->rij", unit, unit) / count
    square = torch.einsum("mri,mrj->rij", unit.square(), unit.square()) / count
    off = 1 - torch.eye(sd.shape[-1], dtype=sd.dtype, device=sd.device)
    uncertain = ((square - product.square()) * off).sum((-1, -2)) / max(1, count - 1)
    share = uncertain / (product.square() * off).sum((-1, -2)).clamp(min=torch.finfo(sd.dtype).tiny)
    kept = 1 - share.clamp(0, 1)[:, None, None]
    correlation = product * (count / max(1, count - 1)) * off * kept
    return sd[:, :, None] * (correlation + (1 - off)) * sd[:, None, :]


def information(
    theta: BoundModel, mean: Tensor, sd: Tensor, field: Tensor, observed: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Hᵀ R⁻¹ (y − h(m)) and Hᵀ R⁻¹ H of a snapshot, (n,) and (n, n) float64.

    Args:
        theta: The model, whose p(y|z) is taken.
        mean: m (n,).
        sd: (n,) over which h is differenced, so that H is what it is on average there.
        field: y (channel, *space).
        observed: Shaped alike; None: everywhere.
    """
    size = len(mean)
    width = sd.clamp(min=_LEAST)
    steps = torch.diag(width)
    law = theta.observe(torch.cat([mean[None], mean + steps, mean - steps]))
    h = law.mean.flatten(1).double()
    H = (h[1 : size + 1] - h[size + 1 :]) / (2 * width.double()[:, None])
    weight = 1 / law.variance[0].flatten().double()
    if observed is not None:
        weight = weight * observed.flatten()
    return (H * weight) @ (field.flatten().double() - h[0]), (H * weight) @ H.mT


def corrected(states: Tensor, mean: Tensor, cov: Tensor, b: Tensor, J: Tensor) -> Tensor:
    """States (member, n) moved from N(mean, cov) to its posterior given a snapshot.

    Args:
        states: Members.
        mean: m (n,).
        cov: P (n, n) float64.
        b: Hᵀ R⁻¹ (y − h(m)).
        J: Hᵀ R⁻¹ H.
    """
    sd = cov.diagonal().sqrt().clamp(min=_NARROWEST)
    eye = torch.eye(len(cov), dtype=cov.dtype, device=cov.device)
    chol = sd[:, None] * torch.linalg.cholesky(cov / sd[:, None] / sd + _JITTER * eye)
    gained, axes = torch.linalg.eigh(chol.mT @ J @ chol)
    left = chol @ axes
    shrink = 1 / (1 + gained.clamp(min=0))
    step = left @ (shrink * (left.mT @ b))
    root = (left * shrink.sqrt()) @ axes.mT  # A chol
    A = torch.linalg.solve_triangular(chol, root, upper=False, left=False)
    moved = mean.double() + step + (states - mean).double() @ A.mT
    return moved.to(states)
