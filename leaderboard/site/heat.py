"""Submissions by BadNets: where each is weak. Pure."""

from collections.abc import Mapping
from typing import Any

from leaderboard.boards import Board, Field, Scope, Wanted


def heat_map(field: Field, made: Mapping[Wanted, Board]) -> dict[str, Any]:
    """The BadNets, and for each submission of the track's board its S on each; `share` is where 0..100 of colour begins."""
    names = list(field.key.clean)
    by_badnet = {
        name: {row.submission: row.value for row in made[Wanted(Scope(field.track, name))].rows} for name in names
    }
    rows = made[Wanted(Scope(field.track))].rows
    return {
        "badnets": names,
        "rows": [
            {
                "row": row,
                "cells": [
                    {"value": by_badnet[name][row.submission], "share": share(by_badnet[name][row.submission])}
                    for name in names
                ],
            }
            for row in rows
        ],
    }


def share(value: float) -> int:
    """How much of the good colour a score gets, 0..100: none at 0 and below, all at 100."""
    return round(min(100.0, max(0.0, value)))
