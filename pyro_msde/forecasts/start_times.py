"""When the snapshots that a forecast starts from were taken, as an xarray DataArray says itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from pyro_msde.data import Metadata

__all__ = ["own_times"]


def own_times(y0: Any, axes: int, metadata: Metadata | None, t0: Any) -> tuple[Any, Any]:
    """`t0` and `times0` of `Fit.predict` by the coordinate of times of y0; None where it has none.

    That is the one of the name that the training data's times had, else "time".

    Args:
        y0: What the forecast starts from, of any kind.
        axes: Number of a field's, which are y0's last.
        metadata: The fit's.
        t0: As given, which counts before y0's own.

    Raises:
        ValueError: A dimension of times that is not next to the field's or has no times; several
            times of which it is not clear whether they are one past or many starts.
    """
    if not isinstance(y0, xr.DataArray):
        return t0, None
    names = ("time",) if metadata is None else (metadata.time, "time")
    name = next((n for n in names if n in y0.coords or n in y0.dims), None)
    if name is None:
        return t0, None
    times = y0.coords[name] if name in y0.coords else None
    along = (name,) if times is None else times.dims
    if not along:
        return times if t0 is None else t0, None
    lead = y0.dims[: max(0, y0.ndim - axes)]
    _check_place(y0, name, along, lead, metadata)
    if len(lead) > 2 or not set(along) <= set(lead):  # no place for times
        return t0, None
    count = y0.sizes[along[-1]]
    if t0 is not None or times is None:
        if count > 1 and name in lead and np.ndim(t0) == 0:
            what = "no times" if t0 is None else "one t0"
            raise ValueError(
                f"y0: {count} snapshots along {name!r}, but {what}. Pass times0 for one forecast "
                "from all of them, t0 with a time for each for a forecast from each at lead times, "
                "or rename the dimension."
            )
        return t0, None
    if len(lead) == 1 and count == 1:
        return times[0], None
    if len(lead) == 1 and name not in lead:
        raise ValueError(
            f"y0: {count} times {name!r} along {along[0]!r}. Pass them as times0 for one forecast "
            "from all of these snapshots, or as t0 for a forecast from each at lead times."
        )
    return None, times.transpose(*(d for d in lead if d in along))


def _check_place(y0: Any, name: Any, along: Any, lead: Any, metadata: Metadata | None) -> None:
    """Raise ValueError if times lie along an axis of the field, or before a batch."""
    known = () if metadata is None else metadata.dims or ()
    field = y0.dims[len(lead) :]
    astray = [d for d in along if d in field and d not in known]
    if astray or (len(lead) == 2 and along == lead[:1]):
        own = astray or list(along)
        rest = [d for d in y0.dims if d not in own]
        at = max(0, len(rest) - len(field))
        order = tuple(map(str, (*rest[:at], *own, *rest[at:])))
        raise ValueError(
            f"y0: dimensions {y0.dims}, with the times {name!r} along {own[0]!r}. Put that next to "
            f"the field's: y0.transpose{order}."
        )
