"""Pictures of the latent paths: means, bands, names of the states."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from named_fields import TIMES, draw, named_data, untrained_fit

from pyro_msde import Forecast, Grid, plot
from pyro_msde.data import Scaling


def test_latent_paths_draw_means_and_central_ninety_percent(case):
    _, truth, fc = case
    axes = plot.latent_paths(fc, truth, trajectory=1, num_states=3)
    z = fc.latent[:, 1].numpy()
    drawn = {x.get_label(): np.asarray(x.get_ydata()) for x in axes[0].lines}
    assert list(drawn) == ["s = 3 km", "s = 4.2 km", "s = 6.6 km"]  # coarse points 0, 1, 3 of five
    for state, values in zip((0, 1, 3), drawn.values(), strict=True):
        assert np.array_equal(values, z[..., state].mean(0))
    assert [x.get_label() for x in axes[1].lines] == [r"$\eta_{1}$", r"$\eta_{2}$"]
    assert np.array_equal(axes[1].lines[1].get_ydata(), z[..., 6].mean(0))
    band = axes[1].collections[1].get_paths()[0].vertices[:, 1]
    low, high = np.quantile(z[..., 6], [0.05, 0.95], axis=0)
    assert np.allclose([band.min(), band.max()], [low.min(), high.max()], rtol=1e-5, atol=0)
    assert (axes[0].get_ylabel(), axes[1].get_ylabel()) == ("ζ (m)", "η")
    assert axes[1].get_xlabel() == "t (day)"
    draw(axes)


def test_latent_paths_of_a_closure_have_one_panel():
    fit, truth = untrained_fit(0), named_data(1)
    fc = fit.predict(truth.values[0][0], TIMES, num_samples=2)
    axes = plot.latent_paths(fc)
    assert len(axes) == 1
    assert [x.get_label() for x in axes[0].lines][:2] == ["x = 0", "x = 0.2"]


def paths_of(grid, n_eta):
    """A forecast of three paths, by numbers that tell time, sample and state."""
    latent = torch.arange(3 * 4 * (grid.num_zeta + n_eta), dtype=torch.float32)
    model = SimpleNamespace(grid=grid, n_eta=n_eta)
    paths = latent.reshape(1, 3, 1, 4, -1)
    return Forecast(TIMES[:4], paths, False, False, model, [None], Scaling((1.0,), 1.0))


def test_states_are_told_apart_without_colour():
    """Drawn in black at one height, one at a time, no two lines make the same picture."""
    axes = plot.latent_paths(paths_of(Grid(40, 10), 1), num_states=7)[0]
    figure, lines, pictures = axes.figure, list(axes.lines), set()
    for artist in [*axes.get_children(), *lines]:
        artist.set_visible(False)
    for line in lines:
        line.set(color="black", ydata=np.full(4, np.mean(axes.get_ylim())), visible=True)
        figure.canvas.draw()
        pictures.add(np.asarray(figure.canvas.buffer_rgba()).tobytes())
        line.set_visible(False)
    assert len(pictures) == len(lines) == 7


def test_many_states_are_thinned_and_stay_inside_the_figure():
    for grid, most in ((Grid(400, 100), 5), (Grid((32, 24), (8, 8), boundary="dirichlet"), 6)):
        fc = paths_of(grid, 5)
        axes = plot.latent_paths(fc, num_states=most)
        assert [len(ax.lines) for ax in axes] == [most, 5]
        first = grid.num_zeta // most  # of states 0, 1·(n/most), …
        shown = np.asarray(axes[0].lines[1].get_ydata())
        assert np.array_equal(shown, fc.latent[..., first].mean(0))
        figure = axes[0].figure
        figure.canvas.draw()
        width, height = figure.canvas.get_width_height()
        for ax in axes:
            box = ax.get_legend().get_window_extent()
            assert box.x0 >= 0
            assert box.x1 <= width + 1
            assert box.y1 <= height
            assert ax.get_window_extent().width > 0.5 * width  # the list leaves room for lines


def test_states_of_two_axes_are_named_by_their_places(plane):
    _, truth, fc = plane
    axes = plot.latent_paths(fc, truth, num_states=4)
    listed = axes[0].get_legend()
    assert listed.get_title().get_text() == "(a, b) in km"
    # channel-major: states 0, 6, 12, 18 of 2 channels × (4 × 3) points
    assert [t.get_text() for t in listed.get_texts()] == [
        "first, (1.2, 5.75)",
        "first, (2.4, 5.75)",
        "second, (1.2, 5.75)",
        "second, (2.4, 5.75)",
    ]
    draw(axes)
