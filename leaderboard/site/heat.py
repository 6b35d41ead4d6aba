"""Submissions by BadNets: where each is weak. Pure."""

from collections.abc import Mapping
from typing import Any

from leaderboard.boards import Board, Field, Scope, Wanted


def heat_map(field: Field, made: Mapping[Wanted, Board]) -> dict[str, Any]:
    """The BadNets, and for each submission of the track's board its S on each; how much of a colour it gets."""
    names = list(field.key.clean)
    by_badnet = {
        name: {row.submission: row.value for row in made[Wanted(Scope(field.track, name))].rows} for name in names
    }
    rows = made[Wanted(Scope(field.track))].rows
    cell = {name: {it: _cell(value) for it, value in values.items()} for name, values in by_badnet.items()}
    return {
        "badnets": names,
        "rows": [
            {
                "row": row,
                "cells": [cell[name][row.submission] for name in names],
            }
            for row in rows
        ],
    }


def _cell(value: float) -> dict[str, float]:
    return {"value": value, "share": share(value), "harm": share(-3 * value)}


def share(value: float) -> int:
    """How much of a colour, 0..100, a value gets: none at 0 and below, all at 100."""
    return round(min(100.0, max(0.0, value)))
