"""Who leads, by how much, and whether that is real: one sentence. Pure."""

from collections.abc import Sequence

from leaderboard.measures import Measure
from leaderboard.ranking import Row
from leaderboard.render import figure

MOST_NAMED = 4


def verdict(rows: Sequence[Row], measure: Measure) -> str:
    """The sentence for one division of a board; submissions' names are of a-z, 0-9, - and _ alone."""
    ranked = [row for row in rows if row.rank is not None]
    if not ranked:
        return "Nobody is ranked here yet."
    first = ranked[0]
    if first.lead is None:
        return f"{first.submission} is the only one ranked, with {figure(first.value)}."
    shared = [row.submission for row in ranked if row.rank == first.rank]
    if len(shared) > 1:
        return f"{in_words(shared)} share the first rank, with {figure(first.value)}."
    lead, unit = first.lead, "percentage points" if measure.unit == "%" else measure.unit
    if lead.low is None or lead.high is None:
        return f"{first.submission} is ahead of {lead.over} by {figure(lead.value)} {unit}, on the machines that examined them."
    words = f"by {figure(lead.value)} {unit} ({figure(lead.low)} to {figure(lead.high)})"
    if lead.low > 0:
        return f"{first.submission} leads {lead.over} {words}: the lead is real."
    open_to = [row.submission for row in ranked if row.rank_best == 1]
    return (
        f"{first.submission} is ahead of {lead.over} {words}, which may be chance: "
        f"the first rank is open between {len(open_to)} submissions."
    )


def in_words(names: Sequence[str]) -> str:
    """As "a and b", or "a, b and 3 others"."""
    shown, others = names[:MOST_NAMED], len(names) - MOST_NAMED
    parts = [*shown, f"{others:,} other{'s' if others > 1 else ''}"] if others > 0 else list(shown)
    return ", ".join(parts[:-1]) + f" and {parts[-1]}"
