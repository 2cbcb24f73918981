"""Principal components are saved in half precision, and nothing is lost by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import NUM_POINTS, same, snapshot, tiny_data, tiny_segments
from safetensors.torch import load as tensors_from
from safetensors.torch import load_file

from pyro_msde import Callback, fit, load
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale
from pyro_msde.networks.pod import start_principal_components
from pyro_msde.runs.strict_json import digest_of, from_json, json_text

QUICK = {"steps": 1, "length": 5, "stride": 1, "progress": False}
Y0, TIMES = np.cos(2 * np.pi * np.arange(NUM_POINTS) / NUM_POINTS), np.linspace(0, 0.2, 3)
MODES = ("model.decoder.net.modes", "guide.encoder.modes")


def trained(**options):
    model = multiscale(NUM_POINTS, 5, n_eta=1, width=7, components=3)
    return fit(model, AmortizedGP(model), tiny_data(), **(QUICK | options))


@pytest.fixture(scope="module")
def result():
    return trained()


def both(fitted):
    """Copies of model and guide, as one."""
    parts = {"model": fitted.model, "guide": fitted.guide}
    return {f"{role}.{k}": v for role, part in parts.items() for k, v in snapshot(part).items()}


def stored(folder):
    return load_file(next(folder.glob("weights-*")))


def test_a_loaded_fit_is_the_saved_one_in_every_bit(result, tmp_path):
    result.save(tmp_path)
    tensors, whole = stored(tmp_path), both(result)
    for name in MODES:
        assert tensors[name].dtype == torch.float16
        assert whole[name].dtype == torch.float32
    trainable = dict(result.model.named_parameters())
    assert all(tensors[f"model.{name}"].dtype == torch.float32 for name in trainable)
    again = load(tmp_path)
    assert same(both(again), whole)
    assert torch.equal(again.predict(Y0, TIMES).paths, result.predict(Y0, TIMES).paths)
    again.save(tmp_path / "again")
    assert same(stored(tmp_path / "again"), tensors)


def test_a_checkpoint_of_a_finished_run_is_halved_too(result, tmp_path):
    found = trained(checkpoint=tmp_path)
    assert stored(tmp_path)[MODES[0]].dtype == torch.float16
    assert same(both(found), both(result))
    assert same(both(trained(checkpoint=tmp_path)), both(result))


class Fails(Callback):
    """At step 2."""

    def step(self, view):
        if view.step == 2:
            raise OSError("no disk")


def test_an_unfinished_run_goes_on_in_every_bit(tmp_path):
    options = {"steps": 4, "checkpoint": tmp_path}
    with pytest.raises(OSError, match="no disk"):
        trained(**options, callbacks=[Fails()])
    assert load(tmp_path).training.interrupted
    assert stored(tmp_path)[MODES[0]].dtype == torch.float16
    assert same(both(trained(**options)), both(trained(steps=4)))


def test_components_are_rounded_before_anything_is_learned_with_them():
    """Against those of float64, to a unit in the last of eleven bits, and float32's own."""
    modes = []
    for dtype in (torch.float32, torch.float64):
        model = multiscale(NUM_POINTS, 5, n_eta=1, width=7, components=3).to(dtype)
        guide = AmortizedGP(model).to(dtype)
        assert start_principal_components(model, guide, tiny_segments(dtype=dtype))
        modes.append([model.decoder.net.modes.double(), guide.encoder.modes.double()])
    for rounded, exact in zip(*modes, strict=True):
        assert torch.equal(rounded.half().double(), rounded)
        assert not torch.equal(exact.half().double(), exact)
        # 1e-5: what the method of snapshots makes of float32 data
        assert ((rounded - exact).abs() <= 2.0**-11 * exact.abs() + 1e-5).all()


def test_components_in_float64_are_whole(tmp_path):
    result = trained(dtype=torch.float64)
    result.save(tmp_path)
    assert stored(tmp_path)[MODES[0]].dtype == torch.float64
    assert same(both(load(tmp_path)), both(result))


def test_runs_of_format_5_keep_their_single_precision(result, tmp_path):
    """Whose components half precision does not hold: saved again, they are as they were."""
    old = load_copy(result, tmp_path / "copy")
    generator = torch.Generator().manual_seed(0)
    for part in (old.model.decoder.net, old.guide.encoder):
        part.modes += 1e-4 * torch.randn(part.modes.shape, generator=generator)
    old.save(tmp_path)
    run = from_json((tmp_path / "run.json").read_bytes(), unpack=False)
    del run["sha256"]
    run["format"] = 5
    (tmp_path / "run.json").write_text(json_text({**run, "sha256": digest_of(run)}))
    assert stored(tmp_path)[MODES[0]].dtype == torch.float32
    again = load(tmp_path)
    assert same(both(again), both(old))
    again.save(tmp_path / "again")
    assert same(stored(tmp_path / "again"), stored(tmp_path))


def load_copy(result, folder):
    result.save(folder)
    return load(folder)


def test_what_is_halved_is_checked_as_all_else_is(result, tmp_path):
    """One bit of the file is another."""
    result.save(tmp_path)
    path = next(tmp_path.glob("weights-*"))
    data = bytearray(path.read_bytes())
    place = data.index(tensors_from(bytes(data))[MODES[0]].numpy().tobytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="damaged: sha256"):
        load(tmp_path)
