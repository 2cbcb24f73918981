"""A run's folder: made, locked for one run, and its files written whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pyro_msde.atomic import TEMPORARY, replaced
from pyro_msde.errors import SavedRunError

__all__ = ["folder_of", "locked_folder", "make_folder", "write_whole", "writing"]

_LOCK = ".lock"
_WAIT = 1.0  # seconds for someone else's save to end; training takes longer and is refused
# what earlier versions called files that were not yet in their place
_OLD_TEMPORARY = re.compile(r"\.(run\.json|weights\.safetensors|state\.pt)\.[a-z0-9_]{8}")

_HELD: set[Path] = set()  # folders that this process has locked for training
_GUARD = threading.Lock()
_WRITER = threading.Lock()  # one thread writes at a time


def folder_of(path: str | os.PathLike[str], name: str = "path") -> Path:
    """The folder, with ~ for the user's home.

    Args:
        path: As the user gave it.
        name: Of the argument.

    Raises:
        TypeError: No path.
        SavedRunError: The home of a user who is not known.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise TypeError(f"{name}: {path!r} is no path. Give a folder, such as 'runs/mine'.")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise SavedRunError(f"{name}: {str(path)!r}: {error} Write the folder out.") from error


def make_folder(directory: str | os.PathLike[str], name: str = "checkpoint") -> Path:
    """Make sure, before anything is computed, that a run can be written there.

    Returns:
        The folder.

    Raises:
        SavedRunError: It cannot.
    """
    folder = folder_of(directory, name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, prefix=TEMPORARY):
            pass
    except (OSError, ValueError) as error:
        raise SavedRunError(
            f"{name}: cannot write to {folder} ({error}). Choose another folder."
        ) from error
    return folder


@contextmanager
def locked_folder(directory: str | os.PathLike[str]) -> Iterator[Path]:
    """Hold a folder for one run; the lock dies with its process. Leftovers of killed ones go.

    Args:
        directory: It exists (`make_folder`).

    Raises:
        SavedRunError: Another run holds it, in this process or another one.
    """
    folder = folder_of(directory, "checkpoint")
    key = folder.resolve()
    with _GUARD:
        if key in _HELD:
            raise _taken(folder)
        lock = _locked(folder)
        _HELD.add(key)
    try:
        with _WRITER:
            _remove_leftovers(folder)
        yield folder
    finally:
        with _GUARD:
            _HELD.discard(key)
            lock.release()


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold a folder, which exists, for one save, unless this process trains in it already.

    Raises:
        SavedRunError: A run of another process holds it.
    """
    with _WRITER:
        if folder.resolve() in _HELD:
            yield
            return
        new = not (folder / _LOCK).exists()
        lock = _locked(folder)
        try:
            _remove_leftovers(folder)
            yield
        finally:
            if new:  # while it is held: who waits for it finds it gone, and makes another
                with suppress(OSError):
                    (folder / _LOCK).unlink(missing_ok=True)
            lock.release()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with replaced(path) as temporary:
        temporary.write_bytes(data)  # which respects the umask


def _remove_leftovers(folder: Path) -> None:
    """Remove temporary files that a killed process left; only who holds the folder may."""
    with suppress(OSError):
        for path in list(folder.iterdir()):
            if path.name.startswith(TEMPORARY) or _OLD_TEMPORARY.fullmatch(path.name):
                with suppress(OSError):
                    path.unlink()


def _locked(folder: Path) -> FileLock:
    lock = FileLock(folder / _LOCK, timeout=_WAIT, thread_local=False)
    try:
        lock.acquire(poll_interval=0.02)
    except Timeout:
        raise _taken(folder) from None
    except OSError as error:
        raise SavedRunError(
            f"checkpoint: cannot lock {folder} ({error}). Choose another folder."
        ) from error
    return lock


def _taken(folder: Path) -> SavedRunError:
    return SavedRunError(
        f"checkpoint: another run is using {folder}. Wait for it to end, or choose another folder."
    )
