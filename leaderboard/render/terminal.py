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

NARROW = 130
"""Columns of a terminal below which U, P and the tests are left out: the other formats have them."""
LEFT_OUT = ("U", "P", "CA p", "DR p")


def render(boards: Sequence[Board]) -> str:
    """A table for each division, as wide as the terminal, in colour where there is one."""
    page = Console(file=io.StringIO(), width=out.width, force_terminal=out.is_terminal, highlight=False)
    for title, measure, rows in sections(boards):
        names = headings(measure)
        shown = [n for n, name in enumerate(names) if out.width >= NARROW or name not in LEFT_OUT]
        table = Table(
            title=escape(title), title_justify="left", header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False,
            padding=(0, 1, 0, 0),
        )  # fmt: skip
        for n in shown:
            side = "right" if names[n] in NUMERIC else "left"
            table.add_column(names[n], justify=side, no_wrap=names[n] != "badges")  # type: ignore[arg-type]
        for row in rows:
            words = cells(row)
            table.add_row(*(escape(words[n]) for n in shown), style="dim" if row.rank is None else None)
        page.print(table)
        page.print(verdict(rows, measure) + "\n", style="bold", markup=False)
    for line in (*MEANINGS, draws_in_words()):
        page.print(line, style="dim", markup=False)
    assert isinstance(page.file, io.StringIO)
    return page.file.getvalue()
