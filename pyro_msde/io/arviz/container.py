"""The groups in the container that ArviZ reads."""

from __future__ import annotations

import warnings
from typing import Any

import xarray as xr

__all__ = ["container"]


def container(groups: dict[str, Any]) -> Any:
    """`arviz.InferenceData`; an `xarray.DataTree` from ArviZ 1 on, which has none.

    Args:
        groups: Datasets by name.
    """
    with warnings.catch_warnings():
        # announces ArviZ 1, which the other branch is for
        warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing", FutureWarning)
        import arviz
    # not hasattr: ArviZ 1 hands out DataTree under the old name, with a warning
    if int(arviz.__version__.split(".")[0]) < 1:
        return arviz.InferenceData(**groups)
    # empty ones are no groups there either
    return xr.DataTree.from_dict({name: ds for name, ds in groups.items() if ds.data_vars})
