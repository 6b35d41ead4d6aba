"""The board as Markdown."""

from tabulate import tabulate

from leaderboard.ranking import Entry
from leaderboard.render import HEADINGS, cells


def render(entries: list[Entry], track: str) -> str:
    """A heading and a table; names are [a-z0-9_-], so that nothing needs escaping."""
    aligned = ("right", "left", "right", "right", "left", "right", "right", "left")
    table = tabulate(
        [cells(entry) for entry in entries],
        headers=HEADINGS,
        tablefmt="github",
        disable_numparse=True,
        colalign=aligned,
    )
    return f"## {track}\n\n{table}\n"
