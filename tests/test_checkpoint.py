"""Files of a run: whole or not at all, and refused when damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from problems import same, snapshot, tiny_data, tiny_model, tiny_pair
from pyro.distributions import LogNormal
from pyro.infer.autoguide import AutoIAFNormal
from torch.testing import assert_close

import pyro_msde.checkpoint
from pyro_msde import SavedRunError, fit, load
from pyro_msde.checkpoint import read_run, read_state, write_run, write_state
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale
from pyro_msde.parts import LogVariance
from pyro_msde.priors import bayesian

WEIGHTS = {
    "model": {"a.b": torch.arange(6.0).reshape(2, 3), "scalar": torch.tensor(2.5)},
    "guide": {"a.b": torch.arange(4, dtype=torch.float64)},
}


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_what_is_written_is_read(tmp_path):
    run = {"format": 1, "history": {"scores": [0.5, float("inf")]}, "nothing": None}
    write_run(tmp_path / "new" / "folder", run, WEIGHTS)
    read, weights = read_run(tmp_path / "new" / "folder")
    assert read == run
    assert_close(weights, {**WEIGHTS, "uncertainty": {}}, rtol=0, atol=0)
    assert sorted(contents(tmp_path / "new" / "folder")) == ["run.json", "weights.safetensors"]


def test_tensors_that_share_memory_or_are_strided_are_written(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    weights = {"model": {"x": base.mT, "y": base[:, 0]}, "guide": {}}
    write_run(tmp_path, {}, weights)
    assert_close(read_run(tmp_path)[1]["model"], weights["model"], rtol=0, atol=0)


def test_state_is_read_or_absent(tmp_path):
    assert read_state(tmp_path) is None
    write_state(tmp_path, {"step": 3, "rng": torch.get_rng_state()})
    state = read_state(tmp_path)
    assert state["step"] == 3
    assert torch.equal(state["rng"], torch.get_rng_state())


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["save_file", "write_text", "replace"])
def test_a_failing_write_leaves_the_old_run(where, error, monkeypatch, tmp_path):
    write_run(tmp_path, {"format": 1}, WEIGHTS)
    before = contents(tmp_path)

    def fail(*args):
        if where == "save_file":
            args[1].write_bytes(b"half of the wei")
        raise error

    owner = {"save_file": pyro_msde.checkpoint, "write_text": Path, "replace": os}[where]
    monkeypatch.setattr(owner, where, fail)
    with pytest.raises(type(error)):
        write_run(tmp_path, {"format": 2}, {**WEIGHTS, "guide": {}})
    assert contents(tmp_path) == before


def test_a_failing_write_leaves_the_old_state(monkeypatch, tmp_path):
    write_state(tmp_path, {"step": 3})
    before = contents(tmp_path)

    def fail(value, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_state(tmp_path, {"step": 4})
    assert contents(tmp_path) == before


def test_a_run_that_json_cannot_hold_writes_nothing(tmp_path):
    with pytest.raises(TypeError):
        write_run(tmp_path, {"model": object()}, WEIGHTS)
    assert not contents(tmp_path)


@pytest.fixture
def saved(tmp_path):
    result = fit(*tiny_pair(0), tiny_data(), steps=1, length=5, stride=1, progress=False)
    result.save(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["run.json", "weights.safetensors"])
@pytest.mark.parametrize("keep", [0, 0.5])
def test_a_truncated_file_is_named_damaged(saved, name, keep):
    path = saved / name
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(SavedRunError, match="is damaged"):
        load(saved, *tiny_pair(0))


@pytest.mark.parametrize("name", ["run.json", "weights.safetensors"])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(SavedRunError, match="holds no saved run"):
        load(saved, *tiny_pair(0))


@pytest.mark.parametrize("text", ["[1, 2]", "3"])
def test_json_of_something_else_is_damaged(saved, text):
    (saved / "run.json").write_text(text)
    with pytest.raises(SavedRunError, match="is damaged"):
        load(saved, *tiny_pair(0))


@pytest.mark.parametrize(
    ("name", "value"),
    [("scaling", None), ("dtype", "real"), ("region", {"box": "a"}), ("steps", 0)],
)
def test_json_of_the_wrong_content_is_damaged_and_loads_nothing(saved, name, value):
    run = json.loads((saved / "run.json").read_text())
    run = {**run, name: value} if name != "steps" else {k: v for k, v in run.items() if k != name}
    (saved / "run.json").write_text(json.dumps(run))
    model, guide = tiny_pair(0, seed=9)
    before = snapshot(model), snapshot(guide)
    with pytest.raises(SavedRunError, match=r"path: run\.json in .* is damaged"):
        load(saved, model, guide)
    assert same(before[0], snapshot(model))
    assert same(before[1], snapshot(guide))


def test_a_state_that_is_something_else_is_damaged(saved):
    torch.save(3, saved / "state.pt")
    with pytest.raises(SavedRunError, match=r"state\.pt .*damaged"):
        read_state(saved)


def test_weights_of_something_else_are_damaged(saved):
    from safetensors.torch import save_file

    save_file({"optimiser.x": torch.zeros(2)}, saved / "weights.safetensors")
    with pytest.raises(SavedRunError, match="is damaged"):
        load(saved, *tiny_pair(0))


def test_another_format_is_refused(saved):
    run = json.loads((saved / "run.json").read_text())
    (saved / "run.json").write_text(json.dumps({**run, "format": 99}))
    with pytest.raises(SavedRunError, match="format 99"):
        load(saved, *tiny_pair(0))


def test_a_damaged_state_is_refused(tmp_path):
    write_state(tmp_path, {"step": 3, "weights": torch.zeros(1000)})
    path = tmp_path / "state.pt"
    for data in (b"", path.read_bytes()[:700], b"not a state at all"):
        path.write_bytes(data)
        with pytest.raises(SavedRunError, match=r"state\.pt .*damaged"):
            read_state(tmp_path)


def test_models_of_ones_own_are_passed_in(saved):
    with pytest.raises(SavedRunError, match="a model of your own"):
        load(saved)
    first = load(saved, tiny_pair(0, seed=9)[0])  # the default guide is rebuilt
    second = load(saved, *tiny_pair(0, seed=8))
    assert_close(first.guide.state_dict(), second.guide.state_dict(), rtol=0, atol=0)
    assert_close(first.model.state_dict(), second.model.state_dict(), rtol=0, atol=0)


def test_another_model_is_refused(saved):
    with pytest.raises(SavedRunError, match=r"model: the run in .* is of another model"):
        load(saved, *tiny_pair(2))


def test_a_model_of_equal_shapes_and_other_options_is_refused(tmp_path):
    def pair(boundary, seed=0):
        model = multiscale(30, 5, boundary=boundary, width=7, seed=seed)
        return model, AmortizedGP(model)

    fit(*pair("dirichlet"), tiny_data(), steps=1, length=5, stride=1, progress=False).save(tmp_path)
    load(tmp_path, *pair("dirichlet", seed=1))  # where weights start does not matter
    with pytest.raises(SavedRunError, match=r"has boundary=\['dirichlet'\], here it is \['neumann"):
        load(tmp_path, *pair("neumann"))
    with pytest.raises(ValueError, match="guide: made for another model"):
        load(tmp_path, pair("dirichlet")[0], pair("dirichlet")[1])


def test_sizes_may_be_numpys(tmp_path):
    model = multiscale(np.int64(30), np.int64(5), n_eta=np.int64(1), width=np.int64(7))
    own = {"learning_rate": np.float32(1e-3), "length": np.int64(5), "stride": 1, "progress": False}
    result = fit(model, AmortizedGP(model), tiny_data(), steps=np.int64(1), **own)
    result.save(tmp_path)
    assert same(snapshot(load(tmp_path).model), snapshot(model))


@pytest.mark.filterwarnings("ignore:The `init_loc_fn` argument:FutureWarning")
def test_any_autoguide_is_saved(tmp_path):
    """This one holds tensors that share memory."""

    def pair():
        model = tiny_model(0)
        bayesian(model.diffusion, LogNormal(-2.0, 0.5))
        return model, AmortizedGP(model, theta=AutoIAFNormal)

    result = fit(*pair(), tiny_data(), steps=1, length=5, stride=1, progress=False)
    result.save(tmp_path)
    model, guide = pair()
    assert same(snapshot(load(tmp_path, model, guide).guide), snapshot(result.guide))


def test_nothing_is_loaded_of_a_run_that_fits_in_part_only(saved):
    model, guide = tiny_pair(0, seed=9)
    guide.node_variance = LogVariance((7,), 1.0)
    before = snapshot(model), snapshot(guide)
    with pytest.raises(SavedRunError, match=r"guide: .*node_variance.log_value is \(5,\) there"):
        load(saved, model, guide)
    assert same(before[0], snapshot(model))
    assert same(before[1], snapshot(guide))
