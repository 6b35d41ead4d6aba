"""The boards for a terminal."""

import io
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.console import out
from leaderboard.boards import Board
from leaderboard.render import MEANINGS, NUMERIC, cells, draws_in_words, headings, sections
from leaderboard.verdict import verdict

WIDE = 130
"""Characters of a terminal from which on each submission's kind is a badge, too."""
LEFT_OUT = {"U": 130, "P": 130, "CA p": 130, "DR p": 130, "weakest BadNet": 100}
"""Columns that only a terminal of so many characters shows: the other formats have them all."""

SUFFIX = None
"""Of files in this format: it is for no file."""


def render(boards: Sequence[Board]) -> str:
    """A table for each division, as wide as the terminal, in colour where there is one."""
    return drawn(boards, out.width, colour=out.is_terminal)


def drawn(boards: Sequence[Board], width: int, *, colour: bool) -> str:
    """The same for any width, in characters."""
    page = Console(file=io.StringIO(), width=width, force_terminal=colour, highlight=False)
    for title, measure, rows in sections(boards):
        names = headings(measure)
        shown = [n for n, name in enumerate(names) if width >= LEFT_OUT.get(name, 0)]
        table = Table(
            title=escape(title), title_justify="left", header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False,
            padding=(0, 1, 0, 0),
        )  # fmt: skip
        for n in shown:
            if names[n] in NUMERIC:
                table.add_column(names[n], justify="right", no_wrap=True)
            else:
                table.add_column(names[n], overflow="fold")
        for row in rows:
            words = cells(row if width >= WIDE else row._replace(badges=row.badges[1:]))
            table.add_row(*(escape(words[n]) for n in shown), style="dim" if row.rank is None else None)
        page.print(table)
        page.print(verdict(rows, measure) + "\n", style="bold", markup=False)
    for line in (*MEANINGS, draws_in_words()):
        page.print(line, style="dim", markup=False)
    assert isinstance(page.file, io.StringIO)
    return page.file.getvalue()
