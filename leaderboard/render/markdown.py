"""The board as Markdown."""

import re

from tabulate import tabulate

from leaderboard.ranking import Entry
from leaderboard.render import HEADINGS, cells


def render(entries: list[Entry], track: str) -> str:
    """A heading and a table, in which a stranger's words are only words."""
    aligned = ("right", "left", "right", "right", "left", "right", "right", "left")
    table = tabulate(
        [[escape(cell) for cell in cells(entry)] for entry in entries],
        headers=HEADINGS,
        tablefmt="github",
        disable_numparse=True,
        colalign=aligned,
    )
    return f"## {escape(track)}\n\n{table}\n"


def escape(words: str) -> str:
    """Words without a meaning to Markdown or HTML: no tag, link, picture, emphasis or new column."""
    return re.sub(r"([\\`*\[\]<>(){}|~&#!$@:]|\b_|_\b|(?<=www)\.)", r"\\\1", words)
