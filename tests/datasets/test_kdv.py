"""KdV data against a stiff scipy solver, their law, and their storage."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import xarray as xr
from scipy.integrate import solve_ivp

from pyro_msde.datasets import kdv, kdv_equation, storage


def differences(num_points, dx):
    """First and third difference as sparse matrices, written out from the formulas."""
    rows = np.arange(num_points)

    def shift(k):
        return scipy.sparse.csr_matrix(
            (np.ones(num_points), (rows, (rows + k) % num_points)), shape=(num_points,) * 2
        )

    first = (shift(1) - shift(-1)) / (2 * dx)
    third = (shift(2) - 3 * shift(1) + 3 * shift(0) - shift(-1)) / dx**3
    return first, third


@pytest.mark.parametrize("num_points", [7, 10])
def test_symbol_is_the_third_difference(num_points):
    u = np.random.default_rng(0).normal(size=num_points)
    symbol = kdv_equation.third_difference_symbol(num_points, 0.3)
    product = np.fft.irfft(symbol * np.fft.rfft(u), n=num_points)
    # rounding only
    np.testing.assert_allclose(product, differences(num_points, 0.3)[1] @ u, rtol=1e-11)


@pytest.mark.parametrize("initial", [kdv.published_initial, kdv.hard_initial])
def test_agrees_with_a_stiff_solver_at_full_size(initial):
    u0 = initial(np.random.default_rng(5), kdv_equation.grid())
    first, third = differences(1000, 0.01)

    def rhs(t, u):
        return -u * (first @ u) - 0.02 * (third @ u)

    def jacobian(t, u):
        advection = scipy.sparse.diags(first @ u) + scipy.sparse.diags(u) @ first
        return (-advection - 0.02 * third).tocsc()

    t = np.linspace(0, 1, 11)
    reference = solve_ivp(
        rhs, (0, 1), u0, method="Radau", jac=jacobian, rtol=1e-8, atol=1e-8, t_eval=t
    )
    u = kdv_equation.solve(u0, num_steps=1000)[::100]
    # the data's error may be 1e-6; Radau's own is some 1e-8
    np.testing.assert_allclose(u, reference.y.T, rtol=0, atol=1e-6)


def test_converges_at_fourth_order_in_time_at_full_size():
    # fewer points in time, where the error is above rounding; smooth data (the published packet
    # jumps by 0.004 at the seam, which costs order)
    u0 = kdv.hard_initial(np.random.default_rng(2), kdv_equation.grid())

    def end(substeps):
        return kdv_equation.solve(u0, num_steps=25, dt=0.008, substeps=substeps)[-1]

    exact = end(16)
    errors = np.array([np.abs(end(n) - exact).max() for n in (1, 2, 4)])
    assert errors[-1] < 1e-6
    # asymptotically 4; the first steps are still coarse
    assert np.all(np.log2(errors[:-1] / errors[1:]) > 3.4), errors


def test_batch_equals_loop_and_conserves_the_mean():
    x = kdv_equation.grid()
    u0 = np.stack([kdv.hard_initial(np.random.default_rng(k), x) for k in range(2)])
    u = kdv_equation.solve(u0, num_steps=30)
    assert u.shape == (2, 31, 1000)
    np.testing.assert_array_equal(u[:, 0], u0)
    np.testing.assert_allclose(u[1], kdv_equation.solve(u0[1], num_steps=30), atol=1e-12)
    # Σ u_j (u_{j+1} − u_{j−1}) = 0 and Σ of differences = 0: the mean is conserved to rounding
    np.testing.assert_allclose(
        u.mean(axis=-1), u0.mean(axis=-1)[:, None] + np.zeros(31), atol=1e-13
    )


@pytest.mark.parametrize("spread", [1.0, 2.0])
def test_published_initial_law(spread):
    x = kdv_equation.grid()
    rng = np.random.default_rng(3)
    u0 = np.stack([kdv.published_initial(rng, x, spread=spread) for _ in range(2000)])
    # cos(π 7.5) = 0; at x = 7 and 8 the cosine is −1 and 1, the Gaussian exp(−1/4s) at both
    np.testing.assert_allclose(u0[:, 750], 0, atol=1e-12)
    np.testing.assert_allclose(u0[:, 700], -u0[:, 800], rtol=1e-10)
    s = (9 / 4 - 1 / 4) / np.log(u0[:, 800] / -u0[:, 900])
    a = u0[:, 800] * np.exp(1 / (4 * s))
    for sample, mean in ((a, 2.0), (s, 1.0)):
        # 5 standard errors of mean and sd: false alarm below 1e-6 each
        sd = 0.1 * spread
        assert abs(sample.mean() - mean) < 5 * sd / np.sqrt(2000)
        assert abs(sample.std() - sd) < 5 * sd / np.sqrt(2 * 2000)


def test_hard_initial_is_periodic_and_of_the_stated_size():
    x = kdv_equation.grid()
    rng = np.random.default_rng(4)
    u0 = np.stack([kdv.hard_initial(rng, x) for _ in range(500)])
    # neighbours differ across the seam as elsewhere: no jump where the distance wraps
    steps = np.abs(np.roll(u0, -1, axis=1) - u0)
    assert steps[:, -1].max() < 1.5 * steps[:, :-1].max()
    assert np.abs(u0.mean(axis=0)).max() < 0.2
    # E u² = E n · E a² · ½ · E √(πs/2) / 10, n = 4.5, a² = .8² + .25² (the cosine's other half
    # averages out over the phase)
    root_s = (2.0**1.5 - 0.5**1.5) / 1.5 / 1.5
    power = 4.5 * (0.8**2 + 0.25**2) / 2 * np.sqrt(np.pi / 2) * root_s / 10
    sample = (u0**2).mean(axis=1)
    assert abs(sample.mean() - power) < 5 * sample.std() / np.sqrt(500)  # 5 standard errors


def test_generate_noise_and_seeds():
    ds = kdv.generate("published", 2, horizon=0.03, seed=1)
    assert ds.u.dims == ("trajectory", "time", "x")
    assert ds.u.shape == (2, 31, 1000)
    assert ds.u.dtype == np.float32
    assert ds.time.dtype == np.float64
    noise = (ds.u - ds.u_clean).values
    n = noise.size
    assert abs(noise.std() - 0.01) < 5 * 0.01 / np.sqrt(2 * n)  # 5 standard errors
    assert abs(noise.mean()) < 5 * 0.01 / np.sqrt(n)
    more = kdv.generate("published", 3, horizon=0.03, seed=1)
    np.testing.assert_array_equal(more.u[:2], ds.u)
    others = [
        kdv.generate("published", 1, horizon=0.001, seed=seed, stream=stream).u.values[0, 0]
        for seed, stream in ((1, "train"), (2, "train"), (1, "fresh"), (1, "test"))
    ]
    starts = [ds.u.values[0, 0], ds.u.values[1, 0], *others]
    for i, a in enumerate(starts):
        assert all(np.abs(a - b).max() > 0.01 for b in starts[:i])


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(
        kdv.KDV.parts, "hard", {"train": (3, 0.005), "validation": (2, 0.01), "test": (2, 0.01)}
    )


@pytest.mark.usefixtures("small")
def test_splits_on_disk_equal_those_in_memory_and_are_reused(tmp_path):
    memory = kdv.kdv_splits("hard", seed=3)
    disk = kdv.kdv_splits("hard", seed=3, directory=tmp_path / "data")
    for part in ("train", "validation", "test"):
        a, b = getattr(memory, part), getattr(disk, part)
        np.testing.assert_array_equal(np.stack(a.values), np.stack(b.values))
        np.testing.assert_array_equal(a.common_times(), b.common_times())
    assert memory.train.field_shape == (1000,)
    assert memory.train.dims == ("x",)
    assert len(memory.train) == 3
    assert memory.test.horizon == pytest.approx(0.01)
    files = sorted((tmp_path / "data").iterdir())
    assert len(files) == 3  # and no temporary file left
    stamps = [f.stat().st_mtime_ns for f in files]
    kdv.kdv_splits("hard", seed=3, directory=tmp_path / "data")
    assert [f.stat().st_mtime_ns for f in files] == stamps
    files[0].write_bytes(b"half a file")
    kdv.kdv_splits("hard", seed=3, directory=tmp_path / "data")
    with xr.open_dataset(files[0], engine="h5netcdf") as ds:
        assert ds.attrs["split"] == "hard"


def test_stored_data_with_other_attributes_are_written_again(tmp_path):
    path = tmp_path / "a.nc"
    made = []

    def make(version):
        made.append(version)
        return xr.Dataset({"u": ("x", np.ones(3))}, attrs={"version": version})

    for version in (1, 1, 2):
        storage.write_once(path, {"version": version}, lambda version=version: make(version))
    assert made == [1, 2]


def test_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", fail)
    with pytest.raises(OSError, match="disk full"):
        storage.write_once(tmp_path / "a.nc", {}, xr.Dataset)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small")
def test_fresh_and_command_line(tmp_path, capsys):
    fresh = kdv.fresh("hard", 2, 3, 0.004)
    train = kdv.kdv_splits("hard", seed=3).train
    assert fresh.num_observations == 10
    assert all(np.abs(f[0] - t[0]).max() > 0.1 for f in fresh.values for t in train.values)
    kdv.KDV.main(["--split", "hard", "--out", str(tmp_path)])
    assert "train: Trajectories(u: 3" in capsys.readouterr().out
    assert len(list(tmp_path.glob("*.nc"))) == 3


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="split: 'soft' is unknown"):
        kdv.generate("soft", 1, horizon=1.0, seed=0)
    with pytest.raises(ValueError, match="split: 'soft' is unknown"):
        kdv.kdv_splits("soft")
    with pytest.raises(ValueError, match=r"horizon: 0\.0005 is no whole number"):
        kdv.generate("hard", 1, horizon=0.0005, seed=0)
    with pytest.raises(ValueError, match="seed=-1"):
        kdv.generate("hard", 1, horizon=0.1, seed=-1)
    with pytest.raises(ValueError, match="num_trajectories=0"):
        kdv.generate("hard", 0, horizon=0.1, seed=0)
