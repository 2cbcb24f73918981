"""Large tensors in memory that is used again, where the C library would give it back each time.

glibc takes arrays of megabytes from the kernel and returns them when they are freed, so that each
operation on fields of many points waits for fresh pages to be zeroed: a quarter of the time of a
training step on 2 × 320 × 80 points. What is in a `with memory_kept()` keeps what it frees for its
next tensors, and gives all of it back at the end.
"""

from __future__ import annotations

import ctypes
import math
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
_inside, _before = 0, 0.0


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep what is freed in the body for what comes next in it. May be nested, and in threads.

    Nothing happens without glibc, or where the user's environment says how it is to allocate.
    """
    library = _glibc()
    if library is None:
        yield
        return
    _enter(library)
    try:
        yield
    finally:
        if _leave(library):
            library.malloc_trim(0)


def _enter(library: Any) -> None:
    """Count a block, the first of which changes the settings."""
    global _inside, _before
    with _LOCK:
        if not _inside:
            _before = _resident()
            _set(library, _KEPT)
        _inside += 1


def _leave(library: Any) -> bool:
    """Count a block less, the last of which sets things back; whether much is to be given back."""
    global _inside
    with _LOCK:
        _inside = max(0, _inside - 1)  # a child forked off in a block has none
        if _inside:
            return False
        _set(library, _USUAL)
        return not _resident() - _before < _WORTH_A_SEARCH


def _forget() -> None:
    """In a process that was forked off, where no other thread is within a block."""
    global _LOCK, _inside
    _LOCK = threading.Lock()
    if _inside and (library := _glibc()) is not None:
        _set(library, _USUAL)
    _inside = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _set(library: Any, options: dict[int, int]) -> None:
    for option, value in options.items():
        library.mallopt(option, value)


def _resident() -> float:
    """Bytes of the process that are in memory; NaN where the system does not say."""
    try:
        with open(_STATM) as f:
            return float(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return math.nan


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
