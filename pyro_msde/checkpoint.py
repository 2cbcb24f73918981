"""Files of a run: written whole or not at all.

run.json             what to rebuild: case, scaling, region, recipe; history, validation scores
weights.safetensors  parameters of model and guide
state.pt             what resuming needs beyond: optimiser, random states, position
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pyro_msde.errors import SavedRunError

__all__ = ["make_folder", "read_run", "read_state", "write_run", "write_state"]

_OWNERS = ("model", "guide", "uncertainty")
_RUN, _WEIGHTS, _STATE = "run.json", "weights.safetensors", "state.pt"


def make_folder(directory: str | Path) -> None:
    """Make sure, before anything is computed, that a run can be written there.

    Raises:
        SavedRunError: It cannot.
    """
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise SavedRunError(
            f"checkpoint: cannot write to {directory} ({error}). Choose another folder."
        ) from error


def _write_atomically(files: Mapping[Path, Callable[[Path], object]]) -> None:
    """Write all files beside their targets, then move them into place."""
    temporaries: dict[Path, Path] = {}
    try:
        for path, write in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            temporaries[path] = Path(name)
            os.close(handle)
            write(temporaries[path])
            temporaries[path].chmod(0o644)
        for path, temporary in temporaries.items():
            os.replace(temporary, path)
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def write_run(directory: str | Path, run: Mapping[str, Any], weights: Mapping[str, Any]) -> None:
    """Write description and weights.

    Args:
        directory: Made if missing.
        run: Anything JSON holds.
        weights: State dicts by owner: "model", "guide" and, where it is known, "uncertainty".
    """
    directory = Path(directory)
    flat = {
        f"{owner}.{name}": value.detach().cpu().contiguous().clone()  # files share no memory
        for owner, state in weights.items()
        for name, value in state.items()
    }
    text = json.dumps(dict(run), indent=1, default=_plain)
    _write_atomically({
        directory / _WEIGHTS: lambda p: save_file(flat, p),
        directory / _RUN: lambda p: p.write_text(text + "\n"),
    })  # fmt: skip


def _plain(value: Any) -> Any:
    """Python's number for numpy's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"run: holds a {type(value).__name__}, which JSON does not.")


def read_run(directory: str | Path) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """Description and weights of a saved run.

    Raises:
        SavedRunError: There is none, or it is not readable.
    """
    directory = Path(directory)
    if not (directory / _RUN).is_file() or not (directory / _WEIGHTS).is_file():
        raise SavedRunError(
            f"path: {directory} holds no saved run ({_RUN} and {_WEIGHTS}). Pass the folder that "
            "fit.save or fit(checkpoint=…) wrote."
        )
    weights: dict[str, dict[str, Tensor]] = {owner: {} for owner in _OWNERS}
    try:
        run = dict(json.loads((directory / _RUN).read_text()))
        for key, value in load_file(directory / _WEIGHTS).items():
            owner, name = key.split(".", 1)
            weights[owner][name] = value
    except Exception as error:
        raise SavedRunError(f"path: {directory} is damaged: {error!r}") from error
    return run, weights


def write_state(directory: str | Path, state: Mapping[str, Any]) -> None:
    """Write what resuming a run needs."""
    _write_atomically({Path(directory) / _STATE: lambda p: torch.save(dict(state), p)})


def read_state(directory: str | Path) -> dict[str, Any] | None:
    """What `write_state` wrote, or None.

    Raises:
        SavedRunError: It is not readable.
    """
    path = Path(directory) / _STATE
    if not path.is_file():
        return None
    try:
        state = dict(torch.load(path, map_location="cpu", weights_only=False))
    except Exception as error:
        raise SavedRunError(
            f"checkpoint: {path} is damaged: {error!r}. Delete it to start anew."
        ) from error
    return state
