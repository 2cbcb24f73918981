"""The flow past a cylinder at its full size: networks, walls, and a few steps of training."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve
from torch import nn

import pyro_msde
from pyro_msde import Trajectories, fit
from pyro_msde.datasets.cylinder_equation import DIAMETER, centres
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import cylinder

QUICK = {"length": 3, "stride": 1, "num_nodes": 3, "steps": 1, "progress": False}
X, Y = centres((-0.5, 3.5), 320), centres((-0.5, 0.5), 80)
FLUID = np.hypot(X[:, None], Y) > DIAMETER / 2
INFLOW = np.array([1.0, 0.0]).reshape(2, 1, 1)


def flow(count, snapshots, num_covariates=0):
    """Waves that pass, of which u and v suit inflow, outflow and slip walls."""
    rng, times = np.random.default_rng(0), 0.1 * np.arange(snapshots)
    values = []
    for _ in range(count):
        phase = rng.uniform(0, 2 * np.pi) + 8 * times[:, None, None]
        along = np.sin(np.pi * (X + 0.5) / 8)[:, None] * np.cos(12 * X[:, None] - phase)
        across = np.pi * (Y + 0.5)
        values.append(np.stack([along * np.cos(across), along * np.sin(across)], 1))
    values = [np.where(FLUID, INFLOW + 0.3 * v, np.nan).astype(np.float32) for v in values]
    covariates = rng.uniform(80, 200, (count, num_covariates)) if num_covariates else None
    return Trajectories([times] * count, values, covariates=covariates, missing="mask")


def layers(net):
    return [tuple(m.weight.shape[::-1]) for m in net.modules() if isinstance(m, nn.Linear)]


def size(net):
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("boundary", ["slip", "circular"])
def test_the_published_networks_are_the_papers(boundary):
    """Tables 2 to 6; weights and biases of layers (a, b) are (a + 1) b numbers, but in ψ."""
    model = cylinder(5, architecture="published", boundary=boundary)
    drift, encoder, decoder = model.drift.net, AmortizedGP(model).encoder, model.decoder.net
    tables = {
        drift.macro: [(50 + 5, 128), (128, 512), (512, 128), (128, 2)],
        drift.coupling: [(4 + 5, 128), (128, 128), (128, 5)],
        drift.micro: [(2 * 5 + 2, 128), (128, 256), (256, 128), (128, 5)],
    }
    for net, table in tables.items():
        assert layers(net) == table
        assert size(net) == sum((a + 1) * b for a, b in table)
    assert layers(drift.psi) == [(512, 5)]
    assert size(drift) == sum(map(size, tables)) + 512 * 5
    assert {type(m) for m in drift.modules() if "activation" in type(m).__module__} == {nn.ReLU}
    assert layers(encoder) == [(640, 5)]
    assert layers(decoder) == [(5, 640)]
    filters = [2, 16, 32, 64]  # 9 × 9
    convolutions = sum((81 * a + 1) * b for a, b in pairwise(filters))
    assert size(encoder) == convolutions + 641 * 5
    mirrored = sum((81 * b + 1) * a for a, b in pairwise(filters))
    assert size(decoder) == mirrored + 6 * 640
    strides = {m.stride for m in encoder.modules() if isinstance(m, nn.Conv2d)}
    assert strides == {(4, 4)}
    assert model.kernel.net.weight.shape == (2, 41, 41)
    assert model.num_latent == 2 * 32 * 8 + 5


def test_without_microscale_states_the_published_drift_has_no_coupling():
    drift = cylinder(0, architecture="published", num_covariates=1).drift.net
    assert layers(drift) == [(50 + 1, 128), (128, 512), (512, 128), (128, 2)]
    assert drift.micro is drift.coupling is None


def test_the_default_drift_is_told_where_each_coarse_point_is():
    drift = cylinder(0).drift.net
    assert drift.macro.network.linear.in_features == 50 + 2
    assert drift.macro.local.shape == (256, *drift.macro.network.readout().shape)
    x, y = drift.grid.coarse_coordinates
    places = np.stack(np.meshgrid((x - 1.5) / 2, y / 0.5, indexing="ij"), -1).reshape(-1, 2)
    np.testing.assert_allclose(drift.places, places, atol=1e-6)
    coupled = cylinder(1, coupling=True).drift.net  # the coupling is told instead
    assert coupled.macro.network.linear.in_features == 50 + 1
    assert coupled.coupling.linear.in_features == 1 + 2
    with pytest.raises(ValueError, match="located: the coupling tells the drift where"):
        cylinder(1, coupling=True, located=True)


@pytest.mark.parametrize("boundary", ["slip", "circular"])
def test_the_grid_is_the_flows(boundary):
    grid = cylinder(0, n_coarse=4, boundary=boundary).grid
    assert (grid.shape, grid.coarse, grid.channels) == ((320, 80), (16, 4), 2)
    assert (grid.mask == FLUID).all()
    for found, wanted in zip(grid.coordinates, (X, Y), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="boundary='free': choose 'slip' or 'circular'"):
        cylinder(0, boundary="free")
    with pytest.raises(ValueError, match=r"^grid: it is the published one.*multiscale.like"):
        cylinder(0, grid=(160, 40))
    with pytest.raises(ValueError, match=r"^lower: the Grid says it. Leave it out"):
        cylinder(0, lower=(-0.506, -0.506))


def mirrored(w, reach):
    """Deviations (2, x, y) from the inflow, and so many points beyond each end by hand."""
    signs = {"in": (-1, -1), "out": (1, 1), "wall": (1, -1)}
    parts = []
    for k, v in enumerate(w):
        before, after = v[:reach][::-1], v[-reach:][::-1]
        v = np.concatenate([signs["in"][k] * before, v, signs["out"][k] * after])
        low, high = v[:, :reach][:, ::-1], v[:, -reach:][:, ::-1]
        wall = signs["wall"][k]
        parts.append(np.concatenate([wall * low, v, wall * high], 1))
    return np.stack(parts)


def test_the_flow_is_smoothed_as_if_it_went_on_beyond_its_walls():
    """Against the same kernel on a field that is mirrored by hand."""
    model = cylinder(0, architecture="published").double()
    kernel = torch.rand(2, 41, 41, dtype=torch.float64)
    w = np.random.default_rng(0).standard_normal((2, 320, 80))
    operators = model.grid.operators(kernel)
    smooth = operators.smooth(torch.tensor(w)).numpy()
    beyond = mirrored(w, 20)
    wanted = [
        fftconvolve(v, k[::-1, ::-1], mode="valid")
        for v, k in zip(beyond, kernel.numpy(), strict=True)
    ]
    np.testing.assert_allclose(smooth, wanted, rtol=0, atol=1e-9)  # of sums of 1681 numbers


@pytest.mark.parametrize("architecture", ["default", "published"])
def test_the_stencils_see_the_flow_beyond_its_walls(architecture):
    drift = cylinder(0, architecture=architecture).drift.net
    zeta = torch.randn(2, 32, 8)
    stencils = drift.stencils(zeta.flatten()).reshape(32, 8, 2, 5, 5)
    beyond = mirrored(zeta.numpy(), 2)
    windows = np.lib.stride_tricks.sliding_window_view(beyond, (5, 5), (1, 2))
    np.testing.assert_array_equal(stencils, np.moveaxis(windows, 0, 2))


def test_waves_that_suit_the_walls_keep_their_shape():
    """They are eigenfunctions of an even kernel; padded around the ends they are not."""
    found = {}
    along = np.sin(5.5 * np.pi / 4 * (X + 0.5))[:, None]
    across = 2 * np.pi * (Y + 0.5)
    shape = torch.tensor(np.stack([along * np.cos(across), along * np.sin(across)]))
    for boundary in ("slip", "circular"):
        model = cylinder(0, architecture="published", boundary=boundary).double()
        smooth = model.bind().operators.smooth(shape)
        size = (smooth * shape).sum() / shape.square().sum()
        found[boundary] = float((smooth - size * shape).abs().max().detach())
    assert found["slip"] < 1e-5  # the kernel is made in float32
    assert found["circular"] > 0.1


@pytest.mark.parametrize(
    ("architecture", "boundary", "n_eta", "num_covariates"),
    [
        ("default", "slip", 5, 1),
        pytest.param("default", "circular", 0, 0, marks=pytest.mark.slow),
        pytest.param("published", "slip", 5, 0, marks=pytest.mark.slow),
        pytest.param("published", "slip", 0, 1, marks=pytest.mark.slow),
    ],
)
def test_a_few_snapshots_are_trained_on_and_forecast(architecture, boundary, n_eta, num_covariates):
    model = cylinder(
        n_eta, architecture=architecture, boundary=boundary, num_covariates=num_covariates
    )
    data = flow(2, 3, num_covariates)
    options = QUICK | {"reference": [1.0, 0.0], "jackknife": architecture == "published"}
    result = fit(model, AmortizedGP(model), data, **options)
    assert np.isfinite(list(result.history.terms.values())).all()
    own = data.covariates[0] if num_covariates else None
    fc = result.predict(data.values[0][0], [0.0, 0.01], num_samples=2, covariates=own)
    assert fc.mean.shape == (2, 2, 320, 80)
    assert (fc.mean.isfinite().numpy() == FLUID).all()


LOADED = """
import sys
import numpy as np
import pyro_msde
for folder in sys.argv[1:]:
    y0 = np.load(folder + "/y0.npy")
    fc = pyro_msde.load(folder).predict(y0, [0.0, 0.01], num_samples=2)
    np.save(folder + "/mean.npy", fc.mean)
"""


@pytest.mark.slow
def test_saved_models_forecast_alike_in_a_fresh_process(tmp_path):
    data, means = flow(1, 3), {}
    for architecture in ("default", "published"):
        model = cylinder(1, architecture=architecture)
        options = QUICK | {"steps": 2, "reference": [1.0, 0.0], "jackknife": False}
        result = fit(model, AmortizedGP(model), data, **options)
        folder = tmp_path / architecture
        result.save(folder)
        y0 = data.values[0][0]
        np.save(folder / "y0.npy", y0)
        means[folder] = result.predict(y0, [0.0, 0.01], num_samples=2).mean
    command = [sys.executable, "-c", LOADED, *map(str, means)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    for folder, mean in means.items():
        # float32's rounding, which another process may do in another order
        np.testing.assert_allclose(np.load(folder / "mean.npy"), mean, rtol=0, atol=1e-6)
    assert pyro_msde.load(folder).model.config["coupling"] is True
