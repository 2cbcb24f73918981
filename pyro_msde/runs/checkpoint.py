"""Files of a run, one generation at a time.

run.json                  what to rebuild: case, scaling, adjustments, recipe; history, validation
                          scores; where training stands; the two files below with their digests,
                          and a digest of itself
weights-….safetensors     parameters of model and guide; what is not trained may be halved
state-….safetensors       what resuming needs beyond: optimiser, random states, current weights
run.previous.json         the generation before, whose files are kept too

Files of tensors are named by what they hold, so that none is ever changed. A generation comes into
being when run.json is replaced, which happens at once or not at all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from msgspec import Meta, Struct
from safetensors.torch import load as tensors_from
from safetensors.torch import save as bytes_of
from torch import Tensor

from pyro_msde.errors import SavedRunError
from pyro_msde.runs.folders import folder_of, locked_folder, make_folder, write_whole, writing
from pyro_msde.runs.migrations import FORMAT, migrated, with_jackknife
from pyro_msde.runs.schema import converted
from pyro_msde.runs.strict_json import digest_of, from_json, json_text, packed

__all__ = [
    "Saved",
    "State",
    "locked_folder",
    "make_folder",
    "read_checkpoint",
    "read_run",
    "write_run",
]

RUN, PREVIOUS, OLD_STATE = "run.json", "run.previous.json", "state.pt"
_DIGESTED_SINCE = 3  # the first format whose descriptions hold a digest of themselves
_OWNERS = ("model", "guide", "adjustments", "scaling")
_OURS = re.compile(r"(weights|state)(-[0-9a-f]{12})?\.safetensors")
_MOST = 2**24  # bytes of run.json, of which Python makes up to twenty-five times as many


class _File(Struct, forbid_unknown_fields=True):
    """A file of tensors in the folder itself; size and digest of what format 2 wrote are None."""

    name: Annotated[str, Meta(pattern=rf"\A{_OURS.pattern}\Z")]
    size: Annotated[int, Meta(ge=0)] | None
    sha256: str | None


class _Files(Struct, forbid_unknown_fields=True):
    weights: _File
    state: _File | None = None


class State(NamedTuple):
    """What resuming needs beyond the description and the weights.

    Attributes:
        position: Anything JSON holds; numbers may be infinite.
        tensors: By name.
    """

    position: dict[str, Any]
    tensors: dict[str, Tensor]


class Saved(NamedTuple):
    """One generation of a run.

    Attributes:
        run: The description.
        weights: Tensors by owner: "model", "guide", "adjustments" and "scaling"; the last two may
            be empty.
        state: Where training stands; None: the run was saved without.
    """

    run: dict[str, Any]
    weights: dict[str, dict[str, Tensor]]
    state: State | None


def write_run(
    directory: str | os.PathLike[str],
    run: Mapping[str, Any],
    weights: Mapping[str, Mapping[str, Tensor]],
    state: State | None = None,
) -> None:
    """Write a generation; the one before is kept, and those before that are removed.

    Args:
        directory: Made if missing.
        run: Anything JSON holds, without the names "format", "files", "position" and "sha256".
        weights: Tensors by owner: "model", "guide", "adjustments" and "scaling".
        state: Where training stands.

    Raises:
        TypeError: `run` or the position holds what JSON does not; nothing is written.
        SavedRunError: It cannot be written, or another run is using the folder. What was there is
            there still.
    """
    flat = {f"{owner}.{name}": v for owner, part in weights.items() for name, v in part.items()}
    tensors = {"weights": flat} | ({} if state is None else {"state": state.tensors})
    described = {"format": FORMAT, **packed(run, "run")}
    described["position"] = None if state is None else packed(state.position, "position")
    folder = make_folder(directory, "path")
    try:
        with writing(folder):
            _write(folder, described, tensors)
    except OSError as error:
        raise SavedRunError(
            f"path: cannot write to {folder} ({error}). Make room there, or choose another folder."
        ) from error


def _write(folder: Path, described: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    try:
        files = {kind: _write_tensors(folder, kind, part) for kind, part in tensors.items()}
        described = {**described, "files": files}
        text = json_text({**described, "sha256": digest_of(described)}).encode("ascii")
        if len(text) > _MOST:
            raise OSError(f"{RUN} would take {len(text)} bytes, and {_MOST} can be read again")
        before = _whole_description(folder / RUN)
        write_whole(folder / RUN, text)
        if before is not None and before != text:
            write_whole(folder / PREVIOUS, before)
    finally:
        _remove_unused(folder)


def _write_tensors(folder: Path, kind: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Name, size and digest of a file, which is written unless it is there."""
    # files share no memory
    data = bytes_of({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()})
    digest = sha256(data).hexdigest()
    path = folder / f"{kind}-{digest[:12]}.safetensors"
    if not path.is_file() or path.read_bytes() != data:
        write_whole(path, data)
    return {"name": path.name, "size": len(data), "sha256": digest}


def _whole_description(path: Path) -> bytes | None:
    """What a run.json says, if it can be read."""
    try:
        _description(path)
        return path.read_bytes()
    except (OSError, SavedRunError):
        return None


def _remove_unused(folder: Path) -> None:
    """Remove files of tensors of which neither generation knows."""
    used = set()
    for path in (folder / RUN, folder / PREVIOUS):
        if path.exists():
            try:
                used |= {file["name"] for file in _description(path)["files"].values() if file}
            except SavedRunError:
                return
    with suppress(OSError):
        for path in list(folder.iterdir()):
            if _OURS.fullmatch(path.name) and path.name not in used:
                with suppress(OSError):
                    path.unlink()


def read_run(directory: str | os.PathLike[str], *, state: bool = True) -> Saved:
    """The newest generation of a saved run.

    Args:
        directory: The folder.
        state: Read where training stands, too, if that is known.

    Raises:
        SavedRunError: There is none, or it is not readable.
    """
    folder = folder_of(directory)
    try:
        run = _description(folder / RUN)
        del run["format"]
        files = run.pop("files")
        position = run.pop("position", None)
        flat = _read_tensors(folder, files["weights"])
        names = with_jackknife(run, flat)
        flat = {names[name]: value for name, value in flat.items()}
        weights = _by_owner(folder / files["weights"]["name"], flat)
        stand = None
        if state and files.get("state") is not None:
            stand = State(position, _read_tensors(folder, files["state"]))
    except SavedRunError as error:
        if not _is_file(folder / PREVIOUS):
            raise
        raise SavedRunError(
            f"{error} The generation before it is in {PREVIOUS}: rename that to {RUN} to use it."
        ) from error
    return Saved(run, weights, stand)


def read_checkpoint(directory: str | os.PathLike[str]) -> Saved | None:
    """The run in a folder that one is to be trained in; None where there is none.

    Raises:
        SavedRunError: It is not readable, or can be resumed by an older version only.
    """
    folder = folder_of(directory, "checkpoint")
    saved = read_run(folder) if os.path.lexists(folder / RUN) else None
    if (saved is None or saved.state is None) and os.path.lexists(folder / OLD_STATE):
        raise SavedRunError(
            f"checkpoint: {folder / OLD_STATE} is of an older form, which could run code when it "
            "is read and is not read any more. Delete it to start anew, or choose another folder."
        )
    return saved


def _description(path: Path) -> dict[str, Any]:
    """A run.json of today's format, with its digests checked."""
    if not _is_file(path):
        raise SavedRunError(
            f"path: {path.parent} holds no saved run ({path.name}). Pass the folder that fit.save "
            "or fit(checkpoint=…) wrote."
        )
    data = _bytes_of_file(path, _MOST)
    try:
        written = from_json(data, unpack=False)
        if not isinstance(written, dict):
            raise ValueError("it holds no object")
        number = written.get("format")
        digested = type(number) is int and number >= _DIGESTED_SINCE
        if digested and written.pop("sha256", None) != digest_of(written):
            raise ValueError("sha256: it is not as it was written")
        del written  # of which there may be hundreds of megabytes
        run = migrated(from_json(data))
        run.pop("sha256", None)
        converted(run.get("files"), _Files, "files")
    except (ValueError, RecursionError) as error:
        raise SavedRunError(f"path: {path} is damaged: {error}.") from error
    return dict(run)


def _read_tensors(folder: Path, file: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors of a file that is as it was written."""
    path = folder / file["name"]
    if not _is_file(path):
        raise SavedRunError(
            f"path: {folder} lacks {path.name}, which {RUN} names. Copy the folder whole."
        )
    data = _bytes_of_file(path, file["size"])
    if file["size"] not in (None, len(data)):
        raise SavedRunError(
            f"path: {path} is damaged: {len(data)} bytes, {file['size']} were written."
        )
    if file["sha256"] not in (None, sha256(data).hexdigest()):
        raise SavedRunError(f"path: {path} is damaged: sha256: it is not as it was written.")
    try:
        return dict(tensors_from(data))
    except Exception as error:  # whatever a crafted header makes of safetensors and torch
        reason = str(error).split("\n", 1)[0][:200]
        raise SavedRunError(
            f"path: {path} is damaged: {type(error).__name__}: {reason}."
        ) from error


def _by_owner(path: Path, flat: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    weights: dict[str, dict[str, Tensor]] = {owner: {} for owner in _OWNERS}
    for key, value in flat.items():
        owner, _, name = key.partition(".")
        if owner not in weights or not name:
            raise SavedRunError(f"path: {path} is damaged: {key!r} is a part of nothing known.")
        weights[owner][name] = value
    return weights


def _bytes_of_file(path: Path, most: int | None) -> bytes:
    """The file's bytes; those beyond `most` are not read."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if most is not None and size > most:
                raise SavedRunError(
                    f"path: {path} is damaged: {size} bytes, at most {most} can be right."
                )
            return file.read(size)
    except OSError as error:
        raise SavedRunError(f"path: {path} cannot be read: {error}.") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
