"""Exceptions raised by the library beyond plain `ValueError` for bad arguments."""

from __future__ import annotations

__all__ = ["NonFiniteLossError", "NotPositiveDefiniteError", "SavedRunError"]


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
