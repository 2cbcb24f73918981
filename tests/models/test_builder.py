"""The general model on grids of every kind, at small size: built, trained a little, forecast."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import tiny_data
from torch import nn

import pyro_msde
from pyro_msde import Callback, Grid, SavedRunError, SensorGraph, Trajectories, fit
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import burgers1d, burgers2d, ks, multiscale

pytestmark = pytest.mark.usefixtures("long_steps")

QUICK = {"length": 5, "stride": 1, "num_nodes": 5, "steps": 2, "progress": False}

GRIDS = {
    "1-D periodic": ((48,), (6,), "periodic"),
    "1-D walls": ((30,), (5,), "dirichlet"),
    "2-D walls": ((24, 16), (6, 4), "dirichlet"),
    "2-D channel": ((24, 16), (6, 4), ("periodic", "neumann")),
    "2-D inflow": ((24, 16), (6, 4), (("dirichlet", "neumann"), "periodic")),
    "3-D periodic": ((12, 8, 10), (3, 4, 5), "periodic"),
    "3-D mixed": ((12, 8, 10), (3, 4, 5), ("replicate", "dirichlet", "periodic")),
    "tiny": ((4,), (2,), "periodic"),
}


def data_on(shape, channels=1, num_covariates=0, lengths=(9, 11)):
    rng = np.random.default_rng(0)
    field = (channels, *shape) if channels > 1 else shape
    values = [rng.standard_normal((n, *field)).astype(np.float32) for n in lengths]
    covariates = rng.uniform(1, 2, (len(lengths), num_covariates)) if num_covariates else None
    return Trajectories([0.1 * np.arange(n) for n in lengths], values, covariates=covariates)


SIZES = [(0, 1, 2), (2, 2, 0), (2, 1, 1)]  # n_eta, channels, num_covariates


@pytest.mark.parametrize(
    ("recipe", "name", "sizes"),  # each grid with both recipes, sizes in turn
    [
        pytest.param(
            *(recipe, name, SIZES[(i + j) % 3]),
            marks=[pytest.mark.slow] * ((recipe, name[:3]) == ("published", "3-D")),
        )
        for i, recipe in enumerate(("default", "published"))
        for j, name in enumerate(GRIDS)
    ],
)
def test_any_grid_is_trained_saved_and_forecast(recipe, name, sizes, tmp_path):
    n_eta, channels, num_covariates = sizes
    shape, coarse, boundary = GRIDS[name]
    model = multiscale(
        shape,
        coarse,
        n_eta=n_eta,
        channels=channels,
        boundary=boundary,
        num_covariates=num_covariates,
        architecture=recipe,
        width=7,
    )
    data = data_on(shape, channels, num_covariates)
    result = fit(model, AmortizedGP(model), data, recipe=recipe, **QUICK)
    result.save(tmp_path)
    loaded = pyro_msde.load(tmp_path)
    own = None if data.covariates is None else data.covariates[0]
    y0, times = data.values[0][0], [0.0, 0.05]
    options = {"num_samples": 3, "covariates": own, "max_step": 0.02}
    forecasts = [r.predict(y0, times, **options) for r in (result, loaded)]
    assert forecasts[0].mean.shape == (2, *data.field_shape)
    assert torch.equal(forecasts[0].mean, forecasts[1].mean)


def test_velocities_between_slip_walls_are_trained_saved_and_forecast(tmp_path):
    """Of the flow past an obstacle, less its inflow: no channel has a mean taken off."""
    inflow = ("antisymmetric", "neumann")
    boundary = {0: [inflow, "neumann"], 1: [inflow, "antisymmetric"]}
    model = multiscale((12, 8), (3, 2), n_eta=1, channels=2, boundary=boundary, width=7)
    data = data_on((12, 8), 2)
    result = fit(model, AmortizedGP(model), data, jackknife=False, **QUICK)
    assert not result.scaling.reference
    result.save(tmp_path)
    loaded = pyro_msde.load(tmp_path)
    assert loaded.model.grid == model.grid
    forecasts = [
        r.predict(data.values[0][0], [0.0, 0.05], num_samples=3, max_step=0.02)
        for r in (result, loaded)
    ]
    assert torch.equal(forecasts[0].mean, forecasts[1].mean)


RING = np.stack([(np.arange(11) + k) % 11 for k in (-1, 1, 4)], 1)


@pytest.mark.parametrize("form", ["table", "matrix"])
@pytest.mark.parametrize(("n_eta", "channels", "num_covariates"), [(0, 1, 1), (2, 2, 0)])
def test_a_graph_of_sensors_is_trained_saved_and_forecast(
    form, n_eta, channels, num_covariates, tmp_path
):
    matrix = np.zeros((11, 11), dtype=int)
    np.put_along_axis(matrix, RING, 1, 1)
    model = multiscale(
        adjacency=RING if form == "table" else matrix,
        n_eta=n_eta,
        channels=channels,
        num_covariates=num_covariates,
        width=7,
    )
    data = data_on((11,), channels, num_covariates)
    result = fit(model, AmortizedGP(model), data, **QUICK)
    result.save(tmp_path)
    loaded = pyro_msde.load(tmp_path)
    own = None if data.covariates is None else data.covariates[0]
    forecasts = [
        r.predict(data.values[0][0], [0.0, 0.05], num_samples=3, covariates=own, max_step=0.02)
        for r in (result, loaded)
    ]
    assert forecasts[0].mean.shape == (2, *data.field_shape)
    assert torch.equal(forecasts[0].mean, forecasts[1].mean)


UNEVEN = np.array(
    [[0, 0, 0, 1, 2, 4, 4, 5, 6, 7, 8], [1, 2, 3, 2, 4, 5, 6, 6, 7, 8, 9]]
)  # 10 alone
PLACES = np.random.default_rng(0).uniform(size=(11, 2))


def uneven_graph(coarse=5, **options):
    return SensorGraph(
        UNEVEN, weights=np.arange(1.0, 12), num_nodes=11, coarse=coarse, positions=PLACES, **options
    )


@pytest.mark.parametrize(
    ("n_eta", "channels", "num_covariates", "coarse", "located"),
    [(0, 1, 1, 5, True), (2, 2, 0, 5, False), (3, 1, 1, None, False)],
)
def test_a_graph_with_clusters_is_trained_saved_and_forecast(
    n_eta, channels, num_covariates, coarse, located, tmp_path
):
    graph = uneven_graph(coarse, channels=channels)
    options = {"n_eta": n_eta, "num_covariates": num_covariates, "located": located, "width": 7}
    model = multiscale(graph, **options)
    assert model.num_latent == channels * (coarse or 11) + n_eta
    data = data_on((11,), channels, num_covariates)
    result = fit(model, AmortizedGP(model), data, checkpoint=tmp_path, **QUICK)
    loaded = pyro_msde.load(tmp_path)
    assert loaded.model.grid == graph
    again = multiscale(graph, **options)
    resumed = fit(again, AmortizedGP(again), data, checkpoint=tmp_path, **QUICK)
    own = None if data.covariates is None else data.covariates[0]
    few = {"num_samples": 3, "covariates": own, "max_step": 0.02}
    means = [
        r.predict(data.values[0][0], [0.0, 0.05], **few).mean for r in (result, loaded, resumed)
    ]
    assert means[0].shape == (2, *data.field_shape)
    assert torch.equal(means[0], means[1])
    assert torch.equal(means[0], means[2])


def test_a_stopped_run_on_a_graph_goes_on_to_the_same_weights(tmp_path):
    class Stop(Callback):
        def step(self, view):
            if view.step == 2:
                raise KeyboardInterrupt

    def trained(**options):
        model = multiscale(uneven_graph(), n_eta=1, width=7)
        return fit(model, AmortizedGP(model), data_on((11,)), **QUICK | {"steps": 4} | options)

    trained(checkpoint=tmp_path, callbacks=[Stop()])
    resumed, whole = trained(checkpoint=tmp_path), trained()
    assert resumed.steps == whole.steps == 4
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


def test_microscale_states_are_added_on_a_graph():
    fits = pyro_msde.fit_hierarchical(
        lambda n_eta: multiscale(uneven_graph(), n_eta=n_eta, width=7),
        AmortizedGP,
        data_on((11,)),
        n_etas=(0, 2),
        **QUICK,
    )
    kernels = [f.model.kernel.net.weight.shape for f in fits]
    assert kernels[0] == kernels[1]


def test_the_drift_of_clusters_sees_two_steps_along_edges():
    chain = np.stack([np.arange(11), np.arange(1, 12)])
    drift = multiscale(SensorGraph(chain, coarse=6), width=7).drift.net.double()
    torch.manual_seed(0)
    for p in drift.parameters():  # some start at zero
        p.data.add_(0.1 * torch.randn_like(p))
    t = torch.zeros(1, 1, dtype=torch.float64)
    z = torch.randn(6, dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda v: drift(v[None, None], t)[0, 0])(z)
    places = np.arange(6)  # clusters of a chain are in its order
    near = abs(places[:, None] - places) <= 2
    np.testing.assert_array_equal(jacobian.detach().numpy() != 0, near)


@pytest.mark.slow
def test_microscale_states_learn_what_clusters_do_not_resolve():
    """Heat from one node of a lattice, of any strength: narrower than the clusters at first."""
    side, times = 9, np.linspace(0, 1, 33)
    x, y = np.divmod(np.arange(side**2), side)
    weights = (abs(x[:, None] - x) + abs(y[:, None] - y) == 1).astype(float)
    rates, modes = np.linalg.eigh(np.diag(weights.sum(1)) - weights)
    start = np.exp(-((x - 4) ** 2 + (y - 3) ** 2) / 2)
    path = np.exp(-0.5 * np.outer(times, rates)) * (modes.T @ start) @ modes.T
    sizes = np.random.default_rng(0).uniform(0.5, 1.5, 14)
    data = Trajectories([times] * 14, [s * path for s in sizes])
    errors = []
    for n_eta in (0, 2):
        model = multiscale(SensorGraph(weights, coarse=9), n_eta=n_eta, width=32)
        short = {"length": 16, "stride": 1, "steps": 200, "progress": False, "num_nodes": 16}
        result = fit(model, AmortizedGP(model), data[:10], **short)
        forecast = result.forecast(data[10:], num_samples=16)
        errors.append(pyro_msde.nrmse(forecast, data[10:]).mean())
    assert errors[1] < 0.5 * errors[0]


def test_the_macroscale_drift_of_a_graph_sees_its_neighbours():
    drift = multiscale(adjacency=RING, width=7).drift.net.double()
    torch.manual_seed(0)
    for p in drift.parameters():  # some start at zero
        p.data.add_(0.1 * torch.randn_like(p))
    t = torch.zeros(1, 1, dtype=torch.float64)
    z = torch.randn(11, dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda v: drift(v[None, None], t)[0, 0])(z)
    expected = np.eye(11, dtype=bool)
    np.put_along_axis(expected, RING, True, 1)
    np.testing.assert_array_equal(jacobian.detach().numpy() != 0, expected)


def test_sizes_follow_the_grid():
    line, plane, box = (
        multiscale((n,) * d, (c,) * d, n_eta=1) for d, n, c in ((1, 90, 30), (2, 64, 8), (3, 12, 4))
    )
    assert [m.drift.net.half_width for m in (line, plane, box)] == [8, 2, 1]
    assert [m.drift.net.macro.linear.in_features for m in (line, plane, box)] == [18, 26, 28]
    assert multiscale(90, 10, n_eta=1).drift.net.half_width == 4  # no point twice around a ring
    assert multiscale(90, 10, boundary="dirichlet").drift.net.half_width == 8  # ghosts are zeros
    # where the macroscale has many states, the microscale drift sees a linear map of them
    assert isinstance(multiscale((64, 64), (32, 32), n_eta=3).drift.net.psi, nn.Linear)


@pytest.mark.parametrize(("n_eta", "seen"), [(1, 5), (4, 5), (7, 7)])
def test_few_microscale_states_see_more_numbers_of_a_large_macroscale(n_eta, seen):
    """Of which one beside η alone does not tell the phase of an oscillation."""
    own, papers = (
        multiscale((64, 64), (32, 32), n_eta=n_eta, architecture=name).drift.net
        for name in ("default", "published")
    )
    assert (own.psi.out_features, papers.psi.out_features) == (seen, n_eta)
    assert own.num_seen == seen
    z = torch.randn(3, 1, 32 * 32 + n_eta)
    assert own.inputs(z, torch.zeros(3, 1))["micro"].shape == (3, 1, n_eta + seen)


def test_a_drift_that_knows_places_learns_dynamics_that_differ_from_place_to_place():
    """u_t = −4 x u between insulated walls: no drift that is the same at all points has it."""
    rng, times = np.random.default_rng(0), np.linspace(0, 1, 11)
    x = (np.arange(24) + 0.5) / 24
    starts = 1 + 0.5 * rng.standard_normal((8, 1, 1)) * np.cos(np.pi * x)
    fields = starts * np.exp(-4 * np.outer(times, x))
    errors, options = {}, QUICK | {"length": 6, "num_nodes": 8}
    for located in (False, True):
        model = multiscale(24, 8, boundary="neumann", half_width=1, width=8, located=located)
        data = Trajectories([times] * 6, fields[:6])
        result = fit(model, AmortizedGP(model), data, reference=None, **options)
        forecast = result.predict(fields[6:, 0], times, num_samples=2, max_step=0.05)
        errors[located] = pyro_msde.nrmse(forecast, fields[6:])
    assert (errors[True] < 0.2).all()
    assert (errors[False] > 0.5).all()
    with pytest.raises(ValueError, match="located: sensors on a graph have no coordinates"):
        multiscale(adjacency=RING, located=True)


@pytest.mark.parametrize("boundary", ["periodic", "dirichlet"])
def test_two_dimensional_burgers_has_the_papers_networks(boundary):
    model = burgers2d(2, architecture="published", boundary=boundary)
    drift, encoder = model.drift.net, AmortizedGP(model).encoder

    def layers(net):
        return [tuple(m.weight.shape[::-1]) for m in net.modules() if isinstance(m, nn.Linear)]

    assert layers(drift.macro) == [(25 + 2, 128), (128, 512), (512, 128), (128, 1)]
    assert layers(drift.psi) == [(64, 2)]
    assert layers(drift.micro) == [(2 * 2 + 2, 512), (512, 256), (256, 128), (128, 2)]
    assert layers(encoder) == [(256, 2)]
    convolutions = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [(1, 16), (16, 32), (32, 64)]
    assert {(c.kernel_size, c.stride) for c in convolutions} == {((9, 9), (4, 4))}
    assert model.kernel.net.weight.shape == (1, 97, 97)
    assert model.grid.boundary == (boundary,) * 2


def test_parameters_reach_drifts_and_encoder():
    model = multiscale(30, 5, n_eta=2, num_covariates=1, width=7).double()
    guide = AmortizedGP(model).double()
    generator = torch.Generator().manual_seed(0)
    for net in (model, guide):  # some weights start at zero
        for p in net.parameters():
            p.data.add_(0.1 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    y = torch.randn(3, 1, 30, dtype=torch.float64, generator=generator)
    one, two = (torch.full((3, 1), v, dtype=torch.float64) for v in (0.4, 0.9))
    z, other = (guide.encode(y, guide.model.bind({}), own)[0] for own in (one, two))
    assert torch.equal(z[:, :5], other[:, :5])  # T_r y
    assert (z[:, 5:] != other[:, 5:]).all()
    t = torch.zeros(3, 1, dtype=torch.float64)
    first, second = (model.drift.net(z[:, None], t, covariates=own) for own in (one, two))
    assert (first != second).all()


def test_parameters_are_scaled_by_their_root_mean_square():
    data = data_on((30,), num_covariates=2)
    model = multiscale(30, 5, num_covariates=2, width=7)
    result = fit(model, AmortizedGP(model), data, **QUICK)
    expected = np.sqrt((data.covariates**2).mean(0))
    np.testing.assert_allclose(result.scaling.covariates, expected, rtol=1e-12)
    # a unit a thousand times smaller changes nothing
    milli = Trajectories(data.times, data.values, covariates=1000 * data.covariates)
    again = multiscale(30, 5, num_covariates=2, width=7)
    second = fit(again, AmortizedGP(again), milli, **QUICK)
    forecasts = [
        r.predict(data.values[0][0], [0.0, 0.1], covariates=own, num_samples=2).mean
        for r, own in ((result, data.covariates[0]), (second, milli.covariates[0]))
    ]
    torch.testing.assert_close(*forecasts, rtol=1e-5, atol=1e-6)  # float32


def test_cases_are_configurations():
    assert burgers1d(0, num_covariates=1).num_covariates == 1
    assert ks().grid == Grid(512, 32, upper=22.0)
    assert burgers2d(0).grid == Grid((128, 128), (8, 8), boundary="dirichlet")


def test_bad_grids_are_named():
    with pytest.raises(ValueError, match="grid: missing"):
        multiscale()
    with pytest.raises(ValueError, match="adjacency: takes the place of grid"):
        multiscale(11, adjacency=RING)
    with pytest.raises(ValueError, match="coarse=12: give a whole number, from 1 to 10"):
        multiscale(adjacency=UNEVEN, coarse=12)
    with pytest.raises(ValueError, match="components: a graph has no convolutions"):
        multiscale(adjacency=RING, n_eta=1, components=0)
    uneven = np.zeros((4, 4), dtype=int)
    uneven[np.arange(4), (np.arange(4) + 1) % 4] = 1
    uneven[2, 0] = 1
    with pytest.raises(ValueError, match="adjacency: not symmetric: the weight from node 0 to 1"):
        multiscale(adjacency=uneven)
    with pytest.raises(ValueError, match="coarse: missing"):
        multiscale(30)
    with pytest.raises(ValueError, match="n_y=30 not divisible by n_c=7"):
        multiscale(30, 7)
    with pytest.raises(ValueError, match="boundary: 'open' on axis 0 is unknown"):
        multiscale(30, 5, boundary="open")
    with pytest.raises(ValueError, match="architecture='quick'"):
        multiscale(30, 5, architecture="quick")


@pytest.mark.parametrize("likelihood", [pytest.param("laplace", marks=pytest.mark.slow), "student"])
def test_fields_of_another_family_train_forecast_and_load(likelihood, tmp_path):
    model = multiscale(30, 5, n_eta=1, components=3, width=7, likelihood=likelihood)
    data = tiny_data((17, 17))
    result = fit(model, AmortizedGP(model), data, **QUICK)
    few = {"num_samples": 4, "max_step": 0.02}
    fc = result.predict(data.values[0][0], data.times[0], **few)
    family = {"laplace": torch.distributions.Laplace, "student": torch.distributions.StudentT}
    assert all(isinstance(law, family[likelihood]) for w in fc.mixtures() for law in w.laws)
    assert 0 <= pyro_msde.coverage(fc, data[0]) <= 1
    prior = likelihood == "student"
    groups = result.to_arviz(data, num_samples=2, num_theta=2, times=[0.0, 0.05], prior=prior)
    assert np.isfinite(groups.log_likelihood["u"].values).all()
    result.save(tmp_path)
    again = pyro_msde.load(tmp_path).predict(data.values[0][0], data.times[0], **few)
    assert torch.equal(again.quantile(0.9), fc.quantile(0.9))
    normal = multiscale(30, 5, n_eta=1, components=3, width=7)
    with pytest.raises(SavedRunError, match="likelihood"):
        pyro_msde.load(tmp_path, normal, AmortizedGP(normal))
