"""The noise that forecasts take, as it is applied and saved."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pyro_msde.forecasts import PathNoise
from pyro_msde.sde import Dynamics


def test_it_multiplies_path_noise_and_spread() -> None:
    """L by its scale, hence C by the square."""
    zeros = torch.zeros(2, 1, 3)
    model: Any = None
    before = Dynamics(
        model, lambda z, t: z, torch.full((3,), 4.0), zeros[0], zeros, torch.Generator()
    )
    after = PathNoise(0.5, 0.1).apply(before)
    assert after.diffusion.tolist() == [1.0, 1.0, 1.0]
    assert after.spread == 0.1
    assert PathNoise(0.0).apply(before).diffusion.tolist() == [0.0, 0.0, 0.0]


def test_it_comes_back_from_what_is_saved() -> None:
    """Equal numbers."""
    noise = PathNoise(0.3, 0.03)
    model: Any = None
    assert PathNoise.from_dict(noise.to_dict(), model) == noise


@pytest.mark.parametrize(
    "saved",
    [
        {"scale": 1.0},
        {"scale": -1.0, "start": 1.0},
        {"scale": float("nan"), "start": 1.0},
        {"scale": 1.0, "start": "1"},
        {"scale": True, "start": 1.0},
        {"scale": 1.0, "start": 1e7},
    ],
)
def test_numbers_without_sense_are_refused(saved: dict[str, Any]) -> None:
    """With the name of what is wrong."""
    model: Any = None
    with pytest.raises(ValueError, match="path_noise"):
        PathNoise.from_dict(saved, model)
