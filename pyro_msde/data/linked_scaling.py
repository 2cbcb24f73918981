"""Which logarithm suits training data, and the units of what it makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyro_msde.data.links import Link, Log
from pyro_msde.data.reference import Cycle, Reference, reference_of
from pyro_msde.data.units import Scaling

__all__ = ["linked_scaling"]

_LOW = 0.05  # of the positive values lies below the offset where there are zeros

Fields = Sequence[NDArray[Any]]


def linked_scaling(
    scaling: Scaling,
    given: Any,
    fields: Fields,
    times: Sequence[NDArray[Any]],
    reference: Any,
    admits_constant: Sequence[bool],
) -> Scaling:
    """The scaling of fields that models are to see through a link.

    Its own reference and scales, which scores and pictures take, stay those of the fields; those of
    the link are of the same kind, of what models see.

    Args:
        scaling: Of the fields as they are.
        given: What `fit(link=…)` was given: "log", a `Log`, or for each channel one or None; None
            for all: the scaling as it is.
        fields: Per trajectory (time, channel, *space), NaN where nothing was observed.
        times: Per trajectory (time,).
        reference: As `reference_of` takes it, for which `scaling` has the outcome.
        admits_constant: By channel, whether a constant field suits the boundaries.

    Raises:
        ValueError: Another link; fields or a reference that have no logarithm.
    """
    chosen = _by_channel(given, fields[0].shape[1])
    if not any(chosen):
        return scaling
    ndim = fields[0].ndim - 2
    offsets = tuple(
        None if log is None else _offset(log, [f[:, k] for f in fields])
        for k, log in enumerate(chosen)
    )
    link = Link(ndim, offsets)
    for k, f in enumerate(fields):
        link.check("values", f, trajectory=k)
    seen = [link.forward(torch.as_tensor(f)).numpy() for f in fields]
    own = scaling.reference.coefficients
    if own is None or reference is None:
        subtracted = Reference()
    elif isinstance(reference, str | Cycle):
        subtracted = reference_of(reference, seen, times, admits_constant)
    else:
        link.check("reference", own)
        subtracted = Reference(link.forward(torch.as_tensor(own)).numpy())
    units = Scaling.of(seen, scaling.time, reference=subtracted, times=times)
    return replace(scaling, link=replace(link, channels=units.channels, reference=subtracted))


def _by_channel(given: Any, count: int) -> tuple[Log | None, ...]:
    each = list(given) if isinstance(given, list | tuple) else [given] * count
    known = all(one in (None, "log") or isinstance(one, Log) for one in each)
    if len(each) != count or not known:
        raise ValueError(
            f"link={given!r}: choose 'log', a pyro_msde.Log or None, or a list of {count} of them, "
            "one a channel."
        )
    return tuple(Log() if one == "log" else one for one in each)


def _offset(log: Log, fields: Fields) -> float:
    """Of one channel (time, *space); see `Log`."""
    if log.offset is not None:
        return float(log.offset)
    if not any(bool((f == 0).any()) for f in fields):
        return 0.0
    positive = np.concatenate([f[f > 0] for f in fields])
    # zero throughout: `Scaling.of` has refused it, or all values are negative, which is next
    return float(np.quantile(positive, _LOW)) if len(positive) else 1.0
