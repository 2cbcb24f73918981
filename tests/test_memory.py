"""Memory that tensors free is used again within `memory_kept`, and given back after it."""

from __future__ import annotations

import os
import platform
import resource
import threading

import pytest
import torch

from pyro_msde import memory
from pyro_msde.memory import _glibc, memory_kept

PAGE = os.sysconf("SC_PAGE_SIZE")
SIZE = 2**27  # bytes: glibc maps arrays of half as much apart, whatever happened before

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc's")


def fresh_pages(count: int = 8) -> int:
    """Pages that the kernel has to hand out for so many arrays, one after the other."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        torch.ones(SIZE // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    """Bytes of the process that are in memory."""
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * PAGE


def test_pages_are_used_again_and_given_back():
    before = resident()
    with memory_kept():
        fresh_pages()  # holes of the right sizes
        assert fresh_pages() < 2 * SIZE // PAGE  # of eight times as many
    assert resident() - before < SIZE / 2


def test_nested_ones_end_with_the_outermost():
    with memory_kept():
        fresh_pages()  # holes of the right sizes
        with memory_kept():
            fresh_pages()  # holes of the right sizes
        assert fresh_pages() < 2 * SIZE // PAGE  # of eight times as many


def test_it_ends_in_an_exception_and_in_other_threads():
    def fail() -> None:
        with memory_kept():
            torch.ones(SIZE // 4)
            raise KeyError

    def caught() -> None:
        with pytest.raises(KeyError):
            fail()

    before = resident()
    threads = [threading.Thread(target=caught) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert resident() - before < SIZE / 2


def test_what_cannot_be_read_of_the_process_costs_nothing(monkeypatch):
    """Where no file can be opened any more, results are returned and later blocks count."""
    monkeypatch.setattr(memory, "_STATM", "/nowhere/statm")
    with memory_kept():
        pass
    monkeypatch.undo()
    test_nested_ones_end_with_the_outermost()
    assert memory._inside == 0


def test_a_process_that_is_forked_off_in_a_block_begins_anew():
    with memory_kept():
        child = os.fork()
        if not child:
            memory._LOCK.acquire(timeout=5)
            os._exit(memory._inside)
        assert os.waitpid(child, 0)[1] == 0
        assert memory._inside == 1


def test_the_users_own_setting_is_left_alone(monkeypatch):
    for name, value in (
        ("MALLOC_TRIM_THRESHOLD_", "1000000"),
        ("GLIBC_TUNABLES", "glibc.malloc.a=1"),
    ):
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            assert _glibc.__wrapped__() is None
    assert _glibc.__wrapped__() is not None
