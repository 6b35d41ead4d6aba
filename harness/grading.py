"""From answers to figures: pure, so that `evaluate` and `rescore` give the same figures bit for bit."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from harness.audits import verdicts
from harness.bootstrap import DRAWS, SEED, Cell, PoisonedAnswers, identity_counts, interval, score_draws
from harness.errors import MachineError
from harness.models.facts import kept
from harness.outcomes import (
    INVALID,
    CleanOutcomes,
    PoisonedOutcomes,
    Rate,
    attack_success_rate,
    clean_accuracy,
    clean_outcomes,
    poisoned_outcomes,
    rates,
)
from harness.record import (
    AuditsRecord,
    BadNetRecord,
    BaselineRecord,
    FailureRecord,
    LatencyRecord,
    RateRecord,
    Rates,
    ScoreRecord,
    TimingRecord,
    TrackScoreRecord,
    TriggerRecord,
)
from harness.score import HALVES, Policy, Score, grade, track_score
from harness.sitting import Sitting, pace
from harness.track import BadNet, Track


def grade_badnet(
    badnet: BadNet, classes: int, sitting: Sitting, baseline: Sitting, policy: Policy = HALVES
) -> BadNetRecord:
    """The record of one sitting, beside the unrepaired BadNet's own."""
    clean, poisoned = _outcomes(badnet, classes, sitting)
    clean0, poisoned0 = _outcomes(badnet, classes, baseline)
    score = grade(clean, poisoned, baseline_clean=clean0, baseline_poisoned=poisoned0, policy=policy)
    return BadNetRecord(
        score=ScoreRecord(**asdict(score)),
        rates=_rates(rates(clean)),
        outcomes=asdict(clean),
        triggers={name: _trigger(badnet, name, classes, sitting, outcomes) for name, outcomes in poisoned.items()},
        baseline=BaselineRecord(
            clean_accuracy=_value(clean_accuracy(clean0)),
            attack_success_rate={name: _value(attack_success_rate(o)) for name, o in poisoned0.items()},
        ),
        timing=_timing(sitting),
        audits=AuditsRecord(**sitting.audits.model_dump(), verdicts=verdicts(sitting.audits)),
        seed=f"{sitting.seed:x}",
        failure=FailureRecord(**sitting.failure._asdict()) if sitting.failure else None,
        notes=list(sitting.notes),
        found=kept(sitting.found),
        pictures=list(sitting.pictures),
    )


def grade_track(
    track: Track,
    records: Mapping[str, BadNetRecord],
    sittings: Mapping[str, Sitting],
    baselines: Mapping[str, Sitting],
    policy: Policy = HALVES,
) -> TrackScoreRecord:
    """The mean of S with its interval; raises MachineError for a track without any backdoor."""
    scores = {name: Score(**record.score.model_dump()) for name, record in records.items()}
    value, weakest = track_score(scores)
    if value is None or weakest is None:
        raise MachineError(f"track {track.name}: has no BadNet with a trigger, so there is nothing to score")
    cells = [_cell(badnet, track.classes, sittings[name], baselines[name]) for name, badnet in track.badnets.items()]
    return TrackScoreRecord(
        value=value,
        interval=interval(score_draws(cells, policy)),
        weakest=weakest,
        draws=DRAWS,
        seed=SEED,
        detection_share=policy.detection_share,
    )


def _outcomes(badnet: BadNet, classes: int, sitting: Sitting) -> tuple[CleanOutcomes, dict[str, PoisonedOutcomes]]:
    clean = clean_outcomes(sitting.clean, badnet.test.labels, classes)
    poisoned = {
        name: poisoned_outcomes(sitting.poisoned[name], it.images.labels, it.target, classes, it.images.carries)
        for name, it in badnet.poisoned.items()
    }
    return clean, poisoned


def _trigger(badnet: BadNet, name: str, classes: int, sitting: Sitting, outcomes: PoisonedOutcomes) -> TriggerRecord:
    poisoned = badnet.poisoned[name]
    labels, carries = poisoned.images.labels, poisoned.images.carries
    missing = 0 if carries is None else int((~carries).sum())
    whole = None
    if missing:
        whole = _rates(rates(poisoned_outcomes(sitting.poisoned[name], labels, poisoned.target, classes)))
    return TriggerRecord(
        target=poisoned.target,
        rates=_rates(rates(outcomes)),
        outcomes=asdict(outcomes),
        whole_file=whole,
        without_trigger=missing,
    )


def _cell(badnet: BadNet, classes: int, sitting: Sitting, baseline: Sitting) -> Cell:
    poisoned = {
        name: PoisonedAnswers(
            sitting.poisoned[name], baseline.poisoned[name], it.images.labels, it.target, it.images.carries
        )
        for name, it in badnet.poisoned.items()
    }
    return identity_counts(
        sitting.clean, baseline.clean, badnet.test.labels, poisoned, badnet=badnet.name, classes=classes
    )


def _timing(sitting: Sitting) -> TimingRecord:
    singles, answering = sitting.single_seconds, pace(sitting.batch_seconds, sitting.batch_images)
    latency = None
    if len(singles):
        p50, p95, p99 = (float(q) for q in np.quantile(singles, [0.5, 0.95, 0.99]))
        latency = LatencyRecord(p50=p50, p95=p95, p99=p99, images=len(singles))
    return TimingRecord(
        start_seconds=sitting.start_seconds,
        load_seconds=sitting.load_seconds,
        repair_seconds=sitting.repair_seconds,
        exam_seconds=answering.seconds,
        images_per_second=answering.images_per_second,
        latency=latency,
        peak_memory_bytes=sitting.peak_memory,
    )


def _rates(measured: Mapping[str, Rate]) -> Rates:
    return {name: RateRecord(**asdict(rate)) for name, rate in measured.items()}


def _value(rate: Rate) -> float:
    assert rate.value is not None  # `grade` has refused empty sets
    return rate.value


def worst_case(badnet: BadNet, **facts: Any) -> Sitting:
    """The sitting of a submission that does not answer for this BadNet: every answer invalid."""
    return Sitting(
        clean=np.full(len(badnet.test), INVALID, np.int32),
        poisoned={name: np.full(len(it.images), INVALID, np.int32) for name, it in badnet.poisoned.items()},
        **facts,
    )
