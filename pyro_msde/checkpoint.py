"""Files of a run: written whole or not at all.

    run.json             what to rebuild: cases, scaling, recipe, history, scores
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

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pyro_msde.errors import SavedRunError

__all__ = ["read_run", "read_state", "write_run", "write_state"]

_RUN, _WEIGHTS, _STATE = "run.json", "weights.safetensors", "state.pt"


def _write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside the target, then move into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_run(directory: str | Path, run: Mapping[str, Any], weights: Mapping[str, Any]) -> None:
    """Write description and weights.

    Args:
        directory: Made if missing.
        run: Anything JSON holds.
        weights: {"model": state dict, "guide": state dict}.
    """
    directory = Path(directory)
    flat = {
        f"{owner}.{name}": value.detach().cpu().contiguous()
        for owner, state in weights.items()
        for name, value in state.items()
    }
    text = json.dumps(dict(run), indent=1)
    _write_atomically(directory / _WEIGHTS, lambda p: save_file(flat, p))
    _write_atomically(directory / _RUN, lambda p: p.write_text(text + "\n"))


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
    try:
        run = json.loads((directory / _RUN).read_text())
        flat = load_file(directory / _WEIGHTS)
    except Exception as error:
        raise SavedRunError(f"path: {directory} is damaged: {error}") from error
    weights: dict[str, dict[str, Tensor]] = {"model": {}, "guide": {}}
    for key, value in flat.items():
        owner, name = key.split(".", 1)
        weights[owner][name] = value
    return run, weights


def write_state(directory: str | Path, state: Mapping[str, Any]) -> None:
    """Write what resuming a run needs."""
    _write_atomically(Path(directory) / _STATE, lambda p: torch.save(dict(state), p))


def read_state(directory: str | Path) -> dict[str, Any] | None:
    """What `write_state` wrote, or None."""
    path = Path(directory) / _STATE
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=False)
    return state
