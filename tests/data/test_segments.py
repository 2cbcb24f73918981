"""Minibatch weights: expectations over all segments are sums over all the data, exactly.

The integrands are cubic between observations and Simpson's rule does them exactly, so nothing here
is random but the data.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import tiny_segments
from scipy.stats import chi2
from torch.testing import assert_close

from pyro_msde.data.segments import Segments

SIZES = (24, 41, 30)  # at stride 4, span + stride = 24: every phase fits
LENGTH = 6
EXACT = {"rtol": 1e-12, "atol": 1e-12}  # rounding
EVERY_KIND = [("random", 1), ("random", 4), ("fixed", 1), ("fixed", 4)]


def trajectories(sizes=SIZES, irregular=True, dtype=torch.float64):
    """Times, values (time, channel 2, space 3) whose first entry numbers the observation."""
    rng = np.random.default_rng(5)
    times, values = [], []
    for k, n in enumerate(sizes):
        steps = rng.uniform(0.02, 0.2, n) if irregular else np.full(n, 0.1)
        times.append(torch.from_numpy(3.0 * k + np.cumsum(steps)))
        field = torch.from_numpy(rng.standard_normal((n, 2, 3)))
        field[:, 0, 0] = 1000 * k + torch.arange(n)
        values.append(field.to(dtype))
    return times, values


def segments_of(starts, stride, length=LENGTH, **options):
    times, values = trajectories(**options)
    return Segments(times, values, length=length, stride=stride, starts=starts), times, values


def expected_observations(segments):
    """{number of the observation: expected weight} under draws of one segment, times the plate."""
    total = {}
    for probability, batch in segments.in_order():
        for row in range(len(batch.times)):
            for field, weight in zip(
                batch.values[row], batch.observation_weight[row].tolist(), strict=True
            ):
                number = int(field[0, 0])
                share = probability * segments.num_segments * weight
                total[number] = total.get(number, 0.0) + share
    return total


def all_numbers():
    return {1000 * k + i for k, n in enumerate(SIZES) for i in range(n)}


@pytest.mark.parametrize(("starts", "stride"), EVERY_KIND)
def test_probabilities_sum_to_one(starts, stride):
    segments = segments_of(starts, stride)[0]
    assert sum(p * len(b.times) for p, b in segments.in_order()) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(("starts", "stride"), [("random", 1), ("random", 4), ("fixed", 1)])
@pytest.mark.parametrize("irregular", [False, True])
def test_every_observation_counts_once(starts, stride, irregular):
    segments = segments_of(starts, stride, irregular=irregular)[0]
    total = expected_observations(segments)
    assert set(total) == all_numbers()
    np.testing.assert_allclose(list(total.values()), 1, **EXACT)


def test_fixed_windows_at_a_stride_count_what_they_take_once_and_leave_out_the_rest():
    """So fixed starts at a stride estimate the ELBO of the thinned data, not of all.

    Taken: every 4th from the first on, and every 4th back from the last.
    """
    segments = segments_of("fixed", 4)[0]
    total = expected_observations(segments)
    span = (LENGTH - 1) * 4
    taken = set()
    for k, n in enumerate(SIZES):
        starts = [*range(0, n - span, span), n - 1 - span]
        taken |= {1000 * k + s + 4 * j for s in starts for j in range(LENGTH)}
    assert set(total) == taken
    assert taken < all_numbers()
    np.testing.assert_allclose(list(total.values()), 1, **EXACT)


def test_random_windows_leave_phases_of_the_stride_out_where_too_few_starts_fit():
    """Below span + stride observations, fewer than `stride` starts fit: these have three."""
    times, values = trajectories((23,))
    segments = Segments(times, values, length=LENGTH, stride=4)
    total = expected_observations(segments)
    assert set(total) == set(range(23)) - set(range(3, 23, 4))
    np.testing.assert_allclose(list(total.values()), 1, **EXACT)


@pytest.mark.parametrize(("starts", "stride"), EVERY_KIND)
@pytest.mark.parametrize("irregular", [False, True])
def test_time_integrals_are_those_over_whole_trajectories(starts, stride, irregular):
    segments, times, _ = segments_of(starts, stride, irregular=irregular)

    def f(t):
        return 1 + t - 0.4 * t**2 + 0.1 * t**3

    def simpson(edges):
        a, b = edges[..., :-1], edges[..., 1:]
        return (b - a) / 6 * (f(a) + 4 * f((a + b) / 2) + f(b))

    estimate = 0.0
    for probability, batch in segments.in_order():
        q = batch.quadrature
        assert q.edges.shape[1] == q.density.shape[1] + 1 == (LENGTH - 1) * stride + 1
        assert_close(q.edges[:, ::stride], batch.times, rtol=0, atol=0)
        integral = (simpson(q.edges) * q.density).sum().item()
        estimate += probability * segments.num_segments * integral
    exact = sum(simpson(t).sum().item() for t in times)
    assert estimate == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(("starts", "stride"), EVERY_KIND)
def test_every_instant_counts_once(starts, stride):
    segments, times, _ = segments_of(starts, stride)
    total = {}
    for probability, batch in segments.in_order():
        q = batch.quadrature
        for start, density in zip(q.edges[0, :-1].tolist(), q.density[0].tolist(), strict=True):
            share = probability * segments.num_segments * density
            total[start] = total.get(start, 0.0) + share
    assert sorted(total) == sorted(t for ts in times for t in ts[:-1].tolist())
    np.testing.assert_allclose(list(total.values()), 1, **EXACT)


@pytest.mark.parametrize(("starts", "stride"), EVERY_KIND)
def test_initial_divergence_counts_once_a_trajectory(starts, stride):
    segments, times, _ = segments_of(starts, stride)
    first = {t[0].item() for t in times}
    estimate = 0.0
    for probability, batch in segments.in_order():
        begins = batch.times[0, 0].item() in first
        assert (batch.initial_weight[0] > 0) == begins
        estimate += probability * segments.num_segments * batch.initial_weight.sum().item()
    assert estimate == pytest.approx(len(times), rel=1e-12)


def test_a_shared_end_point_counts_once():
    times, values = trajectories((11,))
    segments = Segments(times, values, length=LENGTH, starts="fixed")
    batch = segments.gather([(0, 0), (0, 5)])
    assert segments.num_segments == 2
    assert batch.values[0, -1, 0, 0] == batch.values[1, 0, 0, 0] == 5
    expected = torch.ones(2, 6, dtype=torch.float64)
    expected[0, -1] = expected[1, 0] = 0.5
    assert_close(batch.observation_weight, expected, rtol=1e-12, atol=0)
    assert_close(batch.quadrature.density, torch.ones(2, 5, dtype=torch.float64))


def test_the_last_fixed_window_is_shifted_back_to_fit():
    times, values = trajectories((14,))
    segments = Segments(times, values, length=LENGTH, starts="fixed")
    starts = [int(batch.values[0, 0, 0, 0]) for _, batch in segments.in_order()]
    assert starts == [0, 5, 8]
    assert segments.num_segments == 3


@pytest.mark.parametrize(("length", "stride"), [(12, 1), (6, 4)])
@pytest.mark.parametrize("size", [41, 60, 101])
def test_ends_are_seen_as_often_as_the_middle(size, length, stride):
    """Of size + span equally likely starts, `length` include the middle, and each end as well.

    So where two segments fit at least; in shorter trajectories the ends are seen more often.
    In between some are seen more often, up to twice: they also get starts that were moved inside.
    """
    times, values = trajectories((size,))
    segments = Segments(times, values, length=length, stride=stride)
    seen = np.zeros(size)
    for probability, batch in segments.in_order():
        seen[batch.values[0, :, 0, 0].long()] += probability
    span = (length - 1) * stride
    middle = length / (size + span)
    if size > 4 * span:
        assert seen[size // 2] == pytest.approx(middle)
    np.testing.assert_allclose(seen[[0, -1]], middle, **EXACT)
    assert seen.min() >= middle * (1 - 1e-12)
    if size > 3 * span:
        assert seen.max() < 2 * middle


def test_values_and_times_are_those_of_the_window():
    segments, times, values = segments_of("random", 4)
    batch = segments.gather([(1, 3), (2, 9), (1, 20)])
    for row, (k, s) in enumerate([(1, 3), (2, 9), (1, 20)]):
        index = [s + 4 * j for j in range(LENGTH)]
        assert torch.equal(batch.times[row], times[k][index])
        assert torch.equal(batch.values[row], values[k][index])
    assert batch.times.shape == (3, LENGTH)
    assert batch.values.shape == (3, LENGTH, 2, 3)
    assert batch.observation_weight.shape == (3, LENGTH)
    assert batch.initial_weight.shape == (3,)


def test_parameters_go_with_their_trajectory():
    times, values = trajectories()
    covariates = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    segments = Segments(times, values, covariates=covariates, length=LENGTH)
    batch = segments.gather([(2, 1), (0, 4), (2, 0), (1, 7)])
    assert torch.equal(batch.covariates, covariates[[2, 0, 2, 1]])
    assert segments_of("random", 1)[0].gather([(0, 0)]).covariates is None


def test_offsets_are_shared_where_they_agree():
    regular = segments_of("random", 1, irregular=False)[0]
    assert regular.gather([(0, 0), (1, 9)]).shared_offsets
    assert regular.gather([(0, 0), (1, 9)]).quadrature.shared_offsets
    irregular = segments_of("random", 1)[0]
    assert not irregular.gather([(0, 0), (1, 9)]).shared_offsets
    assert irregular.gather([(0, 3)]).shared_offsets  # one segment agrees with itself


def test_offsets_between_strided_observations_count_too():
    """The integral sees every interval: equal times at the stride do not share its edges."""
    regular = torch.arange(9, dtype=torch.float64)
    bent = regular.clone()
    bent[1] = 1.3
    values = [torch.zeros(9, 1, 3)] * 2
    segments = Segments([regular, bent], values, length=3, stride=4)
    assert not segments.gather([(0, 0), (1, 0)]).shared_offsets


def test_draws_follow_the_generator():
    segments = segments_of("random", 1)[0]
    first = segments.draw(7, np.random.default_rng(3))
    again = segments.draw(7, np.random.default_rng(3))
    other = segments.draw(7, np.random.default_rng(4))
    assert torch.equal(first.times, again.times)
    assert torch.equal(first.values, again.values)
    assert not torch.equal(first.times, other.times)
    assert len(first.times) == 7


def test_draws_have_the_probabilities_of_every():
    """χ² against the table of probabilities, at a false-alarm rate of 2e-5."""
    segments = segments_of("random", 1)[0]
    table = {int(b.values[0, 0, 0, 0]): p for p, b in segments.in_order()}
    draws = 20_000
    drawn = segments.draw(draws, np.random.default_rng(0)).values[:, 0, 0, 0].long().tolist()
    counts = np.array([drawn.count(number) for number in table])
    assert counts.sum() == draws
    expected = draws * np.array(list(table.values()))
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert statistic < chi2.isf(2e-5, len(table) - 1)


def test_weights_take_the_dtype_of_the_values_and_times_stay_float64(dtype):
    batch = segments_of("random", 1, dtype=dtype)[0].gather([(0, 1), (1, 0)])
    assert batch.values.dtype == dtype
    assert batch.observation_weight.dtype == batch.initial_weight.dtype == dtype
    assert batch.times.dtype == torch.float64
    assert batch.quadrature.edges.dtype == batch.quadrature.density.dtype == torch.float64


def test_moving_a_batch_keeps_everything():
    segments = segments_of("random", 4)[0]
    batch = segments.gather([(1, 0), (2, 9)])
    moved = batch.to("cpu")
    for name, value in vars(batch).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(getattr(moved, name), value), name
    assert torch.equal(moved.quadrature.edges, batch.quadrature.edges)
    assert torch.equal(moved.quadrature.density, batch.quadrature.density)
    assert moved.quadrature.shared_offsets == batch.shared_offsets
    assert moved.num_segments == batch.num_segments


def test_errors_name_argument_place_and_mend():
    times, values = trajectories()
    message = "trajectory 0 has 24 observations; a segment of 9 at stride 3 needs 25.*shorter"
    with pytest.raises(ValueError, match=message):
        Segments(times, values, length=9, stride=3)
    with pytest.raises(ValueError, match="length=1, stride=1: need at least 2 and 1"):
        Segments(times, values, length=1)
    with pytest.raises(ValueError, match="length=3, stride=0"):
        Segments(times, values, length=3, stride=0)
    with pytest.raises(ValueError, match="starts='sliding': choose 'random' or 'fixed'"):
        Segments(times, values, length=3, starts="sliding")


def test_the_shortest_trajectory_that_fits_is_one_segment():
    times, values = trajectories((25,))
    segments = Segments(times, values, length=9, stride=3)
    (entry,) = segments.in_order()
    assert entry[0] == pytest.approx(1)
    assert segments.num_segments == 1


def test_a_batch_is_where_the_values_are():
    """On the device "meta", which every machine has; the weights are made on the CPU."""
    segments = tiny_segments()
    segments.values = [v.to("meta") for v in segments.values]
    batch = next(segments.in_order())[1]
    tensors = [v for v in vars(batch).values() if isinstance(v, torch.Tensor)]
    tensors += [batch.quadrature.edges, batch.quadrature.density]
    assert {t.device.type for t in tensors} == {"meta"}
