"""The coefficients of an equation by themselves, as a Pyro program: Bayesian sparse regression."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyro_msde.equations import Evidence
from pyro_msde.priors import Part

__all__ = ["EquationCoefficients"]


class EquationCoefficients(PyroModule):
    """θ ~ p(θ), data ~ the likelihood of `fit.equation_evidence(train)`; c = size × θ.

    `bayesian(model.coefficients, prior)` puts any prior on θ: a Normal, a `Horseshoe`, a
    `SpikeAndSlab`. θ_k = ±1 means that term k by itself would be as large as u_t. Any guide of
    Pyro's and NUTS fit it.

    Args:
        evidence: Of one field's terms.
    """

    def __init__(self, evidence: Evidence) -> None:
        super().__init__()
        self.evidence = evidence
        most_likely = np.linalg.lstsq(evidence.precision, evidence.right, rcond=1e-12)[0]
        self.coefficients = Part(_Values(torch.as_tensor(most_likely)))
        for name in ("precision", "right", "sizes"):
            self.register_buffer(name, torch.as_tensor(getattr(evidence, name)))

    def forward(self) -> Tensor:
        """(term,) coefficients in the user's units, also the site `<field>_t`."""
        theta = self.coefficients.read()()
        precision, right, sizes = (
            self.get_buffer(name) for name in ("precision", "right", "sizes")
        )
        quadratic = theta @ precision @ theta
        pyro.factor("weak_form", right @ theta - 0.5 * quadratic)
        value: Any = pyro.deterministic(f"{self.evidence.field}_t", theta * sizes)
        return value


class _Values(nn.Module):
    """Numbers that are read."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values)

    def forward(self) -> Tensor:
        """The numbers."""
        return self.values
