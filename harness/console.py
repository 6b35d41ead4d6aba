"""What people see while they wait: progress bars on a terminal, plain lines elsewhere; tables and one-line errors."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from harness.images import Report

PLAIN_SECONDS = 5.0

out = Console(highlight=False)
err = Console(stderr=True, highlight=False, soft_wrap=True)
if not out.is_terminal:
    out.width = 110


class Desk:
    """Makes one `Report` for each thing that goes on at the same time."""

    def __init__(self, open_line: Callable[[str], Report], close_line: Callable[[str, str], None]) -> None:
        self.report = open_line
        self.done = close_line


@contextmanager
def progress() -> Iterator[Desk]:
    """Show what is being done and how long is left, until the block ends."""
    if not err.is_terminal:
        yield _plain()
        return
    columns = (
        SpinnerColumn(), TextColumn("{task.fields[name]:<28.28}", markup=False),
        TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), _Amount(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=err, transient=True) as bars:
        tasks = {}

        def open_line(name: str) -> Report:
            tasks[name] = bars.add_task("waiting", name=name, total=None)

            def report(what: str, done: int, total: int) -> None:
                bars.update(tasks[name], description=what, completed=done, total=total or None)

            return report

        def close_line(name: str, words: str) -> None:
            if name in tasks:
                bars.remove_task(tasks.pop(name))
            bars.console.print(f"{name}: {words}", markup=False)

        yield Desk(open_line, close_line)


class _Amount(ProgressColumn):
    """How much is done of how much; nothing where that is not known."""

    def render(self, task: Task) -> Text:
        """The amount of one task."""
        return Text("" if task.total is None else f"{task.completed:,.0f}/{task.total:,.0f}")


def _plain() -> Desk:
    last: dict[str, tuple[float, str]] = {}

    def open_line(name: str) -> Report:
        def report(what: str, done: int, total: int) -> None:
            then, before = last.get(name, (0.0, ""))
            now = time.monotonic()
            if what != before or now - then >= PLAIN_SECONDS:
                last[name] = (now, what)
                share = f" {done:,} of {total:,}" if total else ""
                err.print(f"{name}: {what}{share}", markup=False)

        return report

    def close_line(name: str, words: str) -> None:
        err.print(f"{name}: {words}", markup=False)

    return Desk(open_line, close_line)
