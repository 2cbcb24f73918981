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
_SETTINGS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_")

_LOCK = threading.Lock()
_inside = 0


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep what is freed in the body for what comes next in it. May be nested, and in threads.

    Nothing happens without glibc, or where the user's environment says how it is to allocate.
    """
    global _inside
    with _LOCK:
        _inside += 1
        if _inside == 1:
            _set(_KEPT)
    try:
        yield
    finally:
        with _LOCK:
            _inside -= 1
            if not _inside:
                _set(_USUAL)
                if (library := _glibc()) is not None:
                    library.malloc_trim(0)


def _set(options: dict[int, int]) -> None:
    if (library := _glibc()) is not None:
        for option, value in options.items():
            library.mallopt(option, value)


@cache
def _glibc() -> Any:
    """The C library, if it is glibc and left to itself."""
    tuned = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if platform.libc_ver()[0] != "glibc" or tuned or any(map(os.environ.get, _SETTINGS)):
        return None
    library = ctypes.CDLL(None)
    library.mallopt.argtypes = [ctypes.c_int, ctypes.c_int]
    library.malloc_trim.argtypes = [ctypes.c_size_t]
    return library
