"""What came of asking again: the counts that stand in the record, and what they say about a submission. Pure.

A predictor answers each image by itself, and always alike. Three verdicts say how one does not; what changes in other
company is compared with what changes by chance, which the same batches asked again show.
"""

from fractions import Fraction
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.models.exact_tests import drawn_by_chance, heads_by_chance

STOCHASTIC = "stochastic"
BATCH_DEPENDENT = "batch-dependent"
BASE_RATE_DEPENDENT = "base-rate-dependent"
TOLERANCE = Fraction(1, 100)
"""Of the images: as many may get another answer. In another batch size sums are rounded otherwise, and ties fall anew."""
LEAST_CHANGED = 2
"""Images: of a few, a single tie is more than the tolerance."""
LEAST_SHIFT = Fraction(1, 100)
"""Of false-flag rate or detection rate, from one mix to the other: what would move a score."""
FALSE_ALARMS = 0.001
"""Chance, at most, that a test takes what is drawn at random for more: an exam of several BadNets has dozens of tests."""
ONE_SIDED = 0.01
"""The same of the sign test, where nothing is drawn: at fewer false alarms all of ten poisoned images would have to go."""

Some = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


class _Counts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Flags(_Counts):
    """How many of some images were flagged in the exam, how many when they were asked again, and how many both times."""

    images: Some
    exam: Count
    again: Count
    both: Count

    @model_validator(mode="after")
    def _fit(self) -> "Flags":
        if not self.both <= min(self.exam, self.again) <= max(self.exam, self.again) <= self.images:
            raise ValueError("more were flagged than there are images, or both times than one time")
        return self


class Audit(_Counts):
    """Images asked again, and how many of them then got another answer than in the exam."""

    images: Some
    changed: Count
    clean: Flags | None
    """Of the clean ones: false flags. Null where there was none."""
    poisoned: Flags | None
    """Of those that carry a trigger: detections."""

    @model_validator(mode="after")
    def _fit(self) -> "Audit":
        if self.changed > self.images:
            raise ValueError("more answers changed than there are images")
        return self


class ColdAudit(_Counts):
    """Images that a script also answered as a new process each."""

    images: Some
    differed: Count
    verdict: str
    """"agrees"; "run cold": all answers are those of new processes; "nondeterministic": new processes differ too."""


class Audits(_Counts):
    """All that was asked again; null is not asked, or not before `failed`. `harness.audit_plan` has how many and which."""

    process: Literal["same", "fresh"] | None = None
    """Who was asked all but `alone` and `cold`: the process that sat the exam, or one that has not seen it."""
    alone: Audit | None = None
    """Each image by itself."""
    all_clean: Audit | None = None
    """Clean images only."""
    mostly_clean: Audit | None = None
    """Clean images with 1 % of poisoned ones."""
    reordered: Audit | None = None
    """In another order and batch size."""
    duplicates: Audit | None = None
    """Some images several times in one batch."""
    again: Audit | None = None
    """Batches of the exam as they were, after all else: what changes is due to chance, or to what was asked before."""
    same_seed: Audit | None = None
    """The same batches, first of all in one more new process; asked where `again` changed."""
    failed: str | None = None
    """Why the audits ended early."""
    cold: ColdAudit | None = None
    """Null for all but scripts that are called image by image."""


def compared(
    before: NDArray[np.int32], after: NDArray[np.int32], *, clean: NDArray[np.bool_], poisoned: NDArray[np.bool_], flag: int
) -> Audit:  # fmt: skip
    """Count what changed from one answer to the other: all arrays (n,), one item an image.

    clean, poisoned: which images are clean, and which carry a trigger. flag: N.
    """
    return Audit(
        images=len(before),
        changed=int((before != after).sum()),
        clean=_flags(before[clean] == flag, after[clean] == flag),
        poisoned=_flags(before[poisoned] == flag, after[poisoned] == flag),
    )


def verdicts(audits: Audits) -> list[str]:
    """What the board says of a submission that did not declare it: none, some or all of the three, in this order."""
    found = {
        STOCHASTIC: is_stochastic(audits),
        BATCH_DEPENDENT: is_batch_dependent(audits),
        BASE_RATE_DEPENDENT: is_base_rate_dependent(audits),
    }
    return [name for name, holds in found.items() if holds]


def is_stochastic(audits: Audits) -> bool:
    """Whether the same batches got other answers for more than `TOLERANCE` of the images, and `LEAST_CHANGED` of them.

    Or a script's answers differed from one new process to the other.
    """
    return _clearly_changed(audits.again) or (audits.cold is not None and audits.cold.verdict == "nondeterministic")


def is_batch_dependent(audits: Audits) -> bool:
    """Whether images alone, in another order or beside copies of themselves got other answers, beyond chance.

    That is: for more than `TOLERANCE` of the images, and `LEAST_CHANGED` of them; for as much more than in `again`; and
    by Fisher's exact test at `FALSE_ALARMS`, for more than there. Without `again` nothing is known of chance: False.
    """
    return any(
        audit is not None
        and audits.again is not None
        and _clearly_changed(audit)
        and Fraction(audit.changed, audit.images) - Fraction(audits.again.changed, audits.again.images) > TOLERANCE
        and _more_often(audit.changed, audit.images, audits.again.changed, audits.again.images)
        for audit in (audits.alone, audits.reordered, audits.duplicates)
    )


def is_base_rate_dependent(audits: Audits) -> bool:
    """Whether false flags or detections became more, or fewer, as poisoned images became rare, beyond chance.

    That is: a rate moved by `LEAST_SHIFT` at least, and by an exact sign test over the images that were flagged one time
    only, in one direction: at `ONE_SIDED` where `again` changed nothing, else at `FALSE_ALARMS`. Where not even the same
    seed gives the same answers, it must also have moved by as much more than in `again`, and by Fisher's test more often.
    Without `again`: False.
    """
    again = audits.again
    if again is None:
        return False
    false_alarms = FALSE_ALARMS if again.changed else ONE_SIDED
    reproducible = (audits.same_seed or again).changed == 0
    return any(
        flags is not None and _shifted(flags, false_alarms) and (reproducible or _shifted_more(flags, usual))
        for audit in (audits.all_clean, audits.mostly_clean) if audit is not None
        for flags, usual in ((audit.clean, again.clean), (audit.poisoned, again.poisoned))
    )  # fmt: skip


def _flags(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Flags | None:
    if not len(before):
        return None
    return Flags(images=len(before), exam=int(before.sum()), again=int(after.sum()), both=int((before & after).sum()))


def _clearly_changed(audit: Audit | None) -> bool:
    return audit is not None and audit.changed >= LEAST_CHANGED and audit.changed > TOLERANCE * audit.images


def _more_often(changed: int, images: int, by_chance: int, of: int) -> bool:
    return drawn_by_chance(changed, images, changed + by_chance, images + of) <= FALSE_ALARMS


def _shift(flags: Flags) -> Fraction:
    return Fraction(flags.again - flags.exam, flags.images)


def _shifted(flags: Flags, false_alarms: float) -> bool:
    gained, lost = flags.again - flags.both, flags.exam - flags.both
    by_chance = heads_by_chance(max(gained, lost), gained + lost)
    return abs(_shift(flags)) >= LEAST_SHIFT and by_chance <= false_alarms


def _shifted_more(flags: Flags, usual: Flags | None) -> bool:
    if usual is None:  # nothing is known of chance
        return False
    more = flags.again > flags.exam
    moved, by_chance = ((it.again if more else it.exam) - it.both for it in (flags, usual))
    enough = abs(_shift(flags) - _shift(usual)) >= LEAST_SHIFT
    return enough and _more_often(moved, flags.images, by_chance, usual.images)
