"""What training records as it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["History"]


@dataclass
class History:
    """What training recorded: the ELBO's terms per logging step, the score per validation.

    Attributes:
        steps: Steps at which the terms below were logged.
        terms: By name ("elbo", "log_likelihood", "drift_residual", "kl_parameters"), averaged since
            the last logging step, in nats for data in the user's units.
        validation_steps: Steps after which the model was validated.
        validation: NRMSE on the validation trajectories then.
        kept: Which of these validations, counted from zero, had the parameters that are kept; None:
            there was none, or the run is older than this, and the least score has them.
        variance_gaps: Mean log ratio of the "observation" variances to the ELBO's optimum for them,
            as training left them: above zero where they are too large. They are put there
            afterwards. Empty where there is no closed form
            (`pyro_msde.inference.closed_form_variance`). Older runs have one of "diffusion", too.
    """

    steps: list[int] = field(default_factory=list)
    terms: dict[str, list[float]] = field(default_factory=dict)
    validation_steps: list[int] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    variance_gaps: dict[str, float] = field(default_factory=dict)
    kept: int | None = None

    @property
    def kept_score(self) -> float | None:
        """The validation score of the parameters that are kept; None: there is none."""
        if self.kept is None:
            return min(self.validation, default=None)
        return self.validation[self.kept]

    def record(self, step: int, terms: Mapping[str, float]) -> None:
        """Append one logging step."""
        self.steps.append(step)
        for name, value in terms.items():
            self.terms.setdefault(name, []).append(value)

    def __repr__(self) -> str:
        """How much there is of what."""
        last = f" to step {self.steps[-1]}" if self.steps else ""
        return f"History({len(self.steps)} entries{last}, {len(self.validation)} validations)"
