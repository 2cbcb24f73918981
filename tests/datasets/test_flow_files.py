"""Files in the two published forms, written here as their descriptions say."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from pyro_msde import Trajectories
from pyro_msde.datasets.flow_files import read_flow

NX, NY, NT = 12, 7, 5
X, Y, T = np.linspace(-0.5, 1.7, NX), np.linspace(-0.3, 0.3, NY), np.linspace(0, 0.4, NT)
RADIUS = 0.25


def fields():
    """u and v (time, y, x), each value tells its place."""
    t, y, x = np.meshgrid(T, Y, X, indexing="ij")
    return (100 * t + 10 * y + x).astype("<f4"), (x - 3 * y - 7 * t).astype("<f4")


def netcdf(path, dims=("tdim", "ydim", "xdim"), **changes):
    u, v = (xr.DataArray(f, dims=("tdim", "ydim", "xdim")).transpose(*dims) for f in fields())
    ds = xr.Dataset(
        {"u": u, "v": v, "nu": 0.00078125, "radius": RADIUS, "Re": 160.0},
        {"xdim": X, "ydim": Y, "tdim": T},
    )
    ds = ds.rename(changes) if changes else ds
    ds.to_netcdf(path, engine="h5netcdf")
    return path


def amira(
    path,
    *,
    lattice=(NX, NY, NT),
    kind="float[2]",
    magic="2.1",
    cut=None,
    end=b"",
    at="@1",
    box_end=X[-1],
):
    header = (
        f"# AmiraMesh BINARY-LITTLE-ENDIAN {magic}\n\n\ndefine Lattice {lattice[0]} {lattice[1]} "
        f"{lattice[2]}\n\nParameters {{\n    BoundingBox {X[0]} {box_end} {Y[0]} {Y[-1]} {T[0]} "
        f'{T[-1]},\n    CoordType "uniform"\n}}\nLattice {{ {kind} Data }} @1\n\n'
        f"# Data section follows\n{at}\n"
    )
    data = np.stack(fields(), -1).tobytes()  # x fastest, u and v interleaved
    path.write_bytes(header.encode() + data[:cut] + end)
    return path


@pytest.mark.parametrize("dims", [("tdim", "ydim", "xdim"), ("xdim", "tdim", "ydim")])
def test_netcdf_is_read_in_any_order(tmp_path, dims):
    ds = read_flow(netcdf(tmp_path / "flow.nc", dims))
    check(ds, RADIUS)
    assert ds.attrs == {"nu": 0.00078125, "radius": RADIUS, "Re": 160.0}


def test_amira_mesh_is_read(tmp_path):
    check(read_flow(amira(tmp_path / "flow.am", end=b"\n"), radius=RADIUS), RADIUS)
    assert not read_flow(tmp_path / "flow.am")["u"].isnull().any()


def check(ds, radius):
    assert ds["u"].dims == ("time", "x", "y")
    assert ds["u"].dtype == np.float32
    for axis, positions in (("x", X), ("y", Y), ("time", T)):
        np.testing.assert_allclose(ds[axis], positions, rtol=0, atol=1e-12)
    solid = np.hypot(X[:, None], Y) <= radius
    assert 0 < solid.sum() < solid.size
    for name, field in zip("uv", fields(), strict=True):
        expected = np.where(solid, np.nan, field.transpose(0, 2, 1))
        np.testing.assert_array_equal(ds[name], expected)
    data = Trajectories.from_xarray(ds, ["u", "v"], missing="mask")
    assert data.field_shape == (2, NX, NY)


@pytest.mark.parametrize("write", [netcdf, amira])
def test_what_is_cropped_and_left_out_is_that_of_the_whole(tmp_path, write):
    path = write(tmp_path / "flow")
    some = read_flow(path, crop={"x": (0.0, 1.5), "time": (0.1, 1.0)}, every={"x": 2, "y": 3})
    whole = read_flow(path)
    xr.testing.assert_identical(
        some,
        whole.sel(x=slice(0.0, 1.5), time=slice(0.1, 1.0)).isel(
            x=slice(0, None, 2), y=slice(1, None, 3)
        ),
    )


def test_ends_of_a_crop_are_kept_though_positions_are_rounded(tmp_path):
    """.3 is .30000000000000004 among five times from 0 to .4."""
    times = np.linspace(0, 0.4, 5)
    assert times[3] > 0.3
    path = tmp_path / "flow.nc"
    fine = netcdf(path)
    with xr.open_dataset(fine, engine="h5netcdf") as ds:
        ds = ds.load().assign_coords(tdim=times[: ds.sizes["tdim"]])
    ds.to_netcdf(tmp_path / "rounded.nc", engine="h5netcdf")
    some = read_flow(tmp_path / "rounded.nc", crop={"time": (0.1, 0.3)})
    np.testing.assert_array_equal(some["time"], times[1:4])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: ds.assign(radius=("one", [np.nan])), "radius=nan: give a number above 0"),
        (lambda ds: ds.assign(radius=("two", [0.1, 0.2])), "A single number is read"),
        (lambda ds: ds.assign(radius="wide"), "A single number is read"),
        (lambda ds: ds.isel(xdim=[1, 0, *range(2, NX)]), "positions along x are not numbers in"),
        (lambda ds: ds.isel(tdim=slice(None, None, -1)), "positions along time are not numbers"),
        (lambda ds: ds.assign_coords(ydim=[np.nan, *Y[1:]]), "positions along y are not numbers"),
        (lambda ds: ds.isel(tdim=slice(0, 0)), "positions along time are not numbers"),
        (lambda ds: ds.drop_vars("v"), "holds v nowhere"),
    ],
)
def test_positions_and_numbers_that_make_no_sense_are_refused(tmp_path, change, message):
    with xr.open_dataset(netcdf(tmp_path / "flow.nc"), engine="h5netcdf") as ds:
        change(ds.load()).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match=message):
        read_flow(tmp_path / "other.nc")


def test_a_radius_of_one_number_along_a_dimension_is_one(tmp_path):
    with xr.open_dataset(netcdf(tmp_path / "flow.nc"), engine="h5netcdf") as ds:
        wide = ds.load().assign(radius=("one", [0.3]), time=("tdim", np.zeros(ds.sizes["tdim"])))
    wide.set_coords("time").to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    check(read_flow(tmp_path / "other.nc"), 0.3)


@pytest.mark.parametrize("ends", [0.5, (None, 1), ("a", "b"), (0, 1, 2)])
def test_a_crop_is_two_numbers(tmp_path, ends):
    with pytest.raises(ValueError, match=r"crop: .* along x. Give two numbers"):
        read_flow(netcdf(tmp_path / "flow.nc"), crop={"x": ends})


def test_thinned_points_are_in_the_middle_so_that_walls_stay_where_they_are(tmp_path):
    """On cell centres: the domain goes half a spacing beyond the first and the last of them."""
    ds = read_flow(netcdf(tmp_path / "flow"), every={"y": 7, "time": 2})
    assert ds["time"].values.tolist() == T[::2].tolist()
    np.testing.assert_allclose(ds["y"], [Y.mean()], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cut": -9}, r"3351 of the 3360 bytes .* copy it again"),
        ({"end": b"more"}, r"3364 bytes of data, but 12 × 7 × 5 points take 3360"),
        ({"kind": "float[3]"}, r"not of float\[2\]"),
        ({"magic": "3.0"}, "neither netCDF-4 nor AmiraMesh .* begins with b'# AmiraMesh"),
        ({"box_end": X[0]}, r"BoundingBox \[.*\]. Each lower end is below the upper one"),
        ({"at": "@2"}, "no data section '@1'"),
        ({"lattice": (NX, 0, NT)}, "define Lattice"),
        ({"lattice": (NX, NY, "many")}, "no 'define Lattice' with 3 numbers"),
        ({"lattice": (NX, NY, NT + 1)}, "It is cut off"),
    ],
)
def test_amira_mesh_that_is_cut_off_or_mislabelled_is_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        read_flow(amira(tmp_path / "flow.am", **options))


def test_netcdf_that_is_cut_off_or_mislabelled_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds u nowhere"):
        read_flow(netcdf(tmp_path / "a.nc", u="w"))
    with pytest.raises(ValueError, match="u along tdim, xdim, z"):
        read_flow(netcdf(tmp_path / "b.nc", ydim="z"))
    path = netcdf(tmp_path / "c.nc")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(OSError, match=r"c\.nc: .*truncated .* copy it again"):
        read_flow(path)
    path.write_bytes(b"CDF\x01" + bytes(100))
    with pytest.raises(ValueError, match="neither netCDF-4"):
        read_flow(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": {"x": (9, 10)}}, "crop: nothing along x from 9 to 10; it goes from -0.5 to 1.7"),
        ({"crop": {"z": (0, 1)}}, "crop: no axis 'z'"),
        ({"every": {"x": 0}}, "every=0"),
        ({"every": 2}, "every: 2. Say for which axes"),
        ({"radius": 100}, "a cylinder of radius 100 about the origin holds all"),
    ],
)
def test_positions_that_are_not_there_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        read_flow(netcdf(tmp_path / "flow.nc"), **options)
