"""evaluate(submission, track) -> Record: one exam for each BadNet, graded, written beside its answers."""

import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.baseline import baselines, files_digest, files_of
from harness.console import Desk
from harness.digests import digest_json
from harness.engine import fitting_jobs, run_cells
from harness.errors import UserError
from harness.grading import grade_badnet, grade_track, worst_case
from harness.invigilator import Invigilator
from harness.pictures import with_pictures
from harness.policy import read_policy
from harness.preparation import prepare
from harness.provenance import harness_facts, machine_facts
from harness.record import Provenance, Record, SubmissionRecord, TrackRecord, write_record
from harness.room import Candidate
from harness.sandbox.gpu import gpu_names
from harness.sitting import Failure, Sitting, load_sitting, save_arrays, save_sitting, write_whole
from harness.sole_run import sole_run
from harness.submission import Submission
from harness.track import Track
from harness.wording import harmless
from harness.worker.kinds import asking_of


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a submission is examined."""

    invigilator: Invigilator
    results: Path
    runs: Path = Path("runs")
    """Folder of pictures."""
    jobs: int | None = None
    """BadNets at the same time; None: as many as fit, see `fitting_jobs`."""
    seed: int | None = None
    """None: a secret order is drawn for each exam."""


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Where the results of one submission on one track are."""

    record: Path
    answers: Path
    unfinished: Path
    lock: Path
    logs: Path

    @classmethod
    def of(cls, results: Path, track: str, submission: str) -> "Paths":
        """The paths below the folder of results."""
        folder = results / track
        return cls(
            record=folder / f"{submission}.json",
            answers=folder / f"{submission}.answers.npz",
            unfinished=folder / ".unfinished" / submission,
            lock=folder / ".unfinished" / f"{submission}.lock",
            logs=folder / "logs" / submission,
        )


def evaluate(submission: Submission, track: Track, settings: Settings, desk: Desk) -> Record:
    """Examine a submission on every BadNet of the track, write record and answers, and return the record.

    BadNets that a run before this one finished, and that nothing has changed for, are not asked again. Raises UserError
    for what the user can mend (the submission is changed meanwhile, or another process evaluates it), MachineError for
    what the machine failed at; what a submission does never raises.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    read_policy()  # a wrong one must show before the work, not after it
    if settings.results.resolve().is_relative_to(submission.folder.resolve()):
        raise UserError(f"--results {settings.results}: lies in the submission's own folder; name another one")
    if not (name := settings.runs.resolve().name).isprintable() or "\\" in name:
        raise UserError(f"--runs {harmless(str(settings.runs), 200)!r}: a name with odd characters; name another one")
    candidates = admit(submission, track, settings, desk)
    paths = Paths.of(settings.results, track.name, submission.name)
    with sole_run(submission, track, lock=paths.lock, record=paths.record):
        unrepaired = baselines(track, settings.invigilator, settings.jobs, desk)
        jobs = fitting_jobs(settings.jobs, repairs=submission.is_live_defense)
        sittings = _sittings(submission, track, candidates, settings, jobs, paths, desk)
        facts = harness_facts() | machine_facts()
        answers_digest = save_arrays(paths.answers, answer_arrays(sittings, unrepaired))
        record = assemble(
            track, sittings, unrepaired,
            submission=SubmissionRecord(
                digest=submission.digest,
                marks=sorted({mark for candidate in candidates.values() for mark in candidate.asking.marks}),
                **submission.spec.model_dump(
                    include={"name", "authors", "description", "kind", "batch_mode", "stochastic"}
                ),
            ),
            provenance=Provenance.model_validate(facts | {
                "sandbox": settings.invigilator.sandbox.name,
            "gpu": gpu_names() if settings.invigilator.sandbox.gpu else [], "limits": settings.invigilator.limits.model_dump(),
                "jobs": jobs, "batch": settings.invigilator.batch, "started": started,
                "answers": answers_digest, "seed": _order(settings.seed, candidates),
                "files": {path: it for badnet in track.badnets.values() for path, it in files_of(track, badnet).items()},
            }),
        )  # fmt: skip
        write_record(paths.record, record)
        shutil.rmtree(paths.unfinished, ignore_errors=True)
    return record


def admit(submission: Submission, track: Track, settings: Settings, desk: Desk) -> dict[str, Candidate]:
    """Make all ready for a submission; what sits for each BadNet that it answers for and that is here.

    The submission is checked before the track is made ready: a mistake must show at once. Raises UserError, MachineError.
    """
    tables = submission.tables(track.spec.badnets)
    prepare(track, desk.report(f"track {track.name}"))
    desk.done(f"track {track.name}", "ready")
    settings.invigilator.sandbox.check()
    candidates = {
        name: Candidate(
            submission.spec.kind,
            options.model_dump(mode="json"),
            submission.folder,
            submission.is_live_defense,
            asking_of(submission.spec.kind, options),
        )
        for name, options in tables.items()
        if name in track.badnets
    }
    if not settings.invigilator.sandbox.isolates and any(it.asking.isolated for it in candidates.values()):
        raise UserError(
            f"{submission.path}: unsafe_pickle = true runs code from a file, and only in a sandbox; leave out "
            f"--sandbox {settings.invigilator.sandbox.name}"
        )
    return candidates


def assemble(
    track: Track,
    sittings: Mapping[str, Sitting],
    unrepaired: Mapping[str, Sitting],
    *,
    submission: SubmissionRecord,
    provenance: Provenance,
) -> Record:
    """Grade all sittings: every figure of the record comes from answers, clock readings and the policy alone."""
    policy = read_policy()
    badnets = {
        name: grade_badnet(badnet, track.classes, sittings[name], unrepaired[name], policy)
        for name, badnet in track.badnets.items()
    }
    return Record(
        submission=submission,
        track=TrackRecord(name=track.name, classes=track.classes, digest=track.digest),
        score=grade_track(track, badnets, sittings, unrepaired, policy),
        badnets=badnets,
        provenance=provenance,
    )


def _sittings(
    submission: Submission,
    track: Track,
    candidates: Mapping[str, Candidate],
    settings: Settings,
    jobs: int,
    paths: Paths,
    desk: Desk,
) -> dict[str, Sitting]:
    harness_digest = str(harness_facts()["harness_digest"])
    sittings: dict[str, Sitting] = {}
    keys: dict[str, str] = {}
    for name, badnet in track.badnets.items():
        if name not in candidates:
            sittings[name] = worst_case(badnet, failure=Failure("submission", f"has no table [badnets.{name}]"))
            desk.done(name, f"graded as worst case: {submission.path} has no table [badnets.{name}]")
            continue
        limits = settings.invigilator.limits.model_dump()
        keys[name] = digest_json(
            [submission.digest, candidates[name].options, files_digest(track, badnet), harness_digest, limits,
             settings.invigilator.sandbox.name, settings.invigilator.batch, settings.invigilator.cold, settings.seed]
        )  # fmt: skip
        if kept := load_sitting(paths.unfinished / f"{name}.npz", keys[name]):
            sittings[name] = kept
            desk.done(name, "finished in the run before this one")
    waiting = [name for name in candidates if name not in sittings]
    reports = {name: desk.report(name) for name in waiting}

    def sit(name: str) -> Sitting:
        seed = _seed(settings.seed, name)
        return settings.invigilator.sit(candidates[name], track, track.badnets[name], seed=seed, report=reports[name])

    def finished(name: str, sitting: Sitting) -> None:
        submission.refuse_change()
        sitting = with_pictures(sitting, track.badnets[name], submission, track.name, settings.runs)
        sittings[name] = sitting
        save_sitting(paths.unfinished / f"{name}.npz", sitting, keys[name])
        log = paths.logs / f"{name}.log"
        log.unlink(missing_ok=True)
        if sitting.failure:
            write_whole(log, sitting.log.encode())
            desk.done(name, f"failed at {sitting.failure.stage}: {harmless(sitting.failure.reason, 300)} (log: {log})")
        else:
            desk.done(name, "answered")

    run_cells(waiting, sit, jobs=jobs, finished=finished, cancel=settings.invigilator.cancel)
    return {name: sittings[name] for name in track.badnets}


def _order(given: int | None, candidates: Mapping[str, Candidate]) -> str:
    if any(candidate.asking.public for candidate in candidates.values()):
        return "public"
    return "drawn" if given is None else str(given)


def _seed(given: int | None, badnet: str) -> int:
    if given is None:
        return secrets.randbits(128)
    words = np.random.SeedSequence([given, *badnet.encode()]).generate_state(4)
    return int.from_bytes(words.tobytes(), "little")


def answer_arrays(sittings: Mapping[str, Sitting], unrepaired: Mapping[str, Sitting]) -> dict[str, NDArray[Any]]:
    """All arrays of an answers file by name: "<badnet>/clean", "<badnet>/poisoned/<trigger>", "<badnet>/baseline/...", times."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, sitting in sittings.items():
        arrays |= {f"{name}/{key}": array for key, array in sitting.arrays().items()}
        answers = {key: array for key, array in unrepaired[name].arrays().items() if array.dtype == np.int32}
        arrays |= {f"{name}/baseline/{key}": array for key, array in answers.items()}
    return arrays
