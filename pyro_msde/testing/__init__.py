"""Checks that try a part of your own as the library's tests try its own parts.

Each raises an AssertionError that says what is wrong and what to do.
"""

from __future__ import annotations

from pyro_msde.testing.boundary import check_boundary
from pyro_msde.testing.drift import check_drift
from pyro_msde.testing.guide import check_guide
from pyro_msde.testing.likelihood import check_likelihood
from pyro_msde.testing.model import check_model

__all__ = ["check_boundary", "check_drift", "check_guide", "check_likelihood", "check_model"]
