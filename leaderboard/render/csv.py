"""The boards as CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from harness.wording import harmless
from leaderboard.boards import Board
from leaderboard.columns import VERSION, columns

FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet takes words that begin so for."""


def render(boards: Sequence[Board]) -> str:
    """One line a row, all boards below each other, under one heading; badges are joined by ";"."""
    lines = [{"version": VERSION, **columns(board, row)} for board in boards for row in board.rows]
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    if lines:
        writer.writerow(lines[0])
    writer.writerows([_cell(value) for value in line.values()] for line in lines)
    return page.getvalue()


def _cell(value: Any) -> Any:
    """A number as it is; words such that no spreadsheet computes with them."""
    if isinstance(value, list):
        value = ";".join(value)
    if not isinstance(value, str):
        return value
    words = harmless(value)
    return f"'{words}" if words.startswith(FORMULA) else words
