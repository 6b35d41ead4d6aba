"""One file per format, each with `render(boards) -> str` and `SUFFIX`, how its files' names end."""

from collections.abc import Iterator, Sequence

from harness.bootstrap import DRAWS, SEED
from harness.wording import harmless
from leaderboard.boards import Board
from leaderboard.contenders import DIVISIONS
from leaderboard.measures import MEASURES, Measure, score
from leaderboard.ranking import Lead, Row

NOT_MEASURED = "–"
MEANINGS = (
    "rank: 2 (1-3) is second, and the answers leave ranks 1 to 3 open; – is shown and not ranked",
    "lead: over the next one in rank, ± the 95 % interval that holds for all pairs at once; ≈ where it may be chance",
    "CA p, DR p: McNemar's exact test against the next, on single images as if they were independent; the lead decides",
    "U utility kept, P protection; S = 100 (U + P - 1)",
)
"""The columns in words, for below the tables."""


def sections(boards: Sequence[Board]) -> Iterator[tuple[str, Measure, tuple[Row, ...]]]:
    """Each division of each board that has a row: its title, the measure, its rows."""
    for board in boards:
        for division in DIVISIONS:
            if rows := board.division(division):
                by = "" if board.measure is score else f", by {board.measure.title}"
                yield f"{board.scope.title}: {division}s{by}", board.measure, rows


def draws_in_words() -> str:
    """How the intervals were made."""
    return f"95 % intervals: paired bootstrap over identities, {DRAWS:,} draws, seed {SEED}"


def headings(measure: Measure) -> tuple[str, ...]:
    """The columns of a table for people."""
    first = "score" if measure is score else measure.title
    return ("rank", "submission", first, "95 % interval", "lead", "weakest BadNet", "U", "P", "CA p", "DR p", "badges")


NUMERIC = {"rank", "score", "95 % interval", "lead", "U", "P", "CA p", "DR p", *(it.title for it in MEASURES.values())}
"""Headings of columns that stand to the right."""


def cells(row: Row) -> tuple[str, ...]:
    """A row as words, in the order of the headings; harmless to a terminal, and still to be escaped for a format."""
    lead = row.lead
    words = (
        rank_in_words(row),
        row.submission,
        figure(row.value),
        NOT_MEASURED if row.low is None or row.high is None else f"{figure(row.low)} to {figure(row.high)}",
        "" if lead is None else lead_in_words(lead),
        f"{row.weakest} {figure(row.weakest_value)}",
        f"{row.utility:.3f}",
        f"{row.protection:.3f}",
        *(("", "") if lead is None else (chance(lead.ca_p), chance(lead.dr_p))),
        ", ".join(map(badge_words, row.badges)),
    )
    return tuple(harmless(word, 200) for word in words)


def figure(value: float) -> str:
    """One decimal, never "-0.0"; thousands apart."""
    return f"{round(value, 1) + 0.0:,.1f}"


def rank_in_words(row: Row) -> str:
    """As "2 (1-3)", "1" where nothing else is open, – where it is not ranked."""
    if row.rank is None:
        return NOT_MEASURED
    return str(row.rank) if row.rank_best == row.rank_worst else f"{row.rank} ({row.rank_best}-{row.rank_worst})"


def lead_in_words(lead: Lead) -> str:
    """As "+3.1 ±1.2"; ≈ before a lead that may be chance."""
    if lead.low is None or lead.high is None:
        return f"+{lead.value:.1f}"
    sure = "" if lead.low > 0 else "≈ "
    return f"{sure}+{lead.value:.1f} ±{(lead.high - lead.low) / 2:.1f}"


def chance(p: float | None) -> str:
    """A p value: three decimals, or "< 0.001"."""
    if p is None:
        return NOT_MEASURED
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def badge_words(badge: str) -> str:
    """A badge, harmless and short."""
    return harmless(badge, 60)
