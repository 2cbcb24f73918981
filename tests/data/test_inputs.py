"""Controls between the times at which they are known, by hand, and as segments are cut."""

from __future__ import annotations

import numpy as np
import torch
from problems import tiny_grid
from torch.testing import assert_close

from pyro_msde import Trajectories
from pyro_msde.data import Inputs, Scaling, beside, held, inputs_of, scaled_segments


def double(x):
    return torch.tensor(np.array(x, dtype=np.float64))


def two_rows():
    """Rows with times of their own, two controls, three covariates."""
    times = double([[0.0, 1.0, 3.0, 4.0], [0.5, 1.0, 2.0, 6.0]])
    controls = double([[[0, 1], [2, 1], [4, -1], [0, 0]], [[1, 0], [1, 8], [5, 0], [1, 4]]])
    return Inputs(double([[7, 8, 9], [4, 5, 6]]), times, controls)


def test_controls_are_linear_between_their_times_and_stay_beyond_them():
    inputs = two_rows()
    found = inputs.at(double([[-1, 0, 0.25, 1, 2.5, 3.5, 9], [0, 0.5, 0.75, 1.5, 2, 3, 9]]))
    first = [[0, 1], [0, 1], [0.5, 1], [2, 1], [3.5, -0.5], [2, -0.5], [0, 0]]
    second = [[1, 0], [1, 0], [1, 4], [3, 4], [5, 0], [4, 1], [1, 4]]
    assert_close(found[..., 3:], double([first, second]), rtol=1e-14, atol=0)  # rounding
    assert_close(found[..., :3], inputs.covariates[:, None].expand(2, 7, 3), rtol=0, atol=0)
    # one row of times for all, and one row of controls for many of times
    t = double([[0.75, 2.0]])
    assert torch.equal(inputs.at(t), inputs.at(t.expand(2, -1)))
    many = double([[0.25], [2.5], [3.5]])
    one = Inputs(None, *(x[:1] for x in (inputs.times, inputs.controls)))
    assert_close(one.at(many)[:, 0], double([[0.5, 1], [3.5, -0.5], [2, -0.5]]), rtol=1e-14, atol=0)


def test_without_controls_there_are_covariates_or_nothing():
    covariates = double([[1, 2], [3, 4]])
    t = double([[0.0, 1.0, 2.0]] * 2)
    assert torch.equal(Inputs(covariates).at(t), covariates)
    assert torch.equal(Inputs(covariates).of_fields(t), covariates[:, None])
    assert Inputs().at(t) is None
    assert Inputs().of_fields(t) is None
    known = Inputs(None, t[:, :1], double([[[5.0]], [[6.0]]]))  # at a single time
    assert torch.equal(known.at(t)[..., 0], double([[5, 5, 5], [6, 6, 6]]))
    z = torch.zeros(5, 2, 3, 7)  # a draw, segment, time, latent
    assert torch.equal(beside(covariates, z)[4, :, 1], covariates)
    assert torch.equal(beside(known.at(t), z)[4], known.at(t))


def test_shorter_trajectories_keep_their_last_controls():
    clocks = [np.array([0.0, 1.0]), np.array([2.0, 3.0, 7.0])]
    times, controls = held(clocks, [np.array([[1.0], [2.0]]), np.array([[3.0], [4.0], [5.0]])])
    assert controls[..., 0].tolist() == [[1, 2, 2], [3, 4, 5]]
    assert times[0, :2].tolist() == [0, 1]
    assert (np.diff(times) > 0).all()


def test_segments_have_the_controls_of_all_times_between_their_snapshots():
    rng = np.random.default_rng(0)
    times = [np.cumsum(rng.uniform(0.5, 1.5, n)) for n in (13, 17)]
    fields = [rng.standard_normal((len(t), 30)) for t in times]
    data = Trajectories(times, fields, controls=[np.stack([t**2, -t], 1) for t in times])
    views = data.fields(1, (30,))
    scaling = Scaling.of(views, data.horizon, controls=data.controls)
    raw = np.concatenate(data.controls)
    means, sizes = np.array(scaling.controls).T
    np.testing.assert_allclose(means, raw.mean(0), rtol=1e-12)
    np.testing.assert_allclose(sizes, raw.std(0), rtol=1e-12)
    segments = scaled_segments(
        data, scaling, tiny_grid(), torch.empty(0, dtype=torch.float64), length=4, stride=3
    )
    batch = segments.gather([(1, 2), (0, 3)])
    start, end = batch.times[:, :1], batch.times[:, -1:]
    at = start + (end - start) * double([[0.05, 0.4, 0.93]])
    for row, k in enumerate((1, 0)):
        now = at[row].numpy() * scaling.time
        expected = [np.interp(now, times[k], u) for u in data.controls[k].T]
        expected = (np.stack(expected, -1) - means) / sizes
        np.testing.assert_allclose(batch.inputs.at(at)[row].numpy(), expected, rtol=1e-9)
        every = inputs_of(data, scaling).row(k).at(at[row : row + 1])
        np.testing.assert_allclose(every[0].numpy(), expected, rtol=1e-9)
    moved = segments.gather([(1, 2)]).to("cpu")
    assert torch.equal(moved.inputs.at(at[:1]), batch.inputs.at(at)[:1])
