"""Training that is killed, at random moments and inside writes, and resumed: is anything lost?

A process trains with a checkpoint every few steps and is killed (SIGKILL); another one goes on.
What is in the folder after each kill has to be the generation that was written last, or the one
that was being written; what is there in the end has to be the uninterrupted run in every bit, but
for the seconds that it took. POSIX only.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pyro_msde
import pyro_msde.interface.training_run
from pyro_msde.errors import SavedRunError
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale
from pyro_msde.runs import State, read_checkpoint
from pyro_msde.runs.strict_json import digest_of, packed

__all__ = ["kills"]

_KILLS_OF_A_RUN = 3
_STEPS, _EVERY = 30, 5
_WRITES = ("begun", "written")
# processes are forked from one that has done nothing but import, so that they start at once
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["benchmarks.kills"])


def _data() -> pyro_msde.Trajectories:
    """Three trajectories of 41 snapshots of waves on 32 points."""
    t, x = np.linspace(0, 1, 41), np.arange(32) / 32
    rng = np.random.default_rng(0)
    values = []
    for _ in range(3):
        u = 0.01 * rng.standard_normal((41, 32))
        for k in (1, 2, 5):
            u += np.cos(2 * np.pi * k * (x - 0.7 * t[:, None]) + rng.uniform(0, 2 * np.pi)) / k
        values.append(u.astype(np.float32))
    return pyro_msde.Trajectories([t] * 3, values)


def _train(folder: Path, log: Path, kill_at: int | None) -> None:
    """Train to the end, in a process of its own, which dies at an operation on files.

    Args:
        folder: The checkpoint.
        log: File that gets a line when training starts, a generation is begun or written, and for
            each operation.
        kill_at: Number of the operation; None: none.
    """
    torch.set_num_threads(1)
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    write_run = pyro_msde.interface.training_run.write_run

    def logged(*args: Any) -> None:
        os.write(handle, b"begun\n")
        write_run(*args)
        os.write(handle, f"written {_generation(folder)}\n".encode())

    pyro_msde.interface.training_run.write_run = logged
    count = itertools.count()
    for name in ("fsync", "replace"):
        setattr(os, name, _dying(getattr(os, name), count, kill_at, handle))
    data, model = _data(), multiscale(32, 8, n_eta=1, width=16, components=4, seed=1)
    guide = AmortizedGP(model, seed=1)
    os.write(handle, b"started\n")
    pyro_msde.fit(
        model,
        guide,
        data,
        validation=data[2].until(0.2),
        steps=_STEPS,
        validate_every=_EVERY,
        checkpoint=folder,
        progress=False,
        length=9,
        stride=2,
        num_nodes=8,
    )


def _dying(
    operation: Callable[..., Any], count: Iterator[int], kill_at: int | None, log: int
) -> Callable[..., Any]:
    """The operation; at its turn the process dies before it, after it, or with half a file."""

    def counted(target: Any, *args: Any, **options: Any) -> Any:
        number = next(count)
        os.write(log, b"operation\n")
        if number == kill_at:
            if isinstance(target, int) and stat.S_ISREG(os.fstat(target).st_mode):
                os.ftruncate(target, os.fstat(target).st_size // 2)  # not all was on the disk
            elif number % 2:
                operation(target, *args, **options)
            os.kill(os.getpid(), signal.SIGKILL)
        return operation(target, *args, **options)

    return counted


def _generation(folder: Path) -> str:
    """Digest of all that is saved there but the seconds it took; "" where nothing is."""
    saved = read_checkpoint(folder)
    if saved is None:
        return ""
    run = {k: v for k, v in saved.run.items() if k not in ("seconds", "files")}
    state = saved.state or State({}, {})
    tensors = {**saved.weights, "state": state.tensors}
    digests = {
        f"{owner}.{name}": sha256(value.numpy().tobytes()).hexdigest()
        for owner, own in tensors.items()
        for name, value in own.items()
    }
    return digest_of(packed([run, state.position, digests], "saved"))


def _run(
    folder: Path, *, kill_at: int | None = None, after: float | None = None
) -> tuple[bool, list[str]]:
    """Train in a process; whether it was killed, and the lines of its log.

    Args:
        folder: The checkpoint.
        kill_at: See `_train`.
        after: Kill it so many seconds after it has started.
    """
    log = folder.with_suffix(".log")
    log.unlink(missing_ok=True)
    process = _CONTEXT.Process(target=_train, args=(folder, log, kill_at))
    process.start()
    if after is not None:
        while process.is_alive() and not (log.exists() and log.read_bytes()):
            time.sleep(0.002)
        process.join(after)
        process.kill()
    process.join()
    if process.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"training ended with {process.exitcode}")
    return process.exitcode != 0, log.read_text().splitlines() if log.exists() else []


def _is_whole(folder: Path, log: list[str], known: list[str], before: str) -> bool:
    """Whether what is there is the generation written last or the one being written, and loads."""
    place = known.index(before)
    allowed = {known[place + sum(line.startswith(what) for line in log)] for what in _WRITES}
    try:
        there = _generation(folder)
        if there:
            pyro_msde.load(folder)
    except SavedRunError:
        return False
    return there in allowed


def kills(count: int = 24, seed: int = 0) -> list[dict[str, Any]]:
    """Kill so many times, every second time inside a write.

    Returns:
        Rows of what was looked at, how often, and how many faults there were.
    """
    rng, kinds = np.random.default_rng(seed), ("at random moments", "inside writes")
    done, faults = dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0)
    runs = unequal = 0
    with tempfile.TemporaryDirectory() as place:
        began = time.perf_counter()
        _, log = _run(Path(place) / "whole")
        seconds = time.perf_counter() - began
        known = ["", *(line.split()[1] for line in log if line.startswith("written"))]
        operations = log.count("operation")
        while sum(done.values()) < count:
            folder = Path(place) / f"run-{runs}"
            for _ in range(min(_KILLS_OF_A_RUN, count - sum(done.values()))):
                kind = min(kinds, key=lambda k: done[k])
                before = _generation(folder)
                left = 1 - known.index(before) / len(known)  # of the run
                if kind == "inside writes":
                    killed, log = _run(folder, kill_at=int(rng.integers(left * operations)))
                else:
                    killed, log = _run(folder, after=left * seconds * rng.uniform())
                done[kind] += killed
                faults[kind] += not _is_whole(folder, log, known, before)
                if not killed:
                    break
            _run(folder)
            runs += 1
            left_over = [p for p in folder.iterdir() if p.name.startswith(".pyro")]
            unequal += _generation(folder) != known[-1] or bool(left_over)
    what = "runs that were killed and resumed, against the uninterrupted one, bit by bit"
    return [
        *({"what": f"kills {k}", "count": done[k], "faults": faults[k]} for k in kinds),
        {"what": what, "count": runs, "faults": unequal},
    ]
