"""The columns of a board for programs, in CSV and JSON: `docs/leaderboard.md` says what each is."""

from collections.abc import Callable
from math import isfinite
from typing import Any

from leaderboard.boards import Board
from leaderboard.ranking import Row

VERSION = 1
"""Of the columns: a new one may come at the end, any other change is another version."""


COLUMNS: dict[str, Callable[[Board, Row], Any]] = {
    "track": lambda board, _: board.scope.track,
    "badnet": lambda board, _: board.scope.badnet,
    "trigger": lambda board, _: board.scope.trigger,
    "measure": lambda board, _: board.measure.name,
    "division": lambda _, row: row.division,
    "rank": lambda _, row: row.rank,
    "rank_best": lambda _, row: row.rank_best,
    "rank_worst": lambda _, row: row.rank_worst,
    "submission": lambda _, row: row.submission,
    "score": lambda _, row: row.value,
    "score_low": lambda _, row: row.low,
    "score_high": lambda _, row: row.high,
    "weakest": lambda _, row: row.weakest,
    "weakest_score": lambda _, row: row.weakest_value,
    "utility": lambda _, row: row.utility,
    "protection": lambda _, row: row.protection,
    "seconds": lambda _, row: row.seconds,
    "next": lambda _, row: row.lead and row.lead.over,
    "lead": lambda _, row: row.lead and row.lead.value,
    "lead_low": lambda _, row: row.lead and row.lead.low,
    "lead_high": lambda _, row: row.lead and row.lead.high,
    "ca_p": lambda _, row: row.lead and row.lead.ca_p,
    "dr_p": lambda _, row: row.lead and row.lead.dr_p,
    "badges": lambda _, row: list(row.badges),
}
"""Each column's name, in order, and where it comes from."""


def columns(board: Board, row: Row) -> dict[str, Any]:
    """One row, each value as JSON has it; None for what is not ranked or not measured."""
    return {name: _rounded(of(board, row)) for name, of in COLUMNS.items()}


def _rounded(value: Any) -> Any:
    """Figures to the digits that are the same on every machine: products of matrices differ in their last bits."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.9g}") if isfinite(value) else None
