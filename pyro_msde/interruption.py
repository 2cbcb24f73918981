"""Requests to stop: noted when they come, answered where a computation is whole.

An exception that a signal raises may come between any two instructions, with half of the parameters
moved or half of a file written. So signals only leave a note, at which who computes looks now and
then.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

__all__ = ["Interruption"]

T = TypeVar("T")


class Interruption:
    """Ctrl-C and SIGTERM as notes, within a `with` block; the handlers before are back after it.

    SIGTERM is sent again at the end of the block, so that it does what it would have done. Only the
    main thread can take signals. A handler of the user's own for Ctrl-C stays in place, and so does
    a signal that is ignored. Blocks may be nested: a note to the inner one is one to the outer.

    Attributes:
        requested: Whether to stop.
        terminated: Whether SIGTERM came, so that there is time to save but nothing else.
    """

    def __init__(self) -> None:
        self.requested = self.terminated = False
        self._before: dict[int, Any] = {}

    def note(self) -> None:
        """Ask to stop, as Ctrl-C does."""
        self.requested = True
        outer = _owner(self._before.get(signal.SIGINT))
        if outer is not None:
            outer.note()

    def each(self, items: Iterable[T]) -> Iterator[T]:
        """The items, one after the other, until a stop is asked for.

        Raises:
            KeyboardInterrupt: It is.
        """
        for item in items:
            if self.requested:
                raise KeyboardInterrupt
            yield item

    def __enter__(self) -> Interruption:
        """Take the signals that nobody else takes."""
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.getsignal(number)
            outer = _owner(before)
            # for SIGTERM, which is passed on, any handler; a signal that is ignored stays so
            free = before is signal.default_int_handler or (
                number == signal.SIGTERM and (before is signal.SIG_DFL or callable(before))
            )
            if outer is None and not free:
                continue
            try:
                signal.signal(number, self._noted)
            except ValueError:  # not the main thread
                break
            self._before[number] = before
            if outer is not None:
                self.requested |= outer.requested
                self.terminated |= outer.terminated
        return self

    def __exit__(self, *_: object) -> None:
        """Give them back; SIGTERM is sent once more."""
        for number, before in self._before.items():
            signal.signal(number, before)
        if self.terminated:
            signal.raise_signal(signal.SIGTERM)

    def _noted(self, number: int, _: Any) -> None:
        self.terminated |= number == signal.SIGTERM
        self.note()


def _owner(handler: Any) -> Interruption | None:
    """The `Interruption` whose handler it is."""
    owner = getattr(handler, "__self__", None)
    return owner if isinstance(owner, Interruption) else None
