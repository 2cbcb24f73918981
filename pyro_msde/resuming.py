"""Which run a checkpoint is of, and going on with it.

Weights of equal shapes do not make it the same run: options, priors and data have to agree as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pyro_msde.checkpoint import read_checkpoint
from pyro_msde.errors import SavedRunError
from pyro_msde.fitted import Fit
from pyro_msde.priors import described_priors
from pyro_msde.recipes import Recipe
from pyro_msde.segments import Segments
from pyro_msde.training import Trainer

__all__ = ["identity_of", "resume"]


def identity_of(trainer: Trainer, seed: int) -> dict[str, Any]:
    """What has to agree for a run to be resumed, and is kept in its checkpoint."""
    return {
        "seed": seed,
        "steps": trainer.steps,
        "recipe": asdict(trainer.recipe),
        "options": {
            **_options("model", trainer.model),
            **_options("guide", trainer.guide),
            **{f"prior of {k}": v for k, v in described_priors(trainer.model).items()},
        },
        "model": _shapes(trainer),
        "data": _fingerprint(trainer.segments),
    }


def resume(
    trainer: Trainer, result: Fit, checkpoint: str | Path, identity: Mapping[str, Any]
) -> bool:
    """Go on from the checkpoint, if there is one; whether there was.

    Raises:
        SavedRunError: It is of another run.
    """
    saved = read_checkpoint(checkpoint)
    if saved is None or saved.state is None:
        return False
    state: dict[str, Any] = saved.state.position
    # a field that came later has the default, which is what older runs were trained with
    state["recipe"] = {**asdict(Recipe()), **state.get("recipe", {})}
    state.setdefault("options", identity["options"])
    for key, value in identity.items():
        if state.get(key) != value:
            raise SavedRunError(
                f"checkpoint: the run in {checkpoint} has {_difference(key, state.get(key), value)}"
                ". Choose another folder, or the same arguments to resume it."
            )
    trainer.restore(state)
    result.seconds = state["seconds"]
    return True


def _difference(key: str, there: Any, here: Any) -> str:
    """What is not the same: numbers and options by name and value."""
    if key in ("seed", "steps"):
        return f"{key}={there}, here {here}"
    if key not in ("options", "recipe"):
        return f"another {key}"
    name = next(n for n in {**here, **there} if there.get(n) != here.get(n))
    return f"{name}={there.get(name)!r}, here {here.get(name)!r}"


def _options(role: str, module: Any) -> dict[str, Any]:
    """What `load` would build it again from, by role and name; empty for the user's own."""
    config = getattr(module, "config", None) or {}
    return {f"{role}.{name}": value for name, value in config.items()}


def _shapes(trainer: Trainer) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all parameters and buffers."""
    return {
        f"{owner}.{name}": tuple(value.shape)
        for owner, state in trainer.weights().items()
        for name, value in state.items()
    }


def _fingerprint(segments: Segments) -> str:
    """Digest of the training data, in the dtype they are trained in."""
    digest = hashlib.blake2b(digest_size=16)
    own = [] if segments.parameters is None else [segments.parameters]
    for tensor in (*segments.times, *segments.values, segments.scale, *own):
        digest.update(str((tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
