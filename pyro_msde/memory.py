"""Large tensors in memory that is used again, where the C library would give it back each time.

glibc takes arrays of megabytes from the kernel and returns them when they are freed, so that each
operation on fields of many points waits for fresh pages to be zeroed: a quarter of the time of a
training step on 2 × 320 × 80 points. What is in a `with memory_kept()` keeps what it frees for its
next tensors, and gives all of it back at the end.
"""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

__all__ = ["memory_kept"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # names of mallopt's options in malloc.h
_NEVER = -1
_KEPT = {_MMAP_MAX: 0, _TRIM_THRESHOLD: _NEVER}
# glibc's own, and the sizes to which it raises its limits in processes that free such arrays
_USUAL = {_MMAP_MAX: 65_536, _MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26}
_WORTH_A_SEARCH = 2**26  # bytes: to look for what may be given back takes milliseconds
_STATM = "/proc/self/statm"
_SETTINGS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_")

_LOCK = threading.Lock()
_inside = _before = 0


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep what is freed in the body for what comes next in it. May be nested, and in threads.

    Nothing happens without glibc, or where the user's environment says how it is to allocate.
    """
    global _inside, _before
    library = _glibc()
    with _LOCK:
        _inside += 1
        if library is not None and _inside == 1:
            _before = _resident()
            _set(library, _KEPT)
    try:
        yield
    finally:
        with _LOCK:
            _inside -= 1
            if library is not None and not _inside:
                _set(library, _USUAL)
                if _resident() - _before > _WORTH_A_SEARCH:
                    library.malloc_trim(0)


def _set(library: Any, options: dict[int, int]) -> None:
    for option, value in options.items():
        library.mallopt(option, value)


def _resident() -> int:
    """Bytes of the process that are in memory."""
    with open(_STATM) as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@cache
def _glibc() -> Any:
    """The C library, if it is glibc and left to itself."""
    tuned = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    tuned = tuned or any(map(os.environ.get, _SETTINGS))
    if platform.libc_ver()[0] != "glibc" or tuned or not os.path.exists(_STATM):
        return None
    library = ctypes.CDLL(None)
    library.mallopt.argtypes = [ctypes.c_int, ctypes.c_int]
    library.malloc_trim.argtypes = [ctypes.c_size_t]
    return library
