"""Larger networks that go on from smaller ones: old numbers in their places, new ones drawn anew.

A module that knows where its numbers belong in a larger one has a method `grow_from(smaller)`.
In all others, old numbers come first along every axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["grow_from", "put"]


@torch.no_grad()
def grow_from(larger: Any, smaller: Any, gaps: Sequence[tuple[int, int]] = ()) -> None:
    """Put the numbers of a module into a larger one of its kind, which is changed in place.

    Args:
        larger: Module whose parameters are those of the smaller one or more; None: nothing to do.
        smaller: The module to go on from. None: there was none, all weights are drawn anew.
        gaps: What the larger one takes between the smaller one's inputs: after how many of these
            come how many others. In order; what comes after all of them need not be said.
    """
    if larger is None:
        return
    if smaller is not None and hasattr(larger, "grow_from"):
        larger.grow_from(smaller, *([gaps] if gaps else []))
        return
    old = {} if smaller is None else smaller.state_dict()
    for name, value in larger.state_dict(keep_vars=True).items():
        if "." not in name:
            put(value, old.get(name), gaps=gaps)
    children = {} if smaller is None else dict(smaller.named_children())
    for name, child in larger.named_children():
        grow_from(child, children.get(name), gaps)


@torch.no_grad()
def put(
    new: Tensor,
    old: Tensor | None,
    *,
    rows: Tensor | None = None,
    gaps: Sequence[tuple[int, int]] = (),
) -> None:
    """Put old numbers in their places in a larger tensor; weights beside them are Xavier normal.

    What starts at zero by design stays there beside them, as do vectors.

    Args:
        new: Tensor that is changed, at least as large along every axis.
        old: The numbers; None: there are none.
        rows: Places of the old rows, if they are not the first.
        gaps: Between the old columns, of tensors that have more columns than before.
    """
    if old is not None and old.shape == new.shape:
        new.copy_(old)
        return
    if isinstance(new, nn.Parameter) and new.ndim > 1 and new.any():
        nn.init.xavier_normal_(new)
    if old is None:
        return
    places = [torch.arange(n) for n in old.shape]
    if rows is not None:
        places[0] = rows
    if old.ndim > 1 and old.shape[-1] != new.shape[-1]:
        for after, count in gaps:
            places[-1][after:] += count
    new[torch.meshgrid(*places, indexing="ij")] = old.to(new)
