"""Smoothing, restriction and prolongation against direct convolution, and as a contract."""

from __future__ import annotations

import math
import re
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from pyro_msde.grid import (
    BOUNDARIES,
    Grid,
    ScaleOperators,
    gaussian_kernel,
    lanczos_kernel,
    operators,
)

PAD_MODE = {
    "periodic": "wrap",
    "neumann": "symmetric",
    "antisymmetric": "symmetric",  # and times `signs`
    "replicate": "edge",
}
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
ROUNDING = {"rtol": 1e-12, "atol": 1e-12}  # float64 sums of at most 10⁴ terms of size 1

# Grid and kernel size: strides odd, even and 1, kernels shorter and longer than the axis.
CASES = [
    *((Grid(12, 3, channels=2, boundary=name), (7,)) for name in BOUNDARIES),
    *((Grid(15, 5, boundary=name), (9,)) for name in BOUNDARIES),
    *((Grid(15, 3, boundary=name), (1,)) for name in BOUNDARIES),
    *((Grid(7, 7, boundary=name), (5,)) for name in BOUNDARIES),
    *((Grid(6, 3, boundary=name), (27,)) for name in BOUNDARIES),  # reaches past two lengths
    *((Grid(5, 1, boundary=name), (9,)) for name in BOUNDARIES),
    *((Grid((12, 10), (3, 5), channels=3, boundary=name), (9, 5)) for name in BOUNDARIES),
    (Grid((12, 15), (3, 5), channels=2, boundary=("periodic", "dirichlet")), (9, 7)),
    (Grid((12, 15), (4, 3), boundary=("neumann", "periodic")), (7, 11)),
    (Grid((9, 8), (3, 2), boundary=("replicate", "dirichlet")), (7, 19)),
    (Grid((12, 8), (4, 2), channels=2, boundary=("neumann", "antisymmetric")), (7, 19)),
    (Grid((6, 9, 8), (3, 3, 2), channels=2, boundary="periodic"), (5, 7, 9)),
    (Grid((6, 9, 8), (3, 3, 2), boundary=("dirichlet", "neumann", "replicate")), (5, 7, 9)),
]
contract = pytest.mark.parametrize(
    ("grid", "size"), CASES, ids=[f"{g.shape}-{'-'.join(g.boundary)}-{s}" for g, s in CASES]
)


@pytest.fixture(params=["matrix", "blocks", "transforms"], autouse=True)
def means(request, monkeypatch):
    """T_p and T_r by a matrix, or by its blocks or transforms as on large grids."""
    if request.param != "matrix":
        monkeypatch.setattr(operators, "_MOST_ENTRIES", 0)
        monkeypatch.setattr(operators, "_MOST_FOLDED", 0)
    if request.param == "transforms":
        monkeypatch.setattr(operators, "_MOST_REACHING", 0)


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def problem(grid, size, batch=(2,), dtype=torch.float64):
    """A lopsided kernel (correlation ≠ convolution), a fine and a coarse field."""
    kernel = draw(grid.channels, *size, seed=1, dtype=dtype)
    y = draw(*batch, *grid.field_shape, seed=2, dtype=dtype)
    zeta = draw(*batch, grid.channels, *grid.coarse, seed=3, dtype=dtype)
    return kernel, y, zeta


def signs(name, n, half):
    """Of an axis padded by `half` on either side: each reflection at an odd wall changes it."""
    reflections = np.arange(-half, n + half) // n
    return (-1.0) ** (reflections * (name == "antisymmetric"))


def direct_smooth(kernel, y, grid):
    """Pad by numpy, correlate by torch."""
    padded = y.numpy()
    for axis, (size, name) in enumerate(zip(kernel.shape[1:], grid.boundary, strict=True)):
        widths = [(0, 0)] * padded.ndim
        widths[axis - grid.ndim] = (size // 2, size // 2)
        mode = PAD_MODE.get(name, "constant")
        padded = np.pad(padded, widths, mode=mode)
        sign = signs(name, grid.shape[axis], size // 2)
        padded = padded * sign.reshape(-1, *(1,) * (grid.ndim - 1 - axis))
    return CONV[grid.ndim](torch.from_numpy(padded), kernel[:, None], groups=grid.channels)


def direct_prolong(kernel, zeta, grid):
    """Transposed convolution by torch; what falls beyond the ends is added where it came from."""
    out = CONV_TRANSPOSE[grid.ndim](
        zeta, kernel[:, None], stride=grid.stride, groups=grid.channels
    ).numpy()
    axes = zip(grid.shape, kernel.shape[1:], grid.boundary, grid.coarse_index, strict=True)
    for axis, (n, size, name, index) in enumerate(axes):
        half = size // 2
        if name == "dirichlet":
            source = np.pad(np.arange(n), half, constant_values=n)  # n is thrown away below
        else:
            source = np.pad(np.arange(n), half, mode=PAD_MODE[name])
        out = np.moveaxis(out, axis - grid.ndim, 0)
        folded = np.zeros((n + 1, *out.shape[1:]))
        first = index[0]  # out[0] is position first − half, source[first]'s
        window = slice(first, first + len(out))
        sign = signs(name, n, half)[window].reshape(-1, *(1,) * (out.ndim - 1))
        np.add.at(folded, source[window], sign * out)
        out = np.moveaxis(folded[:n], 0, axis - grid.ndim)
    return torch.from_numpy(np.ascontiguousarray(out)) * math.prod(grid.stride)


@contract
def test_smooth_is_the_direct_correlation(grid, size):
    kernel, y, _ = problem(grid, size)
    smoothed = ScaleOperators(kernel, grid).smooth(y)
    assert_close(smoothed, direct_smooth(kernel, y, grid), **ROUNDING)


@contract
def test_restrict_samples_the_smoothed_field(grid, size):
    kernel, y, _ = problem(grid, size)
    operators = ScaleOperators(kernel, grid)
    expected = direct_smooth(kernel, y, grid).numpy()[(..., *np.ix_(*grid.coarse_index))]
    assert_close(operators.restrict(y), torch.from_numpy(expected), **ROUNDING)
    assert_close(operators.sample(operators.smooth(y)), operators.restrict(y), **ROUNDING)


@contract
def test_prolong_is_the_direct_transposed_convolution(grid, size):
    kernel, _, zeta = problem(grid, size)
    prolonged = ScaleOperators(kernel, grid).prolong(zeta)
    assert_close(prolonged, direct_prolong(kernel, zeta, grid), **ROUNDING)


@contract
def test_prolong_is_adjoint_to_restrict_under_grid_weights(grid, size):
    kernel, y, zeta = problem(grid, size, batch=())
    operators = ScaleOperators(kernel, grid)
    coarse = math.prod(grid.stride) * (operators.restrict(y) * zeta).sum()
    fine = (y * operators.prolong(zeta)).sum()
    scale = math.prod(grid.stride) * y.norm() * zeta.norm() * kernel.norm()
    assert abs(coarse - fine) < 1e-13 * scale  # rounding


@contract
def test_a_batch_is_the_loop_over_it(grid, size):
    kernel, y, zeta = problem(grid, size, batch=(2, 3))
    operators = ScaleOperators(kernel, grid)
    for operator, fields in ((operators.smooth, y), (operators.prolong, zeta)):
        looped = torch.stack([torch.stack([operator(one) for one in row]) for row in fields])
        assert_close(operator(fields), looped, **ROUNDING)


@contract
def test_float32_stays_float32(grid, size):
    kernel, y, zeta = problem(grid, size)
    exact = ScaleOperators(kernel, grid)
    operators = ScaleOperators(kernel.float(), grid)
    for name, field in (("smooth", y), ("restrict", y), ("prolong", zeta)):
        result = getattr(operators, name)(field.float())
        expected = getattr(exact, name)(field)
        assert result.dtype == torch.float32
        # Rounding of an FFT: a few units of 6e-8 relative to the largest value.
        assert_close(result.double(), expected, rtol=0, atol=2e-6 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("grid", "size"),
    [
        *((Grid(6, 3, boundary=name), (5,)) for name in BOUNDARIES),
        (Grid(4, 2, channels=2), (11,)),
        (Grid((4, 3), (2, 3), channels=2, boundary=("periodic", "dirichlet")), (3, 3)),
        (Grid((3, 4), (1, 2), boundary=("neumann", "replicate")), (3, 5)),
        (
            Grid(
                *((4, 3), (2, 3)),
                channels=2,
                boundary={
                    0: [("dirichlet", "neumann"), "neumann"],
                    1: [("replicate", "antisymmetric"), "dirichlet"],
                },
            ),
            (5, 3),
        ),
    ],
)
def test_gradients_in_kernel_and_field(grid, size):
    kernel, y, zeta = (x.requires_grad_() for x in problem(grid, size))
    check = torch.autograd.gradcheck
    assert check(lambda k, field: ScaleOperators(k, grid).smooth(field), (kernel, y))
    assert check(lambda k, field: ScaleOperators(k, grid).restrict(field), (kernel, y))
    assert check(lambda k, field: ScaleOperators(k, grid).prolong(field), (kernel, zeta))
    if grid.num_points < 9:
        twice = torch.autograd.gradgradcheck
        assert twice(lambda k, field: ScaleOperators(k, grid).smooth(field).sin(), (kernel, y))


@pytest.mark.parametrize("boundary", ["periodic", "neumann", "replicate"])
def test_unit_gain_keeps_a_constant_field(boundary):
    grid = Grid((24, 15), (4, 3), channels=2, boundary=boundary)
    operators = ScaleOperators(gaussian_kernel(grid, dtype=torch.float64), grid)
    y = torch.tensor([1.5, -0.3], dtype=torch.float64)[:, None, None].expand(7, 2, 24, 15)
    assert_close(operators.smooth(y), y.contiguous(), **ROUNDING)
    assert_close(operators.restrict(y), y[..., :4, :3].contiguous(), **ROUNDING)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_lanczos_kernel_hands_resolved_waves_through(k):
    """T_p T_r leaves waves up to .6 of the Nyquist frequency to 3 %; a Gaussian takes more off."""
    grid = Grid(100, 10)
    wave = torch.cos(2 * torch.pi * k * torch.arange(100, dtype=torch.float64) / 100 + 0.3)[None]
    loss = {}
    for make in (lanczos_kernel, gaussian_kernel):
        operators = ScaleOperators(make(grid, 5, dtype=torch.float64), grid)
        loss[make] = float((operators.prolong(operators.restrict(wave)) - wave).abs().max())
    assert loss[lanczos_kernel] < 0.03
    assert loss[lanczos_kernel] < loss[gaussian_kernel]


def test_lanczos_kernel_is_a_windowed_sinc_of_sum_one():
    grid = Grid((12, 20), (4, 4), channels=2)
    kernel = lanczos_kernel(grid, 2, dtype=torch.float64)
    assert kernel.shape == (2, 13, 21)
    axes = []
    for stride in (3, 5):
        x = np.arange(-2 * stride, 2 * stride + 1) / stride
        axis = np.sinc(x) * np.sinc(x / 2)
        axes.append(axis / axis.sum())
    np.testing.assert_allclose(kernel[0], np.outer(*axes), rtol=1e-12, atol=1e-15)
    assert torch.equal(kernel[0], kernel[1])
    with pytest.raises(ValueError, match="radius=0: give a whole number, at least 1"):
        lanczos_kernel(grid, 0)


def test_dirichlet_smoothing_loses_mass_at_the_walls_only():
    grid = Grid(100, 20, boundary="dirichlet")
    operators = ScaleOperators(gaussian_kernel(grid, 2, dtype=torch.float64), grid)
    smoothed = operators.smooth(torch.ones(1, 100, dtype=torch.float64))[0]
    assert_close(smoothed[10:90], torch.ones(80, dtype=torch.float64), **ROUNDING)
    assert 0.5 < smoothed[0] < 0.6  # half the Gaussian and its centre
    assert_close(smoothed, smoothed.flip(0), **ROUNDING)


@pytest.mark.parametrize("shift", [(1, 0), (0, 7), (5, -4)])
def test_periodic_smoothing_commutes_with_every_shift(shift):
    grid = Grid((12, 10), (3, 5), channels=2)
    kernel, y, _ = problem(grid, (9, 15))
    smooth = ScaleOperators(kernel, grid).smooth
    dims = (-2, -1)
    assert_close(smooth(y.roll(shift, dims)), smooth(y).roll(shift, dims), **ROUNDING)


@pytest.mark.parametrize("shift", [(1, 0), (0, 3), (2, -1)])
def test_periodic_restriction_and_prolongation_commute_with_coarse_shifts(shift):
    grid = Grid((12, 10), (3, 5), channels=2)
    kernel, y, zeta = problem(grid, (9, 15))
    operators = ScaleOperators(kernel, grid)
    fine, dims = tuple(s * k for s, k in zip(grid.stride, shift, strict=True)), (-2, -1)
    restricted = operators.restrict(y.roll(fine, dims))
    assert_close(restricted, operators.restrict(y).roll(shift, dims), **ROUNDING)
    prolonged = operators.prolong(zeta.roll(shift, dims))
    assert_close(prolonged, operators.prolong(zeta).roll(fine, dims), **ROUNDING)


def test_kernels_further_left_are_broadcast_against_the_fields():
    grid = Grid(12, 3, channels=2, boundary="neumann")
    kernels = draw(5, 1, 2, 7)  # five draws, each for every snapshot
    y, zeta = draw(3, 2, 12, seed=1), draw(3, 2, 3, seed=2)
    operators = ScaleOperators(kernels, grid)
    for name, field in (("smooth", y), ("prolong", zeta)):
        each = [getattr(ScaleOperators(kernel[0], grid), name)(field) for kernel in kernels]
        assert_close(getattr(operators, name)(field), torch.stack(each), **ROUNDING)


def test_gaussian_kernel_has_the_papers_lengths_width_and_gain():
    kdv = gaussian_kernel(Grid(1000, 20), dtype=torch.float64)
    assert kdv.shape == (1, 301)
    assert abs(kdv.sum() - 1) < 1e-14
    ratio = kdv[0, 150 + 50] / kdv[0, 150]
    assert abs(ratio - math.exp(-0.5)) < 1e-14  # one standard deviation out
    cylinder = Grid((320, 80), (32, 8), channels=2, boundary="replicate")
    assert gaussian_kernel(cylinder, 2).shape == (2, 41, 41)
    assert gaussian_kernel(cylinder, 2).dtype == torch.get_default_dtype()
    burgers = gaussian_kernel(Grid((128, 128), (8, 8)), gain="published", dtype=torch.float64)
    assert burgers.shape == (1, 97, 97)
    assert_close(burgers.sum(), torch.tensor(16.0, dtype=torch.float64), **ROUNDING)
    assert torch.equal(burgers, burgers.mT)


def test_published_gain_multiplies_a_smooth_field_by_six():
    grid = Grid(1000, 20)
    operators = ScaleOperators(gaussian_kernel(grid, gain="published", dtype=torch.float64), grid)
    x = torch.arange(1000, dtype=torch.float64) * 2 * math.pi / 1000
    y = 2 + torch.sin(x)[None]
    # A wave of length n loses 1 − exp(−½(2πσ/n)²) = 5 % of its ninth of the energy.
    assert abs(operators.smooth(y).norm() / y.norm() - 6) < 0.1


def test_errors_name_the_argument_and_the_mend():
    grid = Grid((12, 10), (3, 5), channels=2)
    kernel, y, zeta = problem(grid, (7, 5))
    operators = ScaleOperators(kernel, grid)
    for call, message in [
        (lambda: operators.smooth(y.mT), "y: shape (2, 2, 10, 12) does not end in (2, 12, 10)"),
        (lambda: operators.sample(zeta), "smoothed: shape (2, 2, 3, 5)"),
        (lambda: operators.prolong(y), "zeta_field: shape (2, 2, 12, 10) does not end in (2, 3"),
        (lambda: operators.smooth(y.float()), "y: torch.float32, but the kernel is torch.float64"),
        (lambda: ScaleOperators(kernel[:1], grid), "kernel: shape (1, 7, 5)"),
        (lambda: ScaleOperators(kernel[:, :6], grid), "even number of points"),
        (lambda: ScaleOperators(kernel.half(), grid), "use float32 or float64"),
        (lambda: gaussian_kernel(grid, 0), "radius=0: give a whole number, at least 1"),
        (lambda: gaussian_kernel(grid, gain="one"), "gain='one': choose"),
        (lambda: gaussian_kernel(Grid((2, 2, 2), (1, 1, 1)), gain="published"), "3 dimensions"),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            call()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@contract
def test_cuda_agrees_with_the_cpu_and_never_waits(grid, size):
    kernel, y, zeta = problem(grid, size)
    on_cpu = ScaleOperators(kernel, grid)
    expected = on_cpu.smooth(y), on_cpu.prolong(zeta)
    kernel, y, zeta = kernel.cuda(), y.cuda(), zeta.cuda()
    ScaleOperators(kernel, grid)  # the FFT library plans on first use
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says that it is a prototype
            torch.cuda.set_sync_debug_mode("error")
        operators = ScaleOperators(kernel, grid)
        result = operators.smooth(y), operators.prolong(zeta)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for got, want in zip(result, expected, strict=True):
        assert_close(got.cpu(), want, **ROUNDING)
