"""Readings of θ: the latent SDE at each, with draws of where its paths start.

One reading serves several draws of a random adjustment where θ itself is a point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Generator, Tensor

from pyro_msde.data import Inputs
from pyro_msde.isolation import Isolation, exclusive
from pyro_msde.networks import LinearPart, drift_of
from pyro_msde.priors import private
from pyro_msde.protocols import Adjustment, BoundModel, Guide, Model, Solver
from pyro_msde.sde import (
    FORECAST_STEP,
    SHORTEST_STEP,
    STABLER,
    ConfinedDrift,
    Dynamics,
    along,
    cheaper_rule,
    in_opposite_pairs,
    integrate,
    integrate_exponentially,
    noise_axes,
    sample_moments,
    stable_step,
    turned,
    turned_back,
)

__all__ = ["Encoded", "Reading", "draws_of_theta", "readings"]

_CALMER = 5.0  # longest step of the exponential rule, of fourth order, against the midpoint rule's


@dataclass(frozen=True)
class Encoded:
    """Fields as a guide encodes them, in scaled units.

    Attributes:
        values: (row, channel, *space), filled in where nothing was observed.
        observed: Shaped alike, what was observed; None: everything.
        expected: The same and where nothing ever was in training, for the guide.
        covariates: (row, p + c), with the controls then; None: there are none.
    """

    values: Tensor
    observed: Tensor | None
    expected: Tensor | None
    covariates: Tensor | None

    def moments(self, guide: Guide, theta: BoundModel) -> tuple[Tensor, Tensor]:
        """Mean and variance of q(z|y)."""
        seen = {} if self.expected is None else {"observed": self.expected}
        return guide.encode(self.values, theta, self.covariates, **seen)


@dataclass(frozen=True)
class Reading:
    """The model at one reading of θ, and the latent SDE of some paths.

    Attributes:
        sites: Values of the guide's sites.
        theta: The model at these.
        unadjusted: The SDE as the model has it.
        dynamics: The same, adjusted.
        adjustments: By which.
        stream: State of the generator that adjustments draw from.
    """

    sites: Mapping[str, Tensor]
    theta: BoundModel
    unadjusted: Dynamics
    dynamics: Dynamics
    adjustments: Sequence[Adjustment]
    stream: Tensor

    def started_at(self, states: Tensor, mean: Tensor) -> Reading:
        """With other starts (path, row, latent) of a mean (row, latent), adjusted anew.

        Random adjustments are what they were.
        """
        moved = replace(
            self.unadjusted,
            start=states,
            encoded=mean,
            generator=Generator().set_state(self.stream),
        )
        adjusted = _adjusted(moved, self.adjustments)
        return replace(self, unadjusted=moved, dynamics=adjusted)

    def with_its_spread(self) -> Reading:
        """With starts at `Dynamics.spread` of their distances from the mean."""
        dynamics = self.dynamics
        if dynamics.spread == 1:
            return self
        away = dynamics.start - dynamics.encoded
        start = dynamics.encoded + dynamics.spread * away
        return replace(self, dynamics=replace(dynamics, start=start, spread=1.0))

    def paths(
        self,
        times: Tensor,
        inputs: Inputs,
        *,
        max_step: float | None,
        solver: Solver | None,
        generator: Generator,
        independent: bool = False,
    ) -> Tensor:
        """Paths (path, row, time, latent) at times (row, time), the first of which is the start's.

        Raises:
            ValueError: The solver's are of another shape, or take too many steps.
        """
        dynamics = self.dynamics
        drift = inputs.driving(dynamics.drift)
        axes = dynamics.noise_axes
        step = FORECAST_STEP if max_step is None else max_step
        blocks = 0
        if not independent:
            draws = len(dynamics.draws)
            share = len(dynamics.start) // draws
            blocks = opposite_blocks(draws, share, dynamics.num_draws // draws)
        if solver is None and dynamics.linear_part is not None:
            return self._exponentially(times, inputs, max_step, generator, blocks)
        if solver is None:
            stable = stable_step(drift, dynamics.encoded, times[:, 0], generator=generator)
            limit = min(dynamics.longest_step, max(SHORTEST_STEP, stable))
            rule, step = cheaper_rule(step, limit)
            solver = partial(integrate, rule=rule, opposed=blocks)
        path = solver(
            along(drift, axes),
            dynamics.diffusion,
            turned(dynamics.start, axes),
            times,
            max_step=step,
            generator=generator,
        )
        wanted = (*dynamics.start.shape[:-1], times.shape[-1], dynamics.start.shape[-1])
        if path.shape != wanted:
            raise ValueError(
                f"solver: paths {tuple(path.shape)}. Return (path, row, time, latent), here "
                f"{wanted}."
            )
        return turned_back(path, axes)

    def _exponentially(
        self,
        times: Tensor,
        inputs: Inputs,
        max_step: float | None,
        generator: Generator,
        blocks: int,
    ) -> Tensor:
        """Paths by a rule that takes the drift's stiff linear part exactly."""
        dynamics = self.dynamics
        if dynamics.linear_part is None:
            raise ValueError("linear_part: there is none")
        linear = dynamics.linear_part(inputs.covariates, dynamics.encoded)
        confined = dynamics.drift if isinstance(dynamics.drift, ConfinedDrift) else None
        inner = inputs.driving(dynamics.drift if confined is None else confined.inner)

        rest = linear.without(inner)
        stable = stable_step(rest, dynamics.encoded, times[:, 0], generator=generator)
        limit = min(STABLER * stable, _CALMER * dynamics.longest_step)
        if max_step is not None:
            limit = min(limit, max_step)
        return integrate_exponentially(
            inner,
            linear,
            dynamics.diffusion,
            dynamics.start,
            times,
            max_step=max(SHORTEST_STEP, limit),
            project=None if confined is None else confined.project,
            pull=0.0 if confined is None else confined.pull,
            axes=dynamics.noise_axes,
            generator=generator,
            opposed=blocks,
        )


def readings(
    model: Model,
    guide: Guide,
    fields: Encoded,
    draws: Sequence[Mapping[str, Tensor]],
    *,
    at_once: int,
    share: int,
    adjustments: Sequence[Adjustment],
    generator: Generator,
) -> Iterator[Reading]:
    """A reading at each draw of θ, with paths that start from q(z|y).

    Args:
        model: The generative model.
        guide: Its guide.
        fields: Where paths start.
        draws: Of θ.
        at_once: Draws of random adjustments that share one of θ.
        share: Paths for each of them.
        adjustments: Of the latent SDE, in their order.
        generator: Of the CPU, which the first reading's adjustments take on.
    """
    stream: Tensor | None = None  # the generator, before the first draw's adjustments
    for k, sites in enumerate(draws):
        with exclusive():
            theta = private(model.bind(sites))
            mean, cov = fields.moments(guide, theta)
        blocks = opposite_blocks(at_once, share, len(draws))
        noise = torch.randn(
            (blocks + 1) // 2 if blocks else 1,
            at_once * share // max(1, blocks),
            *mean.shape,
            generator=generator,
            dtype=torch.float32,
        ).to(mean)
        if blocks:
            noise = in_opposite_pairs(noise, blocks)
        own = generator if stream is None else Generator().set_state(stream)
        stream = own.get_state()
        plain = Dynamics(
            model,
            theta.drift,
            theta.diffusion,
            mean,
            sample_moments(mean, cov, noise.flatten(0, 1)),
            own,
            draws=range(k * at_once, (k + 1) * at_once),
            num_draws=len(draws) * at_once,
            noise_axes=noise_axes(theta),
            linear_part=_linear_part(model),
        )
        adjusted = _adjusted(plain, adjustments)
        yield Reading(sites, theta, plain, adjusted, adjustments, stream)


def _linear_part(model: Model) -> Callable[[Tensor | None, Tensor], LinearPart] | None:
    """That of the equation in a drift."""
    path = getattr(drift_of(model), "equation", None)
    if path is None or not path.started:
        return None
    found: Callable[[Tensor | None, Tensor], LinearPart] = path.linear_part
    return found


def opposite_blocks(at_once: int, share: int, num_theta: int) -> int:
    """Blocks of a reading's paths of which each second one's noise is the opposite of that before.

    They are those of draws of random adjustments, which come in opposite pairs, too, or else single
    paths. Readings of a random θ have none: what varies within one would be overestimated.

    Args:
        at_once: Draws of random adjustments.
        share: Paths for each of them.
        num_theta: Readings.
    """
    if at_once > 1:
        return at_once
    return share if num_theta == 1 else 0


def draws_of_theta(
    guide: Guide, count: int, seed: int, device: torch.device
) -> tuple[list[dict[str, Tensor]], Generator]:
    """Values of the guide's sites at each draw, and the generator that goes on from there."""
    generator = Generator()
    if getattr(guide, "theta", guide) is None:  # others may draw θ though they do not say so
        return [{}] * count, generator.manual_seed(seed)
    isolation = Isolation(seed, device)
    with isolation.turn():
        draws = [dict(guide.read_theta()) for _ in range(count)]
    return draws, generator.set_state(isolation.state[0])


def _adjusted(dynamics: Dynamics, adjustments: Sequence[Adjustment]) -> Dynamics:
    for adjustment in adjustments:
        dynamics = adjustment.apply(dynamics)
    return dynamics
