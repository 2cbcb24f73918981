"""Proper orthogonal decomposition: the rank-r subspace that holds most of the snapshots' energy.

Nothing is centred: where a reference is subtracted, these are to be anomalies. Points that are NaN
in all snapshots, such as those within a solid, have no part in the modes: these are zero there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyro_msde.checks import check_kind, check_whole
from pyro_msde.data import Trajectories
from pyro_msde.networks import principal_components

__all__ = ["pod_basis"]

Array = NDArray[Any]


def pod_basis(train: Trajectories, rank: int, *, max_snapshots: int = 2000) -> Array:
    """Orthonormal modes (point, rank) of the training snapshots, the strongest first.

    Args:
        train: Training trajectories; fields are flattened, channels and all.
        rank: Number of modes, r.
        max_snapshots: Evenly spaced snapshots are used if there are more than this, so that memory
            stays bounded: these and their inner products are held at once.

    Returns:
        float64.

    Raises:
        ValueError: More modes than snapshots or points; a snapshot that lacks what others have.
    """
    check_kind("train", train, ("times", "values"), "pyro_msde.Trajectories")
    rank = check_whole("rank", rank, 1)
    max_snapshots = check_whole("max_snapshots", max_snapshots, 1)
    stride = -(-train.num_observations // max_snapshots)
    where = [(k, i) for k, v in enumerate(train.values) for i in range(len(v))][::stride]
    snapshots = np.stack([train.values[k][i].ravel() for k, i in where]).astype(np.float64)
    if rank > min(snapshots.shape):
        raise ValueError(
            f"rank: {rank} modes of {len(snapshots)} snapshots of {snapshots.shape[1]} points. "
            "Choose between 1 and the smaller number."
        )
    missing = np.isnan(snapshots)
    if (missing != missing[0]).any():
        i = int((missing != missing[0]).any(1).argmax())
        raise ValueError(
            f"train: the snapshot at index {where[i][1]} of trajectory {where[i][0]} lacks values "
            "where others have them, or has some where they lack them. Fill or drop them."
        )
    snapshots[missing] = 0.0
    return principal_components(torch.as_tensor(snapshots), rank)[0].mT.numpy()
