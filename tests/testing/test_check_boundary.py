"""Our own boundaries pass the public check; broken ones are told what is wrong."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from pyro_msde.grid import BOUNDARIES
from pyro_msde.testing import check_boundary

WALLS = [name for name in BOUNDARIES if name != "periodic"]


@dataclass(frozen=True)
class Odd:
    """The mirror image with its sign changed."""

    wall: float = 0.5

    def ghosts(self, distance, n):
        return distance - 1, -1.0


@pytest.mark.parametrize("boundary", [*BOUNDARIES, Odd()])
def test_ours_pass(boundary):
    check_boundary(boundary)


@pytest.mark.parametrize("pair", [p for p in itertools.product([*WALLS, Odd()], repeat=2)])
def test_any_two_ends_pass(pair):
    check_boundary(pair)


class WholeSample(Odd):
    """numpy's reflect: the wall is at the end point, on which coarse points do not lie."""

    def ghosts(self, distance, n):
        return distance % max(n, 2) % n, 1.0


ASKED = []


class Moody(Odd):
    def ghosts(self, distance, n):
        ASKED.append(n)
        return distance - 1, float(len(ASKED))


class Unlike:
    """Another Odd that compares by identity."""

    wall, ghosts = 0.5, Odd.ghosts


@pytest.mark.parametrize(
    ("boundary", "message"),
    [
        (WholeSample(), "their walls differ. Mirror half a spacing"),
        (Unlike(), "a copy is not equal to it. Make it a frozen dataclass"),
        (Moody(), "Let `ghosts` depend on nothing but its arguments"),
        (Odd(wall=0.0), "are not in order inside .* Give a positive wall"),
    ],
)
def test_broken_ones_are_told_what_is_wrong(boundary, message):
    with pytest.raises(AssertionError, match=message):
        check_boundary(boundary)


def test_what_is_no_boundary_is_refused():
    with pytest.raises(ValueError, match="give a name, or a hashable object with wall and ghosts"):
        check_boundary(np.sin)
