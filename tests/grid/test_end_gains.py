"""Near ends that mirror or go on a constant stays one, and smooth fields come back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pyro_msde.grid import Grid
from pyro_msde.models import multiscale
from pyro_msde.runs import rebuild

CASES = [
    ((96,), (48,), "neumann"),
    ((200,), (50,), "replicate"),
    ((101,), (51,), "neumann"),
    ((96,), (32,), ("dirichlet", "neumann")),
    ((64, 60), (11, 10), "neumann"),
    ((64, 60), (11, 15), ["replicate", "periodic"]),
]


def pair(shape: Any, coarse: Any, boundary: Any, channels: int = 1) -> Any:
    """Operators without and with unit gain, float64."""
    ends = [boundary] if isinstance(boundary, tuple) else boundary
    found = []
    for flag in (False, True):
        grid = Grid(shape, coarse, boundary=ends, channels=channels, unit_gain=flag)
        found.append(grid.operators(grid.kernel("lanczos", 5 if grid.ndim == 1 else 4).double()))
    return found


@pytest.mark.parametrize(("shape", "coarse", "boundary"), CASES)
def test_a_field_of_few_waves_comes_back_up_to_its_ends(
    shape: Any, coarse: Any, boundary: Any
) -> None:
    """One cosine an axis to .02, where the plain adjoint is out by a tenth or more.

    Between a wall where fields are zero and a mirror it is a sine.
    """
    plain, scaled = pair(shape, coarse, boundary)
    field = np.ones(())
    for n in plain.grid.shape:
        x = np.arange(n)
        if isinstance(boundary, tuple):
            wave = np.sin(np.pi / 2 * (x + 1) / (n + 0.5))
        else:
            wave = np.cos(np.pi * (x + 0.5) / n)
        field = np.multiply.outer(field, wave)
    if isinstance(boundary, list):  # a ring along the second axis
        field = np.broadcast_to(wave_of(plain.grid.shape[0])[:, None], field.shape)
    y = torch.tensor(np.array(field))[None]
    errors = [float((op.prolong(op.restrict(y)) - y).abs().max()) for op in (plain, scaled)]
    assert errors[1] < 0.02
    if shape != (96,) or coarse != (32,):  # an odd distance and a mirror go together
        assert errors[0] > 0.1


def wave_of(n: int) -> Any:
    """A cosine between mirrors."""
    return np.cos(np.pi * (np.arange(n) + 0.5) / n)


@pytest.mark.parametrize(("shape", "coarse", "boundary"), CASES)
def test_prolongation_is_the_adjoint_but_for_gains_near_ends(
    shape: Any, coarse: Any, boundary: Any
) -> None:
    """D is one in the middle; with it σ^d ⟨T_r y, ζ⟩ = ⟨y, D⁻¹ T_p ζ⟩."""
    plain, scaled = pair(shape, coarse, boundary)
    middle = tuple(n // 2 for n in scaled.grid.shape)
    assert float(scaled.gain[(0, *middle)]) == 1
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(1, *scaled.grid.shape, generator=generator, dtype=torch.float64)
    zeta = torch.randn(1, *coarse, generator=generator, dtype=torch.float64)
    assert torch.equal(plain.restrict(y), scaled.restrict(y))
    torch.testing.assert_close(scaled.prolong(zeta) / scaled.gain, plain.prolong(zeta))


def test_where_lattices_go_on_there_is_no_gain() -> None:
    """On rings and between walls where fields are zero."""
    for boundary in ("periodic", "dirichlet", "antisymmetric"):
        assert pair((128,), (64,), boundary)[1].gain is None


def test_channels_have_gains_of_their_own_ends() -> None:
    """Of a mirror, not of a wall."""
    gain = pair((64,), (32,), {0: "neumann", 1: "antisymmetric"}, 2)[1].gain
    assert float((gain[0] - 1).abs().max()) > 0.1
    assert bool((gain[1] == 1).all())


def test_it_follows_the_kernel() -> None:
    """Gradients reach κ through it: against central differences, in float64."""
    grid = Grid((24,), (12,), boundary="neumann", unit_gain=True)
    kernel = grid.kernel("lanczos", 2).double().requires_grad_()
    zeta = torch.linspace(1, 2, 12, dtype=torch.float64)[None]

    def total(k: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = grid.operators(k).prolong(zeta).square().sum()
        return found

    assert torch.autograd.gradcheck(total, kernel)


def test_models_have_it_but_those_saved_before_there_was_a_choice() -> None:
    """A description without it means the plain adjoint."""
    model = multiscale(64, 32, boundary="neumann")
    assert model.grid.unit_gain
    config = dict(model.config or {})
    assert rebuild(config).grid.unit_gain
    del config["unit_gain"]
    assert not rebuild(config).grid.unit_gain
    assert not multiscale(64, 32, boundary="neumann", unit_gain=False).grid.unit_gain
