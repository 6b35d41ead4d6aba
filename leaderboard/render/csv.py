"""The boards as CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from harness.wording import harmless
from leaderboard.boards import Board
from leaderboard.columns import COLUMNS, VERSION, columns

FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet takes words that begin so for."""

SUFFIX = ".csv"


def render(boards: Sequence[Board]) -> str:
    """One line a row, all boards below each other, under one heading; badges are joined by ";"."""
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow(["version", *COLUMNS])
    for board in boards:
        writer.writerows([VERSION, *map(_cell, columns(board, row).values())] for row in board.rows)
    return page.getvalue()


def _cell(value: Any) -> Any:
    """A number as it is; words such that no spreadsheet computes with them."""
    if isinstance(value, list):  # some spreadsheets part columns at each ";"
        return ";".join(_cell(one.replace(";", ",")) for one in value)
    if not isinstance(value, str):
        return value
    words = harmless(value)
    return f"'{words}" if words.startswith(FORMULA) else words
