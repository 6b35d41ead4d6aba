"""What a board says of a submission besides its figures: its division, its badges, its times. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from harness.audits import BASE_RATE_DEPENDENT, BATCH_DEPENDENT, STOCHASTIC
from harness.record import BadNetRecord, Record
from harness.sitting import Pace

REPAIRED_MODEL = "repaired model"
LIVE_DEFENSE = "live defense"
DIVISIONS = (REPAIRED_MODEL, LIVE_DEFENSE)
"""What was handed in: the outcome of a repair, or code that repairs nets that its author never saw."""
FAILED, FAILED_ON_SOME, UNCONFINED, NULL = "failed", "failed on some", "unconfined", "null baseline"
UNRANKED = (FAILED, UNCONFINED, NULL, "unverified", "oracle")
"""Badges of what is shown and not ranked."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One submission on one track, as its record describes it."""

    name: str
    authors: tuple[str, ...]
    description: str
    kind: str
    badges: tuple[str, ...]
    images_per_second: Mapping[str, float | None]
    """By BadNet, by the host's clock."""
    seconds: float | None
    """From the start to the last answer, the mean over BadNets; None where one failed."""

    @property
    def division(self) -> str:
        """Ranked apart from the other."""
        return LIVE_DEFENSE if self.kind == "defense" else REPAIRED_MODEL

    @property
    def ranked(self) -> bool:
        """Whether it takes a rank."""
        return not set(UNRANKED) & set(self.badges)


def contender(record: Record, paces: Mapping[str, Pace] = MappingProxyType({}), *, null: bool = False) -> Contender:
    """What a record says. null: it is there to score nothing.

    paces: how fast it answered, by BadNet with a backdoor; without them nothing is known of its times.
    """
    badnets = [badnet for badnet in record.badnets.values() if badnet.triggers]
    return Contender(
        name=record.submission.name,
        authors=tuple(record.submission.authors),
        description=record.submission.description,
        kind=record.submission.kind,
        badges=(record.submission.kind, *_badges(record, badnets, null=null)),
        images_per_second={name: it.images_per_second for name, it in paces.items()},
        seconds=_seconds(record, paces),
    )


def _badges(record: Record, badnets: Iterable[BadNetRecord], *, null: bool) -> list[str]:
    failures = [badnet.failure is not None for badnet in badnets]
    marks = {
        NULL: null,
        UNCONFINED: record.provenance.sandbox == UNCONFINED,
        FAILED: all(failures),
        FAILED_ON_SOME: any(failures) and not all(failures),
    }
    # The harness's own words first: where there is little room, they are not the ones that are cut off.
    return [*(mark for mark, shown in marks.items() if shown), *_behaviour(record), *record.submission.marks]


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


def _seconds(record: Record, paces: Mapping[str, Pace]) -> float | None:
    totals = []
    for badnet, pace in paces.items():
        timing = record.badnets[badnet].timing
        made = timing.repair_seconds if timing.load_seconds is None else timing.load_seconds
        if made is None or pace.seconds is None:
            return None
        totals.append((timing.start_seconds or 0.0) + made + pace.seconds)
    return sum(totals) / len(totals) if totals else None
