"""Training runs of a few steps, for tests of what stops and resumes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from problems import snapshot, tiny_data
from torch import Tensor

import pyro_msde.inference.trainer

STEPS = 6
QUICK = {"length": 7, "stride": 1, "num_nodes": 5, "progress": False, "steps": STEPS}
DATA = tiny_data((9, 8, 10))


@pytest.fixture(autouse=True, scope="module")
def quicker() -> Iterator[None]:
    """The variances' optima, which nothing else depends on, from two minibatches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyro_msde.inference.trainer, "_MEASURED", 2)
        yield


def weights_of(result: Any) -> dict[str, Tensor]:
    """Copies of all parameters and buffers of a fit's model and guide."""
    own = {f"guide.{k}": v for k, v in snapshot(result.guide).items()}
    return {**snapshot(result.model), **own}
