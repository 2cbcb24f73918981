"""Exceptions raised by the library beyond plain `ValueError`, and its warnings."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

__all__ = [
    "NonFiniteLossError",
    "NotPositiveDefiniteError",
    "SavedRunError",
    "WrongKindError",
    "warn",
]

_HERE = str(Path(__file__).parent)


class NotPositiveDefiniteError(RuntimeError):
    """A kernel matrix stayed indefinite at the largest jitter that was tried."""


class NonFiniteLossError(RuntimeError):
    """The training loss became NaN or infinite.

    The parameters of the last good step have been restored when this is raised.

    Attributes:
        step: Step at which the loss stopped being finite.
        term: The term of the ELBO that is not finite.
    """

    def __init__(self, step: int, term: str, message: str) -> None:
        super().__init__(message)
        self.step = step
        self.term = term


class SavedRunError(ValueError):
    """A saved run cannot be loaded here: missing, half-written, or of another model."""


class WrongKindError(TypeError, ValueError):
    """An argument is an object of another kind than is asked for."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn the user, at the line outside of the library that led here.

    Python shows a warning once a line: were it one of ours, a second data set's would be lost.
    """
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level + 1)
