"""Proper orthogonal decomposition: the rank-r subspace that holds most of the snapshots' energy.

By the method of snapshots (Sirovich 1987): with snapshots as rows of X, X Xᵀ = V s² Vᵀ, and the
modes are the columns of Xᵀ V s⁻¹. Nothing is centred, as in the scaling of our own models.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.checks import check_kind, check_whole
from pyro_msde.data import Trajectories

__all__ = ["pod_basis"]

Array = NDArray[Any]


def pod_basis(train: Trajectories, rank: int, *, max_snapshots: int = 2000) -> Array:
    """Orthonormal modes (point, rank) of the training snapshots, the strongest first.

    Args:
        train: Training trajectories; fields are flattened.
        rank: Number of modes, r.
        max_snapshots: Evenly spaced snapshots are used if there are more than this, so that memory
            stays bounded: these and their inner products are held at once.

    Returns:
        float64.

    Raises:
        ValueError: More modes than snapshots or points.
    """
    check_kind("train", train, ("times", "values"), "pyro_msde.Trajectories")
    rank = check_whole("rank", rank, 1)
    max_snapshots = check_whole("max_snapshots", max_snapshots, 1)
    every = -(-train.num_observations // max_snapshots)
    where = [(k, i) for k, v in enumerate(train.values) for i in range(len(v))][::every]
    snapshots = np.stack([train.values[k][i].ravel() for k, i in where]).astype(np.float64)
    if not 1 <= rank <= min(snapshots.shape):
        raise ValueError(
            f"rank: {rank} modes of {len(snapshots)} snapshots of {snapshots.shape[1]} points. "
            "Choose between 1 and the smaller number."
        )
    vectors = np.linalg.eigh(snapshots @ snapshots.T)[1][:, : -rank - 1 : -1]
    # orthonormal to rounding whatever the ratio of the singular values
    return np.asarray(np.linalg.qr(snapshots.T @ vectors)[0])
