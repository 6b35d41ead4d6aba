"""Ranks records: pure, no input or output."""

from collections.abc import Iterable
from typing import NamedTuple

from harness.audits import BASE_RATE_DEPENDENT, BATCH_DEPENDENT, STOCHASTIC
from harness.record import Record


class Entry(NamedTuple):
    """One line of the board; `rank` is None for what is shown but not ranked."""

    rank: int | None
    submission: str
    score: float
    score_low: float | None
    score_high: float | None
    weakest: str
    weakest_score: float
    utility: float
    protection: float
    badges: tuple[str, ...]


def rank(records: Iterable[Record]) -> list[Entry]:
    """Entries by score, highest first; equal scores share a rank and stand in the order of their weakest BadNet."""
    entries = sorted((_entry(record) for record in records), key=lambda e: (-e.score, -e.weakest_score, e.submission))
    ranked = [entry for entry in entries if _is_ranked(entry)]
    return [
        entry._replace(rank=1 + sum(other.score > entry.score for other in ranked)) if _is_ranked(entry) else entry
        for entry in entries
    ]


def _is_ranked(entry: Entry) -> bool:
    return not {"unconfined", "unverified", "oracle"} & set(entry.badges)


def _behaviour(record: Record) -> list[str]:
    """What a submission declares of its answers, and what the audits found that it does not declare."""
    batch_mode, stochastic = record.submission.batch_mode, record.submission.stochastic
    declared = {STOCHASTIC: stochastic, BATCH_DEPENDENT: batch_mode, BASE_RATE_DEPENDENT: batch_mode}
    audits = [badnet.audits for badnet in record.badnets.values()]
    found = {verdict for it in audits for verdict in it.verdicts}
    marks = {
        "declares stochastic": stochastic,
        "declares batch mode": batch_mode,
        **{verdict: verdict in found and not known for verdict, known in declared.items()},
        "audit failed": any(it.failed for it in audits),
    }
    return [mark for mark, shown in marks.items() if shown]


def _entry(record: Record) -> Entry:
    scored = {name: badnet.score for name, badnet in record.badnets.items() if badnet.score.value is not None}
    badges = [record.submission.kind, *record.submission.marks]
    if record.provenance.sandbox == "unconfined":
        badges.append("unconfined")
    if any(badnet.failure for badnet in record.badnets.values()):
        badges.append("failed on some")
    badges += _behaviour(record)
    low, high = record.score.interval or (None, None)
    return Entry(
        rank=None,
        submission=record.submission.name,
        score=record.score.value,
        score_low=low,
        score_high=high,
        weakest=record.score.weakest,
        weakest_score=scored[record.score.weakest].value or 0.0,
        utility=sum(score.utility for score in scored.values()) / len(scored),
        protection=sum(score.protection or 0.0 for score in scored.values()) / len(scored),
        badges=tuple(badges),
    )
