"""Equations in `fit`: identified, given, contradicted, saved; what is said of them."""

from __future__ import annotations

import logging
from typing import Any

import arviz as az
import numpy as np
import pytest
import torch
from burgers_fields import DT, NU, POINTS, X, burgers
from pyro.infer.autoguide import AutoNormal

import pyro_msde
from pyro_msde import Trajectories
from pyro_msde.guides import AmortizedGP
from pyro_msde.interface.path_noise_choice import chosen_path_noise, observation_shortfall
from pyro_msde.models import multiscale
from pyro_msde.priors import bayesian, fan_in_normal


def fitted(train: Trajectories, validation: Trajectories, steps: int = 20, **options: Any) -> Any:
    """A fit of few steps."""
    model = multiscale.like(train, coarse=48, boundary="periodic", **options)
    return pyro_msde.fit(
        model, AmortizedGP(model), train, validation=validation, steps=steps, progress=False
    )


@pytest.fixture(scope="module")
def fit() -> Any:
    """Of Burgers' equation, identified."""
    return fitted(burgers(6, 0), burgers(2, 1))


def test_the_equation_is_identified_and_forecasts_fresh_trajectories(fit: Any) -> None:
    """Coefficients within a hundredth, errors a fiftieth of persistence's; no other term."""
    found = fit.equation.coefficients["u"]
    assert found.keys() == {"u_xx", "(u^2)_x"}
    assert found["(u^2)_x"] == pytest.approx(-0.5, rel=0.01)
    assert found["u_xx"] == pytest.approx(NU, rel=0.02)
    errors = fit.equation.sd["u"]
    assert 0 < errors["u_xx"] < 0.02 * NU
    fresh = burgers(3, 2)
    fc = fit.forecast(fresh, num_samples=16)
    still = np.sqrt(np.square(fresh.values[0] - fresh.values[0][0]).mean() * 2)
    assert float(np.mean(pyro_msde.nrmse(fc, fresh))) < 0.03
    assert still > 0.1
    inside = np.mean(pyro_msde.coverage(fc, fresh))
    assert 0.8 < inside < 0.99


def test_the_equation_is_printed_with_its_errors(fit: Any) -> None:
    """A line for the equation, one for each coefficient."""
    lines = str(fit.equation).splitlines()
    assert lines[0].startswith("u_t = ")
    assert "u_xx" in lines[0]
    assert len(lines) == 3
    assert all("±" in line for line in lines[1:])


@pytest.mark.parametrize(
    ("scale", "shift", "time"), [(2.0, 0.0, 1.0), (1.0, 3.0, 1.0), (1.0, 0.0, 100.0)]
)
def test_the_equation_is_in_the_users_units(scale: float, shift: float, time: float) -> None:
    """Of w = scale × u + shift in other units of time, u u_x is (w − shift) w_x / scale."""
    options = {"scale": scale, "shift": shift, "time": time}
    found = fitted(burgers(6, 0, **options), burgers(2, 1, **options), 1).equation
    expected = {"(u^2)_x": -0.5 / scale / time, "u_xx": NU / time}
    if shift:
        expected["u_x"] = shift / scale / time
    row = found.coefficients["u"]
    assert row.keys() == expected.keys()
    for term, value in expected.items():
        assert row[term] == pytest.approx(value, rel=0.02)


def test_intervals_hold_the_noise_where_coarse_points_are_all_points() -> None:
    """Encoding leaves nothing there, and the equation takes the noise away on the way."""
    train, fresh = burgers(6, 0), burgers(4, 2)
    model = multiscale.like(train, coarse=POINTS, boundary="periodic")
    found = pyro_msde.fit(
        model, AmortizedGP(model), train, validation=burgers(2, 1), steps=20, progress=False
    )
    fc = found.forecast(fresh, num_samples=16)
    assert 0.8 < np.mean(pyro_msde.coverage(fc, fresh)) < 0.97
    noise = np.sqrt(np.mean(np.asarray(fc.reconstruction_var)[:, 1:]))
    assert noise == pytest.approx(1e-3, rel=0.2)


def test_forecasts_draw_coefficients_and_arviz_summarises_them(fit: Any) -> None:
    """Draws in opposite pairs about the equation's, with its standard errors.

    Of 128 pairs a standard deviation has a relative standard error of 1/√256 = .0625; the tolerance
    is four of these.
    """
    idata = fit.to_arviz(burgers(1, 2), num_samples=256, num_theta=256, times=3)
    drawn = idata["posterior"]["equation"]
    names = list(drawn["equation_term"].values)
    assert names == list(fit.equation.coefficients["u"])
    for name in names:
        values = drawn.sel(equation_term=name).values.ravel()
        assert values.mean() == pytest.approx(fit.equation.coefficients["u"][name], rel=1e-5)
        assert values.std() == pytest.approx(fit.equation.sd["u"][name], rel=0.25)
    summary = az.summary(idata, var_names=["equation"], kind="stats")
    assert list(summary.index) == [f"equation[{name}]" for name in names]
    assert fit.equation.inclusion["u"] == {name: 1.0 for name in names}


def test_drawn_coefficients_spread_forecasts_as_the_drift_says(fit: Any) -> None:
    """The drift at each draw is that of an equation with its coefficients."""
    path = fit.model.drift._modules["net"].equation
    change = 0.1 * path.coefficients * torch.tensor([1.0, -2.0])[:, None, None]
    states = torch.randn(2, 3, path.grid.num_zeta, generator=torch.Generator().manual_seed(0))
    each = path.changed_by(change)(states)
    for k in range(2):
        alone = path.changed_by(change[k : k + 1])(states[k])
        torch.testing.assert_close(each[k], alone, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(alone, path(states[k]), rtol=1e-3)


def test_a_saved_fit_forecasts_the_same(fit: Any, tmp_path: Any) -> None:
    """To the last bit, and has the same equation."""
    fit.save(tmp_path / "run")
    loaded = pyro_msde.load(tmp_path / "run")
    fresh = burgers(1, 3)
    one, other = (f.forecast(fresh, num_samples=4, seed=1).paths for f in (fit, loaded))
    assert torch.equal(one, other)
    assert str(loaded.equation) == str(fit.equation)


def test_a_saved_fit_with_microscale_states_loads(tmp_path: Any) -> None:
    """Its jackknife is of the microscale drift alone."""
    found = fitted(burgers(4, 0), burgers(2, 1), 2, n_eta=1)
    found.save(tmp_path / "run")
    loaded = pyro_msde.load(tmp_path / "run")
    fresh = burgers(1, 3)
    one, other = (f.forecast(fresh, num_samples=4, seed=1).paths for f in (found, loaded))
    assert torch.equal(one, other)


def test_coordinates_that_fall_turn_odd_derivatives() -> None:
    """The same field from right to left: u u_x keeps its sign in the user's coordinates."""
    train, validation = burgers(6, 0), burgers(2, 1)
    turned = [
        Trajectories(
            data.times[0],
            np.stack(data.values)[..., ::-1],
            dims=("x",),
            coords={"x": X[::-1]},
        )
        for data in (train, validation)
    ]
    found = fitted(*turned, 1).equation.coefficients["u"]
    assert found["(u^2)_x"] == pytest.approx(-0.5, rel=0.01)
    assert found["u_xx"] == pytest.approx(NU, rel=0.02)


def test_a_prior_on_the_drift_goes_with_a_given_equation_and_no_other() -> None:
    """Nothing is identified beside networks that are random."""
    for text, expected in ((None, None), ("u_t = 0.004*u_xx", {"u_xx": 0.004})):
        options = {} if text is None else {"equation": text}
        model = multiscale.like(burgers(2, 0), coarse=48, boundary="periodic", **options)
        bayesian(model.drift, fan_in_normal(1.0))
        guide = AmortizedGP(model, theta=AutoNormal)
        found = pyro_msde.fit(
            model, guide, burgers(2, 0), validation=burgers(1, 1), steps=2, progress=False
        )
        if expected is None:
            assert found.equation is None
        else:
            assert found.equation.coefficients["u"] == pytest.approx(expected)


def test_single_snapshots_choose_no_noise(fit: Any) -> None:
    """Nothing goes on from them, and Σ_y stays as it is."""
    single = burgers(3, 4).snapshots([[0]] * 3)
    assert chosen_path_noise(fit, single) is None
    assert observation_shortfall(fit, single).tolist() == [1.0]


def test_there_is_no_jackknife_of_an_equation_alone(fit: Any) -> None:
    """It has no weights."""
    with pytest.raises(ValueError, match="without weights that parts of the data"):
        fit.jackknifed(burgers(2, 0))


def test_a_given_equation_is_taken_as_it_is() -> None:
    """Coefficients are those of the text, in the user's units."""
    train, validation = burgers(4, 0, scale=2.0), burgers(2, 1, scale=2.0)
    found = fitted(train, validation, 1, equation="u_t = -0.25*(u^2)_x + 0.004*u_xx")
    assert found.equation.coefficients["u"] == pytest.approx({"(u^2)_x": -0.25, "u_xx": 0.004})
    fc = found.forecast(burgers(2, 2, scale=2.0), num_samples=8)
    assert float(np.mean(pyro_msde.nrmse(fc, burgers(2, 2, scale=2.0)))) < 0.03


def test_an_equation_that_data_contradict_is_said_to_be(caplog: Any) -> None:
    """The network is trained beside it then."""
    with caplog.at_level(logging.WARNING):
        found = fitted(burgers(4, 0), burgers(2, 1), 3, equation="u_t = 0.5*(u^2)_x + 0.004*u_xx")
    assert "the data contradict it" in caplog.text
    drift = found.model.drift._modules["net"]
    assert bool(drift.macro.readout().any())
    assert not drift.resting


def test_where_the_library_has_no_equation_there_is_none() -> None:
    """White noise."""
    rng = np.random.default_rng(5)
    noise = [
        Trajectories(DT * np.arange(25), rng.standard_normal((4, 25, POINTS)), dims=("x",))
        for _ in range(2)
    ]
    assert fitted(noise[0], noise[1], 2).equation is None


def test_grids_without_waves_take_none() -> None:
    """By default nothing is identified there; who gives an equation is told why it cannot be."""
    train = burgers(2, 0)
    mask = np.arange(POINTS) > 4
    assert multiscale.like(train, coarse=32, mask=mask).drift._modules["net"].equation is None
    with pytest.raises(ValueError, match="equation: derivatives are taken on a grid without"):
        multiscale.like(train, coarse=32, mask=mask, equation="u_t = u_xx")
    with pytest.raises(ValueError, match="equation: a name is missing at character 7"):
        multiscale.like(train, coarse=32, equation="u_t = ")


def test_an_equation_does_not_go_with_a_link_or_a_cycle() -> None:
    """Given ones are refused."""
    train = burgers(3, 0, shift=5.0)
    model = multiscale.like(train, coarse=48, boundary="periodic", equation="u_t = u_xx")
    options = {"steps": 1, "progress": False}
    with pytest.raises(ValueError, match="equation: fields are seen through a link"):
        pyro_msde.fit(model, AmortizedGP(model), train, link="log", **options)
    with pytest.raises(ValueError, match="equation: the reference depends on time"):
        pyro_msde.fit(
            model, AmortizedGP(model), train, reference=pyro_msde.Cycle(0.5, 1), **options
        )


def test_an_interrupted_run_goes_on_with_the_equation(tmp_path: Any) -> None:
    """In parts and at once: the same forecasts."""
    train, validation, fresh = burgers(4, 0), burgers(2, 1), burgers(1, 3)
    paths = []
    for parts in ((7,), (3, 7)):
        folder = tmp_path / str(len(parts))
        for steps in parts:
            model = multiscale.like(train, coarse=48, boundary="periodic")
            fit = pyro_msde.fit(
                model,
                AmortizedGP(model),
                train,
                validation=validation,
                steps=6,
                validate_every=3,
                checkpoint=folder,
                progress=False,
                callbacks=[_StopAt(steps)],
            )
        paths.append(fit.forecast(fresh, num_samples=4).paths)
    torch.testing.assert_close(paths[0], paths[1], rtol=1e-4, atol=1e-5)


class _StopAt(pyro_msde.Callback):
    """Interrupts training after a step."""

    def __init__(self, last: int) -> None:
        self.last = last

    def step(self, view: Any) -> None:
        if view.step == self.last:
            raise KeyboardInterrupt
