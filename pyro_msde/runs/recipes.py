"""Training recipes: segments, quadrature, learning rates, annealing."""

from __future__ import annotations

from dataclasses import dataclass

from pyro_msde.checks import check_choice, check_flag, check_number, check_whole
from pyro_msde.data import LENGTH, STRIDE
from pyro_msde.renaming import renamed_arguments, renamed_attribute

__all__ = ["RECIPES", "Recipe"]


@renamed_arguments(windows="segment_starts", spread="tube_width")
@dataclass(frozen=True)
class Recipe:
    """How to train: segments, quadrature, learning rates, annealing.

    Attributes:
        length: Observations a segment. `fit` takes fewer where trajectories are shorter.
        stride: Every how many snapshots a segment takes one; `fit` takes more of them where fields
            decorrelate faster or trajectories are shorter.
        segment_starts: "random": a segment may start at any snapshot. "fixed": each segment starts
            where the one before it ends.
        segments_per_step: Segments a minibatch.
        num_nodes: Quadrature nodes a segment.
        antithetic: A pair of opposite draws of z at each node, not one.
        tube_width: At half of the quadrature nodes, states are drawn this many times as far from
            the mean as q(z|t) has them, so that the drift is learned on a wider tube around each
            trajectory. 1 is the ELBO. A wider tube helps where few trajectories lie far apart and
            long training has made the tube thin; on the hard KdV split it harms.
        learning_rate: Adam's rate for the networks.
        variance_rate: Multiple of it for variances and diffusion.
        kernel_rate: Multiple of it for the smoothing kernel. None: the kernel's largest value at
            the start. Its values are small, as they sum to one: at the rate of the weights they
            would be stirred rather than learned.
        schedule: "cosine" to zero over the run, or "steps": ×0.9 every 2000 steps.
        beta: Weight β of the drift residual in the loss. At β = 1 the loss is the negative ELBO. A
            larger β tempers the likelihood: relative to the other terms, each observation counts
            1/β. None sets β to the number of values in a snapshot, so that a whole snapshot counts
            as one observation. The reason is that a model's errors at neighbouring points are
            alike, while the likelihood takes them for independent and counts them all. At β = 1 it
            therefore outweighs the drift residual: the guide follows the observations too closely,
            with too small a variance, and forecasts become worse. Where paths are noisy between
            observations and the drift starts as a linear inverse model, None is 1: what moves them
            at random is no such error, and a larger β would take it for noise at each point.
        beta_parameters: Weight of KL(q(θ) ‖ p(θ)) in the loss. None takes β, but at least 1: if the
            likelihood is tempered, the prior of θ has to be weighed as the drift residual is. With
            a smaller weight the posterior is narrower than the tempered likelihood allows.
        anneal: Steps over which β grows from 0; none after a warm start.
        clip: Longest gradient, as a multiple of the usual one (a running average); longer ones are
            shortened to it. After one outlier Adam would move every parameter, variances above all.
            None: no limit.
        weight_decay: Decoupled decay, per unit of learning rate and step, of the networks in
            reluctant `PolynomialMLP`s.
        warm_start: Start the drifts from regressions on the data, where they can be. Beside
            microscale states, which then start at principal components, only if β is given.
        patience: Validations in a row without a better one after which training ends, where the
            drift started as a linear inverse model: noisy data are soon learned by heart. None:
            never.
        refine: Solve for the last weights of the drift's networks at the end, by least squares
            (`pyro_msde.inference.drift_refinement`). With validation trajectories, what was best on
            them is kept.

    Raises:
        ValueError: A number that is not of its kind, or an unknown schedule.
    """

    length: int = LENGTH
    stride: int = STRIDE
    segment_starts: str = "random"
    segments_per_step: int = 1
    num_nodes: int = 64
    antithetic: bool = True
    tube_width: float = 1.0
    learning_rate: float = 3e-3
    variance_rate: float = 10.0
    kernel_rate: float | None = None
    schedule: str = "cosine"
    beta: float | None = None
    beta_parameters: float | None = None
    anneal: int = 2000
    clip: float | None = 3.0
    weight_decay: float = 0.1
    warm_start: bool = True
    patience: int | None = 4
    refine: bool = False
    windows = renamed_attribute("windows", "segment_starts")
    spread = renamed_attribute("spread", "tube_width")

    def __post_init__(self) -> None:
        """Check every field, by name."""
        for name, least in (
            ("stride", 1),
            ("segments_per_step", 1),
            ("num_nodes", 1),
            ("length", 2),
            ("anneal", 0),
        ):
            self._set(name, check_whole(name, getattr(self, name), least))
        self._set("tube_width", check_number("tube_width", self.tube_width))
        if self.tube_width < 1:
            raise ValueError(f"tube_width={self.tube_width}: give 1, the ELBO, or more.")
        for name in ("learning_rate", "variance_rate", "weight_decay"):
            self._set(name, check_number(name, getattr(self, name), zero=True))
        for name in ("kernel_rate", "beta", "beta_parameters"):
            if getattr(self, name) is not None:
                self._set(name, check_number(name, getattr(self, name), zero=True))
        if self.patience is not None:
            self._set("patience", check_whole("patience", self.patience, 1))
        if self.clip is not None:
            self._set("clip", check_number("clip", self.clip))
        check_choice("schedule", self.schedule, ("cosine", "steps"))
        check_choice("segment_starts", self.segment_starts, ("random", "fixed"))
        for name in ("antithetic", "warm_start", "refine"):
            check_flag(name, getattr(self, name))

    def _set(self, name: str, value: float) -> None:
        """Put Python's own number in the place of numpy's."""
        object.__setattr__(self, name, value)


RECIPES = {
    "default": Recipe(),
    # for fields that the coarse grid resolves, so that no microscale is needed: the drift starts
    # near its goal and takes smaller steps, on the ELBO itself
    "resolved": Recipe(
        learning_rate=1e-3,
        kernel_rate=1.0,
        beta=1.0,
        antithetic=False,
        clip=None,
        weight_decay=0.3,
    ),
    "published": Recipe(
        length=128,
        stride=1,
        segment_starts="fixed",
        num_nodes=128,
        antithetic=False,
        learning_rate=1e-3,
        variance_rate=1.0,
        kernel_rate=1.0,
        schedule="steps",
        beta=1.0,
        anneal=5000,
        clip=None,
        weight_decay=0.0,
        warm_start=False,
    ),
}
