"""Anomalies as a few numbers: principal components (EOFs) of fields with gaps and areas.

With √w y as rows and E the components, a = Eᵀ √w y. Where values are missing, a is what is most
probable of normal components and white noise beyond them; points that are never observed are left
out. Components are found with gaps filled by the leading ones, over and over (Beckers & Rixen 2003,
doi:10.1175/1520-0426(2003)020<1839:ECADFF>2.0.CO;2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyro_msde.baselines.mean_cycle import MeanCycle
from pyro_msde.baselines.records import Records
from pyro_msde.networks import principal_components

__all__ = ["PrincipalStates"]

Array = NDArray[Any]

_SNAPSHOTS = 500  # of which components are taken
_FILLING = 10  # components that fill gaps
_ROUNDS = 8
_ROUNDING = 1e-6  # of the first component's size, as of fields in float32


@dataclass(frozen=True, eq=False)
class PrincipalStates:
    """A mean cycle and the components of what is left.

    Attributes:
        cycle: The mean or mean cycle.
        root: (point,) √w, zero where never observed.
        modes: (component, point) orthonormal, the strongest first.
        sizes: (component,) root mean squares.
        noise: Root mean square in a direction orthogonal to all.
    """

    cycle: MeanCycle
    root: Array
    modes: Array
    sizes: Array
    noise: float

    @classmethod
    def of(cls, records: Records, cycle: MeanCycle, most: int) -> PrincipalStates:
        """At most so many components of the records' anomalies."""
        root = np.where(cycle.known, np.sqrt(records.weights), 0.0)
        points = len(root)
        rows = np.concatenate(
            [root * (y - cycle.at(t)) for t, y in records.blocks(_SNAPSHOTS * points)]
        )
        missing = ~np.isfinite(rows)
        rows[missing] = 0.0
        if missing[:, root > 0].any():
            for _ in range(_ROUNDS):
                modes = _components(rows, _FILLING)[0]
                rows[missing] = ((rows @ modes.T) @ modes)[missing]
        modes, sizes, noise = _components(rows, most)
        return cls(cycle, root, modes, sizes, noise)

    def encoded(self, fields: Array, times: Array) -> Array:
        """(snapshot, component) of fields (snapshot, point), NaN where not observed."""
        rows = self.root * (fields - self.cycle.at(times))
        seen = np.isfinite(rows)
        rows = np.where(seen, rows, 0.0)
        states = rows @ self.modes.T
        # Eᵀ E of the points that are seen is that of all but those that are not
        prior = self.noise**2 / self.sizes**2
        for i in np.flatnonzero(~seen[:, self.root > 0].all(1)):
            lost = self.modes[:, ~seen[i] & (self.root > 0)]
            known = np.eye(len(states[i])) - lost @ lost.T
            states[i] = np.linalg.solve(known + np.diag(prior + 1e-9), states[i])
        return states

    def decoded(self, states: Array) -> Array:
        """Anomalies (..., point) of states (..., component), zero where a weight is."""
        scale = np.divide(1.0, self.root, out=np.zeros_like(self.root), where=self.root > 0)
        return (states @ self.modes) * scale


def _components(rows: Array, most: int) -> tuple[Array, Array, float]:
    """As `principal_components`, of those along which more than rounding is seen."""
    rank = max(1, min(most, len(rows) - 1, rows.shape[1]))
    modes, sizes, noise = (np.asarray(x) for x in principal_components(torch.as_tensor(rows), rank))
    found = np.sqrt(np.square(rows @ modes.T).mean(0))
    kept = max(1, int((found > _ROUNDING * found[0]).sum()))
    return modes[:kept], sizes[:kept], float(noise)
