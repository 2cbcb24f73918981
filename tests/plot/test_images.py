"""Pictures of fields on graphs: nodes at their places, or in their order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from named_fields import draw

from pyro_msde import Fit, SensorGraph, Trajectories, plot
from pyro_msde.data import Scaling
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale

EDGES = np.array([[0, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 6, 4]])  # 7 is alone
PLACES = np.random.default_rng(1).uniform(size=(8, 2))
TIMES = np.array([0.0, 0.1, 0.3])


@pytest.fixture(params=[PLACES, None], ids=["places", "order"])
def graph_case(request):
    """Whether nodes have places; an untrained fit, its data, its forecast."""
    graph = SensorGraph(EDGES, num_nodes=8, coarse=3, positions=request.param)
    model = multiscale(graph, n_eta=1, components=2, width=5)
    fit = Fit(model, AmortizedGP(model), Scaling((1.7,), 80.0))
    values = np.random.default_rng(0).normal(size=(1, 3, 8)).astype(np.float32)
    names = {"station": [f"station {i}" for i in range(8)]}
    data = Trajectories(TIMES, values, name="u", dims=("station",), coords=names)
    return request.param is not None, fit, data, fit.forecast(data, num_samples=4)


def shown(ax):
    """Values of nodes, in their order."""
    nodes = ax.collections[-1]
    assert np.array_equal(nodes.get_offsets(), PLACES)
    lines = ax.collections[0].get_segments()
    joined = [tuple(map(tuple, PLACES[ends])) for ends in EDGES.T]
    assert {tuple(map(tuple, s)) for s in lines} == set(joined)
    return np.asarray(nodes.get_array())


def over_time(ax):
    (image,) = [*ax.images, *ax.collections]
    return np.asarray(image.get_array())


def test_forecasts_are_drawn_where_nodes_are_or_over_time(graph_case):
    has_places, _, data, fc = graph_case
    axes = plot.forecast_images(fc, data, times=2)
    y, mean, sd = data.values[0], fc.mean[0].numpy(), fc.sd[0].numpy()
    rows = (y, mean, sd, np.abs(mean - y))
    if has_places:
        assert axes.shape == (4, 2)
        for column, i in zip(axes.T, (0, 2), strict=True):
            for ax, values in zip(column, rows, strict=True):
                assert np.array_equal(shown(ax), values[i])
        assert [ax.get_title() for ax in axes[0]] == ["t = 0", "t = 0.3"]
    else:
        assert axes.shape == (4, 1)
        for ax, values in zip(axes[:, 0], rows, strict=True):
            assert np.array_equal(over_time(ax), values.T)
        assert axes[3, 0].get_ylabel() == "station"
    draw(axes)


def test_models_are_compared_on_graphs(graph_case):
    has_places, _, data, fc = graph_case
    axes = plot.forecast_comparison({"one": fc, "two": fc}, data)
    assert axes.shape == (4, 2)
    if has_places:
        assert np.array_equal(shown(axes[1, 1]), fc.mean[0, -1])
    draw(axes)


def test_maps_over_time_are_in_the_order_of_nodes(graph_case):
    _, _, data, fc = graph_case
    axes = plot.forecast_spacetime(fc, data)
    assert np.array_equal(over_time(axes[0, 1]), fc.mean[0].numpy().T)
    draw(axes)


def test_latent_paths_are_named_by_the_middle_nodes(graph_case):
    _, fit, data, fc = graph_case
    names = [x.get_label() for x in plot.latent_paths(fc)[0].lines]
    assert names == [f"node = {i}" for i in fit.model.grid.coarse_index[0]]
    draw(plot.latent_paths(fc, data))


def test_operators_are_drawn_at_nodes(graph_case):
    has_places, fit, data, _ = graph_case
    y = data.values[0][1]
    axes = plot.scale_operators(fit, y)
    operators = fit.model.bind({}).operators
    with torch.no_grad():
        restricted = operators.restrict(torch.from_numpy(y)[None])[0].numpy()
    if has_places:
        assert np.array_equal(shown(axes[0, 0]), y)
        expected = restricted[fit.model.grid.clusters]
        np.testing.assert_allclose(shown(axes[1, 0]), expected, rtol=1e-5, atol=1e-6)
    else:
        points = axes[0, 0].lines[2]
        assert np.array_equal(points.get_xdata(), fit.model.grid.coarse_index[0])
        np.testing.assert_allclose(points.get_ydata(), restricted, rtol=1e-5, atol=1e-6)
    draw(axes)


def test_scales_are_drawn_at_nodes(graph_case):
    has_places, fit, data, _ = graph_case
    axes = plot.scale_images(fit, data.values[0], TIMES)
    assert axes.shape == ((4, 3) if has_places else (4, 1))
    if has_places:
        assert np.array_equal(shown(axes[0, 2]), data.values[0][2])
    draw(axes)


def test_pictures_that_need_axes_say_so(graph_case):
    _, fit, data, fc = graph_case
    for picture in (
        lambda: plot.forecast_snapshots(fc, data),
        lambda: plot.scale_separation(fit, data.values[0][0]),
        lambda: plot.smoothing_kernel(fit),
        lambda: plot.drift_sensitivity(fit, data.values[0]),
    ):
        with pytest.raises(ValueError, match="fields are on SensorGraph"):
            picture()
