"""What the plot of utility against protection shows. Pure."""

from typing import Any

import numpy as np

from harness.bootstrap import interval
from harness.policy import read_policy
from harness.score import mean
from leaderboard.boards import Board, Field
from leaderboard.measures import Figures
from leaderboard.resampling import badnet_figures


def plot_data(field: Field, board: Board) -> dict[str, Any]:
    """Each submission's U and P with 95 % intervals, and who is on the Pareto front, in the order of the board."""
    policy, parts = read_policy(), []
    for badnet in field.key.clean:
        found = badnet_figures(field.key, field.packed, badnet)
        parts.append([np.where(found.measured, it, np.nan) for it in (found.utility(), found.protection(policy))])
    utility, protection = (mean([part[n] for part in parts]) for n in (0, 1))
    place = {it.name: n for n, it in enumerate(field.contenders)}
    points = [
        {
            "name": row.submission, "division": row.division, "ranked": row.rank is not None, "score": _short(row.value),
            **_axis("u", utility[place[row.submission]]), **_axis("p", protection[place[row.submission]]),
        }
        for row in board.rows
    ]  # fmt: skip
    for point in points:
        point["front"] = point["ranked"] and not any(_better(it, point) for it in points if it["ranked"])
    return {"points": points}


def _axis(name: str, figures: Figures) -> dict[str, float]:
    low, high = interval(figures[1:]) or (figures[0], figures[0])
    return {name: _short(figures[0]), f"{name}_low": _short(low), f"{name}_high": _short(high)}


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _better(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """At least as good in both, and better in one."""
    return one["u"] >= other["u"] and one["p"] >= other["p"] and (one["u"], one["p"]) != (other["u"], other["p"])
