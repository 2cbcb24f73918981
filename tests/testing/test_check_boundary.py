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


@dataclass(frozen=True)
class Damped(Odd):
    """No mirror image: where the wall is, ghosts do not say."""

    wall: float = 0.3

    def ghosts(self, distance, n):
        return distance - 1, 0.5


@pytest.mark.parametrize("boundary", [Damped(), Damped(1.0)])
def test_a_wall_that_ghosts_do_not_tell_passes(boundary):
    check_boundary(boundary)


class Even(Odd):
    def ghosts(self, distance, n):
        return distance - 1, 1


class Zero(Odd):
    def ghosts(self, distance, n):
        return 0, 0.0


class OddAboutTheNextPoint(Odd):
    """… −y₁ −y₀ 0 | y₀ y₁ …, as sin is, sampled on the inner points of an axis."""

    def ghosts(self, distance, n):
        return np.maximum(distance - 2, 0), np.where(distance > 1, -1.0, 0.0)


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
        (Odd(wall=0.25), "wall is 0.25, but ghosts mirror the field about 0.5"),
        (("neumann", Odd(wall=1.0)), "wall is 1.0, but ghosts mirror the field about 0.5"),
        (Even(wall=1.0), "wall is 1.0, but ghosts mirror the field about 0.5"),
        (OddAboutTheNextPoint(), "their walls differ. Mirror half a spacing"),
        (Zero(wall=1.5), "the ghost at distance 1 lies inside the domain"),
        (Odd(wall=0.0), "are not in order inside .* Give a positive wall"),
    ],
)
def test_broken_ones_are_told_what_is_wrong(boundary, message):
    with pytest.raises(AssertionError, match=message):
        check_boundary(boundary)


def test_what_is_no_boundary_is_refused():
    with pytest.raises(ValueError, match="give a name, or a hashable object with wall and ghosts"):
        check_boundary(np.sin)
