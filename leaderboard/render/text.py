"""The boards as plain text: what a terminal shows, without colour and always as wide."""

from collections.abc import Sequence

from leaderboard.boards import Board
from leaderboard.render import terminal

SUFFIX = ".txt"
WIDTH = 180


def render(boards: Sequence[Board]) -> str:
    """A table for each division."""
    return terminal.drawn(boards, WIDTH, colour=False)
