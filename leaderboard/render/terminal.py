"""The board for a terminal."""

import io

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.console import out
from leaderboard.ranking import Entry
from leaderboard.render import HEADINGS, cells


def render(entries: list[Entry], track: str) -> str:
    """A table as wide as the terminal, in colour where there is one."""
    table = Table(title=escape(track), title_justify="left", header_style="bold")
    for heading in HEADINGS:
        numeric = heading in ("rank", "score", "95 % interval", "U", "P")
        table.add_column(heading, justify="right" if numeric else "left", no_wrap=heading != "badges")
    for entry in entries:
        table.add_row(*(escape(cell) for cell in cells(entry)), style="dim" if entry.rank is None else None)
    page = Console(file=io.StringIO(), width=out.width, force_terminal=out.is_terminal, highlight=False)
    page.print(table)
    assert isinstance(page.file, io.StringIO)
    return page.file.getvalue()
