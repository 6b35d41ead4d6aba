"""The boards as Markdown."""

import re
from collections.abc import Sequence

from tabulate import tabulate

from leaderboard.boards import Board
from leaderboard.render import MEANINGS, NUMERIC, cells, draws_in_words, headings, sections
from leaderboard.verdict import verdict

SUFFIX = ".md"


def render(boards: Sequence[Board]) -> str:
    """A heading and a table for each division, in which a stranger's words are only words."""
    parts = []
    for title, measure, rows in sections(boards):
        names = headings(measure)
        table = tabulate(
            [[escape(cell) for cell in cells(row)] for row in rows],
            headers=names,
            tablefmt="github",
            disable_numparse=True,
            colalign=["right" if name in NUMERIC else "left" for name in names],
        )
        parts.append(f"## {escape(title)}\n\n{escape(verdict(rows, measure))}\n\n{table}\n")
    notes = "\n".join(f"- {escape(line)}" for line in (*MEANINGS, draws_in_words()))
    return "\n".join([*parts, notes, ""])


def escape(words: str) -> str:
    """Words without a meaning to Markdown or HTML: no tag, link, picture, emphasis or new column."""
    return re.sub(r"([\\`*\[\]<>(){}|~&#!$@:]|(?<![^\W_])_|_(?![^\W_])|(?<=www)\.)", r"\\\1", words)
