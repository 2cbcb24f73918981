"""Groups of ArviZ's container, which is its own before ArviZ 1 and xarray's from there on."""

from __future__ import annotations

import xarray as xr


def names_of(container):
    """Its groups, in order."""
    return list(container.children) if isinstance(container, xr.DataTree) else container.groups()


def dataset(container, group):
    """One of them."""
    held = container[group]
    return held.to_dataset() if isinstance(held, xr.DataTree) else held


def since_1(arviz):
    """Whether this ArviZ has the names of version 1."""
    return int(arviz.__version__.split(".")[0]) >= 1
