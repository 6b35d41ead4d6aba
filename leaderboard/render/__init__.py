"""One file per format, each with `render(entries, track) -> str`."""

from harness.wording import harmless
from leaderboard.ranking import Entry

HEADINGS = ("rank", "submission", "score", "95 % interval", "weakest BadNet", "U", "P", "badges")


def cells(entry: Entry) -> tuple[str, ...]:
    """An entry as words, in the order of the headings; harmless to a terminal, and still to be escaped for a format."""
    low, high = entry.score_low, entry.score_high
    words = (
        "–" if entry.rank is None else str(entry.rank),
        entry.submission,
        f"{entry.score:.1f}",
        "–" if low is None or high is None else f"{low:.1f} to {high:.1f}",
        f"{entry.weakest} {entry.weakest_score:.1f}",
        f"{entry.utility:.3f}",
        f"{entry.protection:.3f}",
        ", ".join(entry.badges),
    )
    return tuple(harmless(word, 200) for word in words)
