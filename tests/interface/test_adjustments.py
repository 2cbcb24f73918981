"""What changes forecasts beside the weights: one contract for all adjustments, and a user's own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from problems import NUM_COARSE, NUM_POINTS, tiny_data, tiny_pair
from torch import Tensor
from torch.testing import assert_close

from pyro_msde import Fit, SavedRunError, load
from pyro_msde.data import Scaling
from pyro_msde.forecasts import Region
from pyro_msde.inference import Jackknife
from pyro_msde.runs import History, register_adjustment, registry
from pyro_msde.scores import Calibration
from pyro_msde.sde import integrate

SCALING, N_ETA = Scaling((2.0,), 1.0), 2
TIMES = np.linspace(0, 0.2, 3)
Y0 = np.stack([np.cos(2 * np.pi * (np.arange(NUM_POINTS) / NUM_POINTS - s)) for s in (0.0, 0.3)])


@pytest.fixture(scope="module")
def plain():
    return Fit(*tiny_pair(N_ETA), SCALING)


def directions(fit, scale):
    torch.manual_seed(0)
    drift = fit.model.drift._modules["net"]
    shapes = {name: getattr(drift, name).readout().shape for name in ("macro", "micro")}
    return {name: scale * torch.randn(3, *shape) for name, shape in shapes.items()}


def box(size):
    ends = torch.full((NUM_COARSE + N_ETA,), size)
    return torch.stack([-ends, ends])


# neutral ones, and ones that change something
OURS = {
    "jackknife": lambda fit, on: Jackknife(directions(fit, 0.3 * on), 1.0 + on),
    "region": lambda fit, on: Region(box(0.5 if on else 1e6)),
    "calibration": lambda fit, on: Calibration(1.0 + on, 0.8, (1.0,), ((0.7, 0.9),)),
}


def paths(fit, **options):
    """Around draws of θ of their own, where there are some."""
    return fit.predict(Y0, TIMES, num_samples=8, num_theta=4, **options).paths.flatten(0, 1)


@pytest.mark.parametrize("name", OURS)
def test_a_neutral_one_changes_nothing_and_another_something(name, plain):
    dynamics = {}

    def recorded(drift, diffusion, start, times, *, max_step, generator):
        dynamics.update(drift=drift, diffusion=diffusion, start=start)
        return integrate(drift, diffusion, start, times, max_step=max_step, generator=generator)

    def law(fit):
        paths(fit, solver=recorded)
        # at the same states, whichever draws are opposite; a region has room around starts
        z = dynamics.setdefault("states", 3 * dynamics["start"][:, :, None])
        t = torch.zeros(len(Y0), 1, dtype=torch.float64)
        return dynamics["drift"](z, t), dynamics["diffusion"]

    drift, diffusion = law(plain)
    same = law(plain.adjusted(OURS[name](plain, 0)))
    assert_close(same[0], drift, rtol=1e-5, atol=1e-5)  # rounding
    assert_close(same[1], diffusion, rtol=1e-6, atol=0)
    other = law(plain.adjusted(OURS[name](plain, 1)))
    assert not torch.allclose(
        torch.cat([other[0].flatten(), other[1]]),
        torch.cat([drift.flatten(), diffusion]),
        rtol=1e-3,
    )


@pytest.mark.parametrize("name", OURS)
def test_each_comes_back_from_its_dict(name, plain):
    first = OURS[name](plain, 1)
    again = type(first).from_dict(first.to_dict(), plain.model)
    assert (first.name, type(again)) == (name, type(first))
    assert first.to_dict().keys() == again.to_dict().keys()
    for key, value in first.to_dict().items():
        same = torch.equal if isinstance(value, Tensor) else lambda a, b: a == b
        assert same(value, again.to_dict()[key]), key
    known, other = plain.adjusted(first), plain.adjusted(again)
    assert torch.equal(paths(known), paths(other))


def test_they_are_printed_in_a_line_each(plain):
    known = {"macro": torch.zeros(3, 7, 1), "micro": torch.zeros(3, 5, 2)}
    fit = plain.adjusted(Jackknife(known)).adjusted(
        Region(box(1.0), torch.eye(3), torch.ones(2, 3))
    )
    fit = fit.adjusted(Calibration(1.5, 0.8, (1.0, 1.5), ((0.7,), (0.9,))))
    assert repr(fit.adjustments) == (
        "(Jackknife(macro (3, 7, 1), micro (3, 5, 2)), "
        f"Region({NUM_COARSE + N_ETA} states, stencils of 3), "
        "Calibration(1.5, level=0.8, 2 scales tried, covers 0.70–0.70 without and 0.90–0.90 with "
        "it))"
    )
    assert (repr(Calibration(2.0)), repr(Region(box(1.0)))) == (
        "Calibration(2)",
        f"Region({NUM_COARSE + N_ETA} states)",
    )
    assert repr(History([50, 100], {}, [100], [0.5])) == (
        "History(2 entries to step 100, 1 validations)"
    )


@register_adjustment
@dataclass(frozen=True)
class Wind:
    """The user's own: a constant rate beside the drift, half of it in every other draw of θ."""

    name: ClassVar[str] = "wind"
    is_random: ClassVar[bool] = True

    rate: Tensor
    label: str

    def apply(self, dynamics):
        share = len(dynamics.start) // len(dynamics.draws)
        factor = torch.tensor([1.0 - 0.5 * (k % 2) for k in dynamics.draws])
        wind = factor.repeat_interleave(share)[:, None, None, None] * self.rate
        return replace(dynamics, drift=lambda z, t, **fixed: dynamics.drift(z, t, **fixed) + wind)

    def to_dict(self):
        return vars(self)

    @classmethod
    def from_dict(cls, saved, model):
        return cls(**saved)


def test_a_users_own_is_applied_saved_and_loaded(plain, tmp_path, monkeypatch):
    rate = torch.linspace(-1, 2, NUM_COARSE + N_ETA)
    fit = plain.adjusted(Wind(rate, "of the east"))
    still = Fit(*tiny_pair(N_ETA), SCALING)
    for own in (fit, still):  # z' = rate, half of it in odd draws, with hardly any noise
        with torch.no_grad():
            for value in own.model.drift.parameters():
                value.zero_()
            own.model.diffusion.net.log_value.fill_(-60)
    z = fit.predict(Y0, TIMES, num_samples=8, num_theta=4).paths
    moved = (z[..., -1, :] - z[..., 0, :]) / TIMES[-1]
    for k, factor in enumerate((1.0, 0.5, 1.0, 0.5)):
        assert_close(moved[k], (factor * rate).expand_as(moved[k]), rtol=1e-3, atol=1e-3)
    fit.save(tmp_path)
    again = load(tmp_path, *tiny_pair(N_ETA))
    assert again.adjustment("wind").label == "of the east"
    assert torch.equal(paths(again), paths(fit))
    known = {k: v for k, v in registry._ADJUSTMENTS.items() if k != "wind"}
    monkeypatch.setattr(registry, "_ADJUSTMENTS", known)
    with pytest.raises(SavedRunError, match=r"'wind' is not registered; known: .*Import the mod"):
        load(tmp_path, *tiny_pair(N_ETA))


def test_they_are_applied_in_order_one_of_a_name(plain):
    fit = plain.adjusted(Calibration(2.0)).adjusted(Wind(torch.zeros(1), ""))
    fit = fit.adjusted(Jackknife(directions(plain, 1.0)), first=True).adjusted(Calibration(3.0))
    assert [a.name for a in fit.adjustments] == ["jackknife", "calibration", "wind"]
    assert (fit.diffusion_scale, fit.is_point) == (3.0, False)
    assert [a.name for a in fit.without("wind", "region").adjustments] == [
        "jackknife",
        "calibration",
    ]
    assert fit.without("jackknife", "wind").is_point
    with pytest.raises(ValueError, match=r"adjustments: .* one of each name"):
        replace(plain, adjustments=(Calibration(1.0), Calibration(2.0)))
    late = replace(fit, adjustments=fit.adjustments[::-1])
    with pytest.raises(ValueError, match="comes before whatever replaces the drift"):
        paths(late)


def test_a_name_is_one(monkeypatch):
    monkeypatch.setattr(registry, "_ADJUSTMENTS", dict(registry._ADJUSTMENTS))
    with pytest.raises(ValueError, match=r"name: 'a\.b'"):
        register_adjustment(type("Odd", (), {"name": "a.b"}))


def test_trajectories_are_forecast_from_their_first_snapshots(plain):
    data = tiny_data((9, 9, 9))
    times, few = data.times[0][::4], {"num_samples": 4, "max_step": 0.02}
    fc = plain.forecast(data, times, **few)
    y0 = np.stack([v[0] for v in data.values])
    assert torch.equal(fc.paths, plain.predict(y0, times, **few).paths)
    later = plain.forecast(data, times[1:], **few)
    wanted = plain.predict(y0, times[1:], t0=times[0], **few)
    assert torch.equal(later.paths, wanted.paths)
    fit = Fit(*tiny_pair(0, num_covariates=1), SCALING)
    data = tiny_data((9, 9), covariates=np.array([[0.5], [1.5]]))
    y0 = np.stack([v[0] for v in data.values])
    wanted = fit.predict(y0, data.times[0], covariates=data.covariates, **few)
    assert torch.equal(fit.forecast(data, **few).paths, wanted.paths)


def test_a_solver_takes_the_steps_that_are_asked_for(plain):
    """One Euler step of the whole, of the drift and the noise that it is given."""
    seen = []

    def euler(drift, diffusion, start, times, *, max_step, generator):
        seen.append(max_step)
        ends = [start]
        for h in torch.diff(times).T:
            z = ends[-1]
            noise = torch.randn(z.shape, generator=generator) * (diffusion * h[:, None]).sqrt()
            rate = drift(z[:, :, None], times[:, :1])[:, :, 0]
            ends.append((z + h[:, None] * rate + noise).to(z))
        return torch.stack(ends, -2)

    fit = plain.adjusted(Region(box(1e6)))
    fc = fit.predict(Y0, TIMES, num_samples=4, solver=euler, max_step=0.1 * SCALING.time)
    assert seen == [0.1]
    assert fc.paths.shape == (1, 4, len(Y0), len(TIMES), NUM_COARSE + N_ETA)
    usual = fit.predict(Y0, TIMES, num_samples=4)
    assert torch.equal(fc.paths[..., 0, :], usual.paths[..., 0, :])
    assert not torch.equal(fc.paths, usual.paths)
