"""Files of a run: a generation at a time, whole or not at all, told apart from what is not ours."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import pyro_msde
import pyro_msde.runs.checkpoint
from pyro_msde import SavedRunError
from pyro_msde.runs.checkpoint import (
    State,
    locked_folder,
    make_folder,
    read_checkpoint,
    read_run,
    write_run,
)
from pyro_msde.runs.folders import write_whole

pytestmark = pytest.mark.usefixtures("long_steps")

WEIGHTS = {
    "model": {"a.b": torch.arange(6.0).reshape(2, 3), "scalar": torch.tensor(2.5)},
    "guide": {"a.b": torch.arange(4, dtype=torch.float64)},
}
OTHERS = {"model": {"a.b": torch.ones(2)}, "guide": {}}
STATE = State(
    {"step": 3, "rng": np.random.default_rng(5).bit_generator.state, "best": float("inf")},
    {"random": torch.get_rng_state(), "moment/0": torch.tensor(0.25)},
)


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def names(folder):
    """Without the digests in them."""
    return sorted(re.sub(r"-[0-9a-f]{12}\.", ".", p.name) for p in folder.iterdir())


def damaged(folder, name, change):
    """Change a file's bytes."""
    path = next(folder.glob(name))
    path.write_bytes(change(path.read_bytes()))
    return path


def test_what_is_written_is_read_to_the_last_bit(tmp_path):
    run = {"history": {"scores": [0.1, float("inf"), float("-inf")]}, "nothing": None, "é": "ü"}
    write_run(tmp_path / "new" / "folder", run, WEIGHTS, STATE)
    read, weights, state = read_run(tmp_path / "new" / "folder")
    assert read == run
    assert_close(weights, {**WEIGHTS, "adjustments": {}, "scaling": {}}, rtol=0, atol=0)
    assert state.position == STATE.position  # PCG64's 128-bit numbers among them
    assert_close(state.tensors, STATE.tensors, rtol=0, atol=0)
    assert names(tmp_path / "new" / "folder") == [
        "run.json",
        "state.safetensors",
        "weights.safetensors",
    ]
    assert read_run(tmp_path / "new" / "folder", state=False).state is None


def test_nan_comes_back(tmp_path):
    write_run(tmp_path, {"score": float("nan")}, WEIGHTS)
    assert np.isnan(read_run(tmp_path).run["score"])
    json.loads((tmp_path / "run.json").read_text(), parse_constant=pytest.fail)  # strict JSON


def test_tensors_that_share_memory_or_are_strided_are_written(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    weights = {"model": {"x": base.mT, "y": base[:, 0]}, "guide": {}}
    write_run(tmp_path, {}, weights)
    assert_close(read_run(tmp_path).weights["model"], weights["model"], rtol=0, atol=0)


@pytest.mark.parametrize(
    "value", [object(), {1: 2}, {"float": 1.0}, b"bytes", {"a": [torch.ones(1)]}]
)
def test_what_json_cannot_hold_writes_nothing(value, tmp_path):
    with pytest.raises(TypeError, match=r"^run\.model"):
        write_run(tmp_path, {"model": value}, WEIGHTS)
    with pytest.raises(TypeError, match=r"^position\.model"):
        write_run(tmp_path, {}, WEIGHTS, State({"model": value}, {}))
    assert not contents(tmp_path)


def test_the_generation_before_is_kept_and_older_ones_go(tmp_path):
    for step in range(4):
        weights = {"model": {"x": torch.tensor([float(step)])}}
        write_run(tmp_path, {"step": step}, weights, State({}, {"x": torch.tensor(step)}))
        (tmp_path / "notes-0123456789ab.safetensors").write_text("the user's")
    assert names(tmp_path) == [
        "notes.safetensors",
        "run.json",
        "run.previous.json",
        "state.safetensors",
        "state.safetensors",
        "weights.safetensors",
        "weights.safetensors",
    ]
    assert read_run(tmp_path).run["step"] == 3
    (tmp_path / "run.previous.json").rename(tmp_path / "run.json")  # as messages advise
    saved = read_run(tmp_path)
    assert saved.run["step"] == 2
    assert float(saved.weights["model"]["x"]) == 2.0


def test_weights_that_stay_are_written_once(tmp_path, monkeypatch):
    write_run(tmp_path, {"step": 0}, WEIGHTS)
    written = []
    monkeypatch.setattr(
        pyro_msde.runs.checkpoint,
        "write_whole",
        lambda path, data: (written.append(path.name), write_whole(path, data)),
    )
    write_run(tmp_path, {"step": 1}, WEIGHTS)
    assert written == ["run.json", "run.previous.json"]
    written.clear()
    damaged(tmp_path, "weights-*", lambda data: data[:-1] + b"?")  # of the same size
    write_run(tmp_path, {"step": 2}, WEIGHTS)
    assert len(written) == 3
    read_run(tmp_path)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", range(4))
def test_a_failing_write_leaves_the_old_run(at, error, monkeypatch, tmp_path):
    """At each of the four files: weights, state, run.json and its predecessor."""
    write_run(tmp_path, {"step": 1}, WEIGHTS, STATE)
    before, calls = contents(tmp_path), []
    real = os.fsync

    def fail(handle):
        if not os.fstat(handle).st_size or os.path.isdir(f"/proc/self/fd/{handle}"):
            return real(handle)
        calls.append(handle)
        if len(calls) == at + 1:
            raise error
        return real(handle)

    monkeypatch.setattr(os, "fsync", fail)
    wanted = SavedRunError if isinstance(error, OSError) else type(error)
    with pytest.raises(wanted):
        write_run(tmp_path, {"step": 2}, OTHERS, State({}, {"x": torch.ones(3)}))
    monkeypatch.undo()
    left = contents(tmp_path)
    if at < 3:
        assert left == before
    assert read_run(tmp_path).run == {"step": 1 if at < 3 else 2}
    assert not [name for name in left if name.startswith(".")]


def test_no_disk_names_folder_and_mend(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SavedRunError, match=r"cannot write to .*file/run.*Choose another folder"):
        write_run(tmp_path / "file" / "run", {}, WEIGHTS)


WRITER = """
import sys, torch
from pyro_msde.runs.checkpoint import State, write_run
print("ready", flush=True)
for k in range(10_000):
    value = torch.full((50_000,), float(k))
    write_run(sys.argv[1], {"step": k}, {"model": {"x": value}}, State({"k": k}, {"y": value}))
"""


def test_killed_at_any_moment_a_run_is_of_one_generation(tmp_path):
    """And what the killed left is gone after the next save."""
    rng = np.random.default_rng(0)
    for _ in range(2):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
        )
        writer.stdout.readline()
        deadline = rng.uniform(0.2, 0.5)
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(deadline)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        if not (tmp_path / "run.json").exists():
            continue
        run, weights, state = read_run(tmp_path)
        k = run["step"]
        assert state.position == {"k": k}
        for value in (weights["model"]["x"], state.tensors["y"]):
            assert torch.equal(value, torch.full((50_000,), float(k)))
    (tmp_path / ".pyro_msde-1-run.json").write_text("half")  # one for sure
    (tmp_path / ".weights.safetensors.x1_abcde").write_text("an earlier version's")
    (tmp_path / ".gitignore").write_text("the user's")
    write_run(tmp_path, {}, WEIGHTS)
    write_run(tmp_path, {}, OTHERS)
    assert [name for name in names(tmp_path) if name != ".lock"] == [
        ".gitignore",
        "run.json",
        "run.previous.json",
        "weights.safetensors",
        "weights.safetensors",
    ]


def test_the_umask_is_respected_and_the_home_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    before = os.umask(0o027)
    try:
        write_run("~/runs/mine", {"step": 1}, WEIGHTS)
    finally:
        os.umask(before)
    folder = tmp_path / "runs" / "mine"
    assert {p.stat().st_mode & 0o777 for p in folder.iterdir()} == {0o640}
    assert read_run("~/runs/mine").run == {"step": 1}
    with locked_folder(make_folder("~/runs/mine")):
        assert read_checkpoint("~/runs/mine").run == {"step": 1}
    with pytest.raises(SavedRunError, match="Write the folder out"):
        read_run("~no-such-user-here/x")
    with pytest.raises(TypeError, match="path: None is no path"):
        read_run(None)


OTHER = """
import sys
from pyro_msde.runs.checkpoint import locked_folder, write_run
for use in (lambda: write_run(sys.argv[1], {}, {}), lambda: locked_folder(sys.argv[1]).__enter__()):
    try:
        use()
        print("done", flush=True)
    except ValueError as error:
        print(error, flush=True)
sys.stdin.readline()
with locked_folder(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_second_run_in_a_folder_is_refused_and_a_lock_dies_with_its_process(tmp_path):
    own = r"another run is using .*Wait for it to end, or choose another folder"
    with locked_folder(tmp_path):
        write_run(tmp_path, {"step": 1}, WEIGHTS)  # by the run itself
        with pytest.raises(SavedRunError, match=own), locked_folder(tmp_path):
            pass
        other = subprocess.Popen(
            [sys.executable, "-c", OTHER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        answers = [other.stdout.readline(), other.stdout.readline()]
    assert all(re.search(own, answer) for answer in answers), answers
    other.stdin.write("\n")
    other.stdin.flush()
    assert other.stdout.readline() == "held\n"
    with pytest.raises(SavedRunError, match=own), locked_folder(tmp_path):
        pass
    other.kill()
    other.communicate()
    with locked_folder(tmp_path):
        pass


@pytest.mark.parametrize("name", ["run.json", "weights-*", "state-*"])
@pytest.mark.parametrize("keep", [0, 0.5])
def test_a_truncated_file_is_named_damaged(name, keep, tmp_path):
    write_run(tmp_path, {}, WEIGHTS, STATE)
    path = damaged(tmp_path, name, lambda data: data[: int(keep * len(data))])
    with pytest.raises(SavedRunError, match=f"{re.escape(str(path))} is damaged"):
        read_run(tmp_path)


def test_a_single_bit_anywhere_is_told(tmp_path):
    """But for white space and the letter case of escapes, which say the same."""
    write_run(tmp_path, {"x": [1, 2.5, "word", None, True]}, WEIGHTS, STATE)
    good = read_run(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        data, missed = path.read_bytes(), 0
        for place in range(0, len(data), 5):
            bad = bytearray(data)
            bad[place] ^= 1 << (place % 8)
            path.write_bytes(bad)
            try:
                found = read_run(tmp_path)
            except SavedRunError:
                continue
            assert found.run == good.run
            assert found.state.position == good.state.position
            missed += 1
        path.write_bytes(data)
        assert missed <= (data.count(b" ") + data.count(b"\n")) * (path.suffix == ".json")


def test_a_missing_file_is_named(tmp_path):
    write_run(tmp_path, {}, WEIGHTS)
    path = next(tmp_path.glob("weights-*"))
    path.unlink()
    with pytest.raises(SavedRunError, match=f"lacks {path.name}, which run.json names"):
        read_run(tmp_path)
    (tmp_path / "run.json").unlink()
    with pytest.raises(SavedRunError, match="holds no saved run"):
        read_run(tmp_path)
    assert read_checkpoint(tmp_path) is None


def test_damage_mentions_the_generation_before(tmp_path):
    write_run(tmp_path, {"step": 1}, WEIGHTS)
    write_run(tmp_path, {"step": 2}, OTHERS)
    damaged(tmp_path, "run.json", lambda data: data[:-9])
    with pytest.raises(SavedRunError, match=r"rename that to run\.json to use it"):
        read_run(tmp_path)
    write_run(tmp_path, {"step": 3}, OTHERS)  # what is damaged does not take its place
    (tmp_path / "run.previous.json").rename(tmp_path / "run.json")
    assert read_run(tmp_path).run["step"] == 1


NESTED = b'{"a":' * 100_000 + b"1" + b"}" * 100_000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[1, 2]",
        b"3",
        b"null",
        b"{",
        b"\xff\xfe{",
        b"\xef\xbb\xbf{}",
        NESTED,
        b'{"format": ' + b"9" * 5000 + b"}",
        b'{"format": true}',
        b'{"format": 3.0}',
        b'{"format": "3"}',
        b'{"format": 99}',
        b'{"format": 1}',
        b'{"format": 3}',
        b'{"format": 3, "x": NaN}',
        b'{"format": 3, "x": 1e999}',
        b'{"a": 1, "a": 2}',
        '{"format": 3, "é": 1}'.encode("utf-16"),
    ],
)
def test_json_of_something_else_is_damaged(data, tmp_path):
    (tmp_path / "run.json").write_bytes(data)
    with pytest.raises(SavedRunError, match=r"run\.json is damaged: "):
        read_run(tmp_path)


def sealed(run):
    """With the digest that makes it look as written."""
    run = {k: v for k, v in run.items() if k != "sha256"}
    text = json.dumps(run, sort_keys=True, separators=(",", ":"))
    return json.dumps({**run, "sha256": sha256(text.encode()).hexdigest()})


@pytest.mark.parametrize(
    "name", ["../weights.safetensors", "/etc/passwd", "weights-0.safetensors", "", None, 3, ["a"]]
)
def test_only_files_of_the_folder_are_read(name, tmp_path):
    write_run(tmp_path, {}, WEIGHTS)
    run = json.loads((tmp_path / "run.json").read_text())
    run["files"]["weights"]["name"] = name
    (tmp_path / "run.json").write_text(sealed(run))
    with pytest.raises(SavedRunError, match=r"files\.weights\.name: Expected"):
        read_run(tmp_path)


@pytest.mark.parametrize("name", ["run.json", "weights-*"])
def test_what_is_no_file_is_refused(name, tmp_path):
    write_run(tmp_path, {}, WEIGHTS)
    path = next(tmp_path.glob(name))
    path.unlink()
    uses = [path.mkdir, lambda: path.symlink_to(path), lambda: os.mkfifo(path)]
    for use in uses:
        use()
        with pytest.raises(SavedRunError, match=r"holds no saved run|lacks weights"):
            read_run(tmp_path)
        path.rmdir() if path.is_dir() else path.unlink()


def test_weights_of_something_else_are_damaged(tmp_path):
    write_run(tmp_path, {}, {"optimiser": {"x": torch.zeros(2)}})
    with pytest.raises(SavedRunError, match=r"is damaged: 'optimiser\.x'"):
        read_run(tmp_path)


def test_a_state_of_the_old_form_is_refused_by_name_and_not_opened(tmp_path):
    """One that would run code if it were."""

    class Crafted:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    torch.save({"step": Crafted()}, tmp_path / "state.pt")
    with pytest.raises(SavedRunError, match=r"state\.pt is of an older form.*Delete it to start"):
        read_checkpoint(tmp_path)
    write_run(tmp_path, {}, WEIGHTS)
    with pytest.raises(SavedRunError, match=r"state\.pt is of an older form"):
        read_checkpoint(tmp_path)
    read_run(tmp_path)
    write_run(tmp_path, {}, WEIGHTS, STATE)  # which has a newer one
    assert read_checkpoint(tmp_path).state.position["step"] == 3
    assert not (tmp_path / "executed").exists()


def test_nothing_in_the_library_can_execute_what_it_reads():
    root = Path(pyro_msde.__file__).parent
    modules = "pickle|cloudpickle|joblib|dill|marshal|shelve"
    words = rf"(?m)^\s*(import|from)\s+({modules})\b|torch\.(load|save)\b|allow_pickle=True"
    words += r"|(?<![.\w])(eval|exec)\("
    found = {
        f"{path.relative_to(root)}: {match.group()}"
        for path in root.rglob("*.py")
        for match in re.finditer(words, path.read_text(encoding="utf-8"))
    }
    assert not found


def test_a_run_of_format_2_is_read_and_kept_as_the_generation_before(tmp_path):
    from safetensors.torch import save_file

    save_file({"model.x": torch.ones(2)}, tmp_path / "weights.safetensors")
    (tmp_path / "run.json").write_text('{"format": 2, "scores": [Infinity]}')
    run, weights, state = read_run(tmp_path)
    assert run == {"scores": [float("inf")], "adjustments": []}
    assert torch.equal(weights["model"]["x"], torch.ones(2))
    assert state is None
    write_run(tmp_path, {}, WEIGHTS)
    assert names(tmp_path) == [
        "run.json",
        "run.previous.json",
        "weights.safetensors",
        "weights.safetensors",
    ]
    write_run(tmp_path, {}, OTHERS)
    assert not (tmp_path / "weights.safetensors").exists()
