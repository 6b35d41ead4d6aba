"""Things worth telling the competitor that are no failure: kinds call `note`, the worker sends them to the host."""

from collections.abc import Callable

_sinks: list[Callable[[str], None]] = []


def note(words: str) -> None:
    """Tell the host one sentence, for the record and for `badnet check`."""
    for sink in _sinks:
        sink(words)


def send_notes_to(sink: Callable[[str], None]) -> None:
    """Have every later note go to `sink` too."""
    _sinks.append(sink)
