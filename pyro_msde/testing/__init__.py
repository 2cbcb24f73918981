"""Checks that try a part of your own as the library's tests try its own parts.

Each raises an AssertionError that says what is wrong and what to do.
"""

from __future__ import annotations

from pyro_msde.testing.drift import check_drift

__all__ = ["check_drift"]
