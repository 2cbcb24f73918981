"""Training runs of a few steps, for tests of what stops and resumes them."""

from __future__ import annotations

from typing import Any

from problems import snapshot, tiny_data
from torch import Tensor

STEPS = 6
QUICK = {"length": 7, "stride": 1, "num_nodes": 5, "progress": False, "steps": STEPS}
DATA = tiny_data((9, 8, 10))


def weights_of(result: Any) -> dict[str, Tensor]:
    """Copies of all parameters and buffers of a fit's model and guide."""
    own = {f"guide.{k}": v for k, v in snapshot(result.guide).items()}
    return {**snapshot(result.model), **own}
