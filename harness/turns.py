"""Who may use the processor: submissions load side by side, and each is examined alone, so that its times are its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

PATIENCE_SECONDS = 10.0


class Turns:
    """Many may load at once, one may be examined; while an exam waits or runs, no loading begins.

    A loading that takes longer than the patience is waited for no more: it may hang until its own limit.
    """

    def __init__(self, patience: float = PATIENCE_SECONDS) -> None:
        self._patience = patience
        self._changed = Condition()
        self._loading = 0
        self._waiting = 0
        self._examining = False

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Begin when no exam runs or waits."""
        with self._changed:
            self._changed.wait_for(lambda: not self._examining and not self._waiting)
            self._loading += 1
        try:
            yield
        finally:
            with self._changed:
                self._loading -= 1
                self._changed.notify_all()

    @contextmanager
    def examining(self) -> Iterator[None]:
        """Begin when no other exam runs and nothing loads, or what loads has been waited for long enough."""
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not self._examining and not self._loading, self._patience)
                self._changed.wait_for(lambda: not self._examining)
            finally:
                self._waiting -= 1
            self._examining = True
        try:
            yield
        finally:
            with self._changed:
                self._examining = False
                self._changed.notify_all()
