"""Values that a user might pass by mistake, and harmless disguises of the right ones."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import torch

__all__ = ["ANYTHING", "BROKEN", "DISGUISES"]

# Instead of any argument. Made anew each time, so that nothing is shared between cases.
ANYTHING: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "−1": lambda: -1,
    "0": lambda: 0,
    "3": lambda: 3,
    "2⁷⁰": lambda: 2**70,
    "−2⁷⁰": lambda: -(2**70),
    "10⁹": lambda: 10**9,
    "½": lambda: 0.5,
    "10⁻³⁰⁰": lambda: 1e-300,
    "10³⁰⁰": lambda: 1e300,
    "NaN": lambda: float("nan"),
    "∞": lambda: float("inf"),
    "i": lambda: 1j,
    "a word": lambda: "abc",
    "empty string": lambda: "",
    "bytes": lambda: b"x",
    "an object": object,
    "a class": lambda: dict,
    "a function": lambda: len,
    "a dict": lambda: {"a": 1},
    "an empty list": lambda: [],
    "a list of words": lambda: ["a", "b"],
    "a list of None": lambda: [None],
    "ragged": lambda: [[1.0], [1.0, 2.0]],
    "a date": lambda: datetime.date(2001, 1, 1),
    "an instant": lambda: np.datetime64("2001-01-01"),
    "not a time": lambda: np.datetime64("NaT"),
    "a duration": lambda: np.timedelta64(3, "D"),
    "a decimal": lambda: Decimal(1),
    "an empty array": lambda: np.zeros(0),
    "a number's array": lambda: np.array(1.0),
    "nothing of many": lambda: np.zeros((0, 3)),
    "a long array": lambda: np.ones(1000),
    "four axes": lambda: np.ones((2, 3, 4, 5)),
    "a tensor": lambda: torch.ones(3),
}

# Instead of an array: the right one, broken.
BROKEN: dict[str, Callable[[np.ndarray], Any]] = {
    "NaN inside": lambda a: _with(a, np.nan),
    "∞ inside": lambda a: _with(a, -np.inf),
    "huge": lambda a: a * 1e10,
    "beyond float32": lambda a: a * 1e60,
    "tiny": lambda a: a * 1e-60,
    "zero": lambda a: a * 0,
    "transposed": lambda a: a.T,
    "shorter": lambda a: a[:-1],
    "one axis more": lambda a: a[None],
    "one axis less": lambda a: a[0],
    "narrower": lambda a: a[..., :-1],
    "none of them": lambda a: a[:0],
    "complex": lambda a: a + 1j,
    "as words": lambda a: a.astype(str),
    "None inside": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 0, None, a),
    "masked": lambda a: np.ma.masked_array(a, np.arange(a.size).reshape(a.shape) == a.size // 2),
    "backwards": lambda a: a[::-1].copy(),
    "dates": lambda a: a.astype("datetime64[D]"),
}

# Instead of an array: the same numbers in another form.
DISGUISES: dict[str, Callable[[np.ndarray], Any]] = {
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "negative strides": lambda a: a[::-1].copy()[::-1],
    "Fortran order": lambda a: np.asfortranarray(a),
    "every second of a larger array": lambda a: np.repeat(a, 2, axis=0)[::2],
    "read-only": lambda a: _read_only(a),
    "nested lists": lambda a: a.tolist(),
    "objects": lambda a: a.astype(object),
    "nothing masked": lambda a: np.ma.masked_array(a, np.zeros(a.shape, bool)),
    "tensor": lambda a: torch.tensor(a),
    "tensor with gradient": lambda a: torch.tensor(a, requires_grad=True),
}


def _with(array: np.ndarray, value: float) -> np.ndarray:
    out = np.array(array, dtype=np.float64)
    out.reshape(-1)[out.size // 2] = value
    return out


def _read_only(array: np.ndarray) -> np.ndarray:
    out = array.copy()
    out.flags.writeable = False
    return out
