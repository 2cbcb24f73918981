"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["TEMPORARY", "replaced"]

TEMPORARY = ".pyro_msde-"  # how names of files begin that are not yet in their place


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A path beside that of a file, to write to within the block.

    At its end what was written is seen on the disk and moved to the file's place at once. Where the
    block raises, the file is as it was.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{threading.get_ident()}-{path.name}")
    try:
        yield temporary
        _sync(temporary, os.O_RDWR)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":
        with suppress(OSError):  # some network file systems cannot
            _sync(path.parent, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    """See a file, or the names in a folder, on the disk."""
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
