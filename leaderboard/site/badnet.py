"""The page of a BadNet: its triggers in pictures, and who beats it."""

from collections.abc import Mapping
from typing import Any

from harness.track import BadNet, Track
from leaderboard.boards import Board, Field, Scope, Wanted
from leaderboard.site import addresses, pictures

BEATEN = 50.0
"""S from which a BadNet counts as beaten: half of the way from doing nothing to a perfect repair."""


def badnet_page(
    field: Field, track: Track, badnet: BadNet, made: Mapping[Wanted, Board]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What the page shows, and its pictures by address."""
    drawn = {addresses.picture(field.track, badnet.name, "clean"): pictures.of_clean(badnet)}
    triggers = []
    for name, poisoned in badnet.poisoned.items():
        address = addresses.picture(field.track, badnet.name, "trigger", name)
        drawn[address] = pictures.of_trigger(badnet, name)
        board = made.get(Wanted(Scope(field.track, badnet.name, name)))
        triggers.append({"name": name, "target": poisoned.target, "picture": address, "board": board})
    board = made.get(Wanted(Scope(field.track, badnet.name)))
    rows = board.rows if board else ()
    page = {
        "track": field.track,
        "badnet": badnet.name,
        "title": badnet.spec.title,
        "notes": badnet.sets.notes,
        "clean": addresses.picture(field.track, badnet.name, "clean"),
        "triggers": triggers,
        "board": board,
        "beating": [row for row in rows if row.rank is not None and row.value >= BEATEN],
        "beaten_from": BEATEN,
        "classes": track.classes,
    }
    return page, drawn
