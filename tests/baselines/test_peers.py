"""Sparse regression by PySINDy, the neural operator, and intervals from errors on validation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from burgers_fields import NU, burgers

pytest.importorskip("pysindy")

from benchmarks import conformal, fno, opponents, pde_find
from pyro_msde import Trajectories
from pyro_msde.datasets.problem import Splits


def test_sparse_regression_finds_burgers_equation_and_solves_it() -> None:
    """Its two terms to a twentieth, whatever small ones are beside; forecasts to a twentieth."""
    found = pde_find.best_equation(burgers(6, 0), burgers(2, 1), 2)
    terms = {term[1:]: term[0] for term in found.terms}
    assert terms[1, 0, 1] == pytest.approx(-1, rel=0.05)
    assert terms[0, 0, 2] == pytest.approx(NU, rel=0.05)
    (one,) = burgers(1, 2)
    away = found.forecast(one) - one.values[0]
    assert np.square(away).mean() < 0.05**2 * np.square(one.values[0]).mean()
    assert "u_xx" in str(found)


def test_both_are_scored_with_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors, coverage and CRPS of each test trajectory; a second of training does for that."""
    sizes = fno.Sizes(48, True, (2, 4), width=4, modes=6, batch=2)
    monkeypatch.setitem(opponents._OPERATORS, "burgers1d", sizes)
    monkeypatch.setattr(opponents, "_FNO_SECONDS", 1.0)
    case: Any = SimpleNamespace(problem=SimpleNamespace(name="burgers1d"), coarse=(48,), n_eta=0)
    data = Splits(burgers(5, 0), burgers(2, 1), burgers(3, 2))
    for name in ("pde-find", "fno"):
        found = opponents.OPPONENTS[name](case, "hard", data, 0, 1)
        assert found.status == "ok"
        assert found.errors.shape == (3,)
        assert found.coverage_90 is not None
        assert found.crps is not None
        assert (found.errors > 0).all()
        assert ((found.coverage_90 > 0) & (found.coverage_90 <= 1)).all()
        assert (found.crps > 0).all()
        assert found.choice
    unknown: Any = SimpleNamespace(problem=SimpleNamespace(name="cylinder"), coarse=(8,), n_eta=0)
    for name in ("pde-find", "fno"):
        assert "for one channel" in opponents.OPPONENTS[name](unknown, "hard", data, 0, 1).status


def test_names_of_terms_are_read() -> None:
    """Powers of u and the covariate, order of the derivative; what is of no use is left out."""
    names = {
        "u": (1, 0, 0),
        "u^2": (2, 0, 0),
        "u_11": (0, 0, 2),
        "uu_1": (1, 0, 1),
        "u^2u_111": (2, 0, 3),
        "cu_11": (0, 1, 2),
        "u cu_1": (1, 1, 1),
        "c": None,
        "c^2u_1": None,
        "uc_1": None,
    }
    for name, expected in names.items():
        found = pde_find._powers(name)
        if name == "c":  # a constant of the trajectory, which no derivative keeps
            assert found is None
        else:
            assert found == expected


@pytest.mark.parametrize("periodic", [True, False])
def test_an_operator_that_says_nothing_persists(periodic: bool) -> None:
    """And one on a ring moves with the field."""
    data = burgers(3, 0)
    sizes = fno.Sizes(48, periodic, (2,), width=4, modes=6, batch=2)
    operator = fno.NeuralOperator(data, sizes, 2, 0)
    (one,) = burgers(1, 1)
    with torch.no_grad():
        operator.net.out[-1].weight.zero_()
        operator.net.out[-1].bias.zero_()
    path = operator.forecast(one)
    assert path.shape == one.values[0].shape
    assert path == pytest.approx(np.broadcast_to(path[0], path.shape))


def test_an_operator_on_a_ring_moves_with_the_field() -> None:
    """A shifted field's next one is shifted."""
    sizes = fno.Sizes(48, True, (2,), width=4, modes=6, batch=2)
    operator = fno.NeuralOperator(burgers(3, 0), sizes, 2, 0)
    u, rows = operator.fields[0][:1], operator.rows[:1]
    with torch.no_grad():
        torch.testing.assert_close(
            operator.step(u.roll(5, -1), rows),
            operator.step(u, rows).roll(5, -1),
            rtol=1e-4,
            atol=1e-5,
        )
        assert not torch.allclose(operator.step(u, rows), u, atol=1e-3)


def test_training_an_operator_lowers_its_loss() -> None:
    """Sixty steps of Adam on roll-outs of two."""
    sizes = fno.Sizes(48, True, (2,), width=8, modes=8, batch=4)
    operator = fno.NeuralOperator(burgers(4, 0), sizes, 2, 0)
    optimiser = torch.optim.Adam(operator.net.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        loss: Any = operator.loss(2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])


def test_intervals_of_normal_errors_are_those_of_the_normal() -> None:
    """Coverage .9; CRPS σ/√π, but for the finite number of levels.

    Of 20 000 errors the coverage has a standard error of .002; the tolerance is five of these.
    """
    rng = np.random.default_rng(0)

    def drawn(rows: int) -> Trajectories:
        return Trajectories(np.arange(4.0), 2.0 * rng.standard_normal((rows, 4, 5000)))

    def zero(one: Trajectories) -> Any:
        return np.zeros_like(one.values[0])

    quantiles = conformal.error_quantiles(zero, drawn(4))
    (one,) = drawn(1)
    path, truth = zero(one), one.values[0]
    assert conformal.coverage(path, quantiles, truth) == pytest.approx(0.9, abs=0.01)
    assert conformal.crps(path, quantiles, truth) == pytest.approx(2 / np.pi**0.5, rel=0.03)
