"""The boards as JSON."""

import json
from collections.abc import Sequence

from harness.bootstrap import DRAWS, SEED
from leaderboard.boards import Board
from leaderboard.columns import VERSION, columns
from leaderboard.comparing import CONFIDENCE

SUFFIX = ".json"


def render(boards: Sequence[Board]) -> str:
    """One object; what its keys are is in `docs/leaderboard.md`. Only ASCII, so that no reader is steered by its words."""
    page = {
        "version": VERSION,
        "draws": DRAWS,
        "seed": SEED,
        "confidence": CONFIDENCE,
        "boards": [
            {
                "title": board.scope.title,
                "measure": board.measure.name,
                "unit": board.measure.unit,
                "formula": board.measure.formula,
                "higher_is_better": board.measure.higher_is_better,
                "rows": [columns(board, row) for row in board.rows],
            }
            for board in boards
        ],
    }
    return json.dumps(page, indent=1) + "\n"
