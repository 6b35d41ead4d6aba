"""The columns of a board for programs, in CSV and JSON: `docs/leaderboard.md` says what each is."""

from typing import Any

from leaderboard.boards import Board
from leaderboard.ranking import Row

VERSION = 1
"""Of the columns: a new one may come at the end, any other change is another version."""


def columns(board: Board, row: Row) -> dict[str, Any]:
    """One row, each value as JSON has it; None for what is not ranked or not measured."""
    lead = row.lead
    stated = {
        "track": board.scope.track,
        "badnet": board.scope.badnet,
        "trigger": board.scope.trigger,
        "measure": board.measure.name,
        "division": row.division,
        "rank": row.rank,
        "rank_best": row.rank_best,
        "rank_worst": row.rank_worst,
        "submission": row.submission,
        "score": row.value,
        "score_low": row.low,
        "score_high": row.high,
        "weakest": row.weakest,
        "weakest_score": row.weakest_value,
        "utility": row.utility,
        "protection": row.protection,
        "seconds": row.seconds,
        "next": lead and lead.over,
        "lead": lead and lead.value,
        "lead_low": lead and lead.low,
        "lead_high": lead and lead.high,
        "ca_p": lead and lead.ca_p,
        "dr_p": lead and lead.dr_p,
        "badges": list(row.badges),
    }
    return {name: _rounded(value) for name, value in stated.items()}


def _rounded(value: Any) -> Any:
    """Figures to the digits that are the same on every machine: products of matrices differ in their last bits."""
    return float(f"{value:.9g}") if isinstance(value, float) else value
