from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.testing import assert_close

from pyro_msde.data.units import Scaling

ROUNDING = {"rtol": 1e-13}  # sums of some hundred float64 numbers
SPACES = pytest.mark.parametrize("space", [(5,), (5, 7)], ids=["1-D", "2-D"])


def fields(space, factors=(1.0, 20.0, 0.3), dtype=np.float64):
    """Two trajectories of different lengths, with a mean, (time, channel, *space)."""
    rng = np.random.default_rng(4)
    factors = np.reshape(factors, (-1, *(1,) * len(space)))
    return [
        (factors * (2 + rng.standard_normal((n, len(factors), *space)))).astype(dtype)
        for n in (4, 11)
    ]


@SPACES
def test_the_scale_is_each_channels_root_mean_square(space):
    data = fields(space)
    scaling = Scaling.of(data, 2)
    for c in range(3):
        numbers = np.concatenate([f[:, c].ravel() for f in data])
        assert_allclose(scaling.channels[c], np.sqrt(np.mean(numbers**2)), **ROUNDING)
    assert len(scaling.channels) == 3
    assert scaling.time == 2.0


def test_squares_of_large_float32_values_do_not_overflow():
    data = fields((5,), factors=(1e25, 1.0), dtype=np.float32)
    numbers = np.concatenate([f[:, 0].ravel() for f in data]).astype(np.float64)
    assert_allclose(Scaling.of(data, 1.0).channels[0], np.sqrt(np.mean(numbers**2)), **ROUNDING)


@SPACES
def test_a_channel_of_zeros_is_named(space):
    data = fields(space)
    for f in data:
        f[:, 1] = 0
    with pytest.raises(ValueError, match=r"^values: channel 1 is zero in every snapshot\."):
        Scaling.of(data, 1.0)


def test_a_channel_may_be_zero_in_one_trajectory():
    data = fields((5,))
    data[0][:, 1] = 0
    squares = (data[1][:, 1] ** 2).sum() / ((4 + 11) * 5)
    assert_allclose(Scaling.of(data, 1.0).channels[1], np.sqrt(squares), **ROUNDING)


@SPACES
@pytest.mark.parametrize("channels", [(0.3,), (0.3, 20.0)])
def test_field_scale_broadcasts_to_channels(space, channels, dtype):
    values = torch.randn(3, 4, len(channels), *space, dtype=dtype)
    scale = Scaling(channels, 1.0).field_scale(values, len(space))
    assert scale.shape == (len(channels), *(1,) * len(space))
    scaled = values / scale
    for c, s in enumerate(channels):
        assert_close(scaled[:, :, c], values[:, :, c] / s)
    assert scaled.dtype == dtype


@SPACES
def test_scaled_fields_have_root_mean_square_one(space):
    data = fields(space)
    scaling = Scaling.of(data, 1.0)
    both = torch.cat([torch.as_tensor(f) for f in data])
    scaled = both / scaling.field_scale(both, len(space))
    rms = scaled.movedim(1, 0).flatten(1).square().mean(1).sqrt()
    assert_close(rms, torch.ones_like(rms), rtol=1e-13, atol=0)  # rounding


@SPACES
def test_log_volume_is_the_log_determinant_of_the_units(space):
    """Of the map from a scaled snapshot to one in the user's units."""
    scaling = Scaling((0.3, 20.0), 1.0)
    snapshot = torch.randn(2, *space, dtype=torch.float64)
    scale = scaling.field_scale(snapshot, len(space))
    jacobian = torch.autograd.functional.jacobian(lambda y: y * scale, snapshot)
    sign, logdet = torch.linalg.slogdet(jacobian.reshape(snapshot.numel(), -1))
    assert sign == 1
    assert scaling.log_volume([int(np.prod(space))] * len(scaling.channels)) == pytest.approx(
        float(logdet), rel=1e-13
    )
