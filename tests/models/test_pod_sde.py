"""The latent SDE of POD coefficients as a public model: start, areas, files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from rotating_paths import APART, rotating_paths
from torch.testing import assert_close

import pyro_msde
from pyro_msde import Trajectories
from pyro_msde.data import Scaling
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import pod_sde
from pyro_msde.sde import covariance

LATITUDES = np.linspace(-80, 80, 9)


def field(count, seed=0, trajectories=1):
    """Noisy paths of two patterns on 9 × 4 points, one of them of the poles."""
    states = rotating_paths(count, np.random.default_rng(seed), trajectories)
    polar = np.broadcast_to((np.abs(LATITUDES) > 55)[:, None], (9, 4)) * 1.0
    rest = np.broadcast_to(np.cos(np.deg2rad(2 * LATITUDES))[:, None], (9, 4))
    patterns = np.stack([polar, rest]).reshape(2, -1)
    values = (states @ patterns).reshape(trajectories, count, 9, 4)
    return Trajectories(
        np.arange(count) * APART,
        values,
        dims=("lat", "lon"),
        coords={"lat": LATITUDES, "lon": np.arange(4) * 90.0},
        units={"lat": "degrees_north", "lon": "degrees_east"},
    )


def test_noisy_coefficients_start_as_a_linear_inverse_model():
    """Of 20 000 snapshots: the generator's eigenvalues, −4 ± 6i, to a few per cent."""
    data = field(20_000)
    model = pod_sde(data, 2, width=5)
    drift = model.drift._modules["net"]
    assert drift.has_start
    z, t = torch.eye(2)[:, None], torch.zeros(2, 1)
    jacobian = (drift(z, t) - drift(0 * z, t))[:, 0].detach().double().numpy().T
    values = np.linalg.eigvals(jacobian / (data.times[0][-1]))
    assert_allclose(sorted(values.imag), [-6, 6], rtol=0.1)
    assert_allclose(values.real, -4, rtol=0.1)
    assert not pod_sde(data, 2, width=5, start=False).drift._modules["net"].has_start


def test_modes_are_orthogonal_by_areas():
    """Encoding is the projection that is best in the mean square by area."""
    data = field(300)
    model = pod_sde(data, 2, width=5, start=False, reference=None, weights="coslat")
    operators = model.bind().operators
    y = np.random.default_rng(1).standard_normal((3, 1, 9, 4))
    found = operators.prolong(operators.restrict(torch.as_tensor(y, dtype=torch.float32)))
    w = np.broadcast_to(np.cos(np.deg2rad(LATITUDES))[:, None], (9, 4)).reshape(-1)
    modes = operators.prolong(torch.eye(2)).double().numpy().reshape(2, -1).T
    gram = modes.T @ (w[:, None] * modes)
    expected = modes @ np.linalg.solve(gram, modes.T @ (w * y.reshape(3, -1)).T)
    assert_allclose(found.numpy().reshape(3, -1), expected.T, atol=1e-5)  # float32
    plain = pod_sde(data, 2, width=5, start=False, reference=None).bind().operators
    other = plain.prolong(plain.restrict(torch.as_tensor(y, dtype=torch.float32)))
    assert float((other - found).abs().max()) > 0.01


def test_it_is_saved_and_loaded_by_itself(tmp_path):
    data = field(120)
    model = pod_sde(data, 2, width=5, weights="coslat")
    options = {"steps": 2, "progress": False, "checkpoint": tmp_path}
    fit = pyro_msde.fit(model, AmortizedGP(model), data, **options)
    loaded = pyro_msde.load(tmp_path)
    y0 = data.values[0][0]
    assert_close(loaded.predict(y0, [0.1]).mean, fit.predict(y0, [0.1]).mean)
    assert type(loaded.model).__name__ == "PODModel"


def test_a_cycle_may_be_the_reference():
    times = np.datetime64("2001-01-01") + np.arange(150) * np.timedelta64(10, "D")
    data = Trajectories(times, field(150).values[0][None])
    year = pyro_msde.Cycle("1 year")
    model = pod_sde(data, 2, width=5, reference=year)
    options = {"steps": 1, "progress": False, "jackknife": False, "reference": year}
    fit = pyro_msde.fit(model, AmortizedGP(model), data, **options)
    assert fit.forecast(data, data.times[0][:2]).mean.isfinite().all()


def test_a_start_is_not_annealed_and_is_validated():
    data, held = field(400), field(60, seed=3)
    model = pod_sde(data, 2, width=5)
    options = {"steps": 2, "validate_every": 2, "progress": False, "jackknife": False}
    fit = pyro_msde.fit(model, AmortizedGP(model), data, validation=held, **options)
    assert fit.history.validation_steps == [0, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modes": 0}, "rank=0|modes=0"),
        ({"modes": 500}, "500 modes"),
        ({"modes": 2, "weights": "cosine"}, "choose 'coslat'"),
        ({"modes": 2, "weights": -np.ones((9, 4))}, "negative"),
        ({"modes": 2, "width": 0}, "width"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        pod_sde(field(30), **options)


def test_a_link_is_refused():
    """Modes are those of the fields as they are, not of their logarithms."""
    data = field(300)
    positive = Trajectories(data.times, [np.exp(v) for v in data.values])
    model = pod_sde(positive, 2, width=5)
    with pytest.raises(ValueError, match="link: PODModel was made from fields as they are"):
        pyro_msde.fit(model, AmortizedGP(model), positive, steps=1, link="log", progress=False)


def test_noise_of_coefficients_goes_together_and_beta_is_one(caplog):
    """C of two states with correlated noise of which the modes are no axes, in the user's units.

    20 000 snapshots tell covariances to a per cent; 5 is allowed.
    """
    rng = np.random.default_rng(3)
    rate, apart = np.array([1.0, 4.0]), 0.05
    noise = np.linalg.cholesky(np.array([[2.0, 1.2], [1.2, 1.0]]))
    z, path = np.zeros(2), []
    kept = np.exp(-rate * apart)
    both = rate[:, None] + rate
    step = np.linalg.cholesky(noise @ noise.T * (1 - np.exp(-both * apart)) / both)
    for _ in range(20_000):
        z = kept * z + step @ rng.standard_normal(2)
        path.append(z)
    patterns = np.linalg.qr(rng.standard_normal((6, 2)))[0]
    values = np.array(path) @ patterns.T
    data = Trajectories(np.arange(20_000) * apart, values[None])
    model = pod_sde(data, 2, width=5)
    bound = model.bind()
    fields = bound.operators.prolong(torch.eye(2)).detach().double().numpy().reshape(2, 6)
    C = covariance(bound.diffusion, bound.noise_axes).detach().double().numpy()
    unit = Scaling.of(data.fields(1, (6,)), data.horizon).channels[0]
    found = patterns.T @ fields.T @ C @ fields @ patterns * unit**2 / data.horizon
    assert_allclose(found, noise @ noise.T, rtol=0.05, atol=0.05)
    with caplog.at_level("INFO"):
        pyro_msde.fit(model, AmortizedGP(model), data.until(20.0), steps=1, progress=False)
    assert "beta = 1" in caplog.text
