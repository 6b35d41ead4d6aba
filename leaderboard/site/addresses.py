"""Where each page is, relative to the site's folder; names are of a-z, 0-9, - and _ alone."""

from leaderboard.boards import Board
from leaderboard.measures import score


def board(it: Board) -> str:
    """The page of a board."""
    name = ".".join(part for part in it.scope if part)
    return f"boards/{name}.html" if it.measure is score else f"boards/{name}.by-{it.measure.name}.html"


def submission(track: str, name: str) -> str:
    """The page of a submission on a track."""
    return f"submissions/{track}.{name}.html"


def badnet(track: str, name: str) -> str:
    """The page of a BadNet."""
    return f"badnets/{track}.{name}.html"


def picture(*parts: str) -> str:
    """A picture, such as of a trigger."""
    return f"pictures/{'.'.join(parts)}.png"
