"""The unrepaired BadNets on the same images: measured once in the sandbox, kept beside the track's data."""

from pathlib import Path

from harness.console import Desk
from harness.digests import digest_json
from harness.engine import fitting_jobs, run_cells
from harness.errors import MachineError
from harness.images import Report
from harness.invigilator import Invigilator
from harness.room import Candidate
from harness.sandbox.limits import Limits
from harness.sitting import Sitting, load_sitting, save_sitting
from harness.track import BadNet, Track

SEED = 1283
"""Of the order of the images: a BadNet has no reason to cheat, so that its order may be known."""


def baseline_path(track: Track, badnet: BadNet) -> Path:
    """Where the answers of the unrepaired BadNet are kept."""
    return track.folder / "data" / "baseline" / f"{badnet.name}.npz"


def baseline_key(track: Track, badnet: BadNet) -> str:
    """What the kept answers belong to: this net, these images, this scale."""
    return digest_json(["baseline", files_digest(track, badnet), badnet.spec.scale, track.classes])


def files_digest(track: Track, badnet: BadNet) -> str:
    """One sha256 over the digests of the BadNet's files."""
    return digest_json(files_of(track, badnet))


def files_of(track: Track, badnet: BadNet) -> dict[str, str]:
    """The digests of the BadNet's files: its model, its validation and test images, its poisoned sets."""
    sets = badnet.sets
    folders = tuple(f"{name}/" for name in (sets.validation, sets.test, *sets.poisoned.values()))
    return {
        path: digest for path, digest in track.manifest.files.items() if path == sets.model or path.startswith(folders)
    }


def known_baseline(track: Track, badnet: BadNet) -> Sitting | None:
    """The kept answers of the unrepaired BadNet, or None where it was not measured yet."""
    return load_sitting(baseline_path(track, badnet), baseline_key(track, badnet))


def measure_baseline(track: Track, badnet: BadNet, invigilator: Invigilator, report: Report) -> Sitting:
    """Examine the unrepaired BadNet and keep its answers; raises MachineError where it cannot answer."""
    model = badnet.model_path.resolve()
    candidate = Candidate("model", {"model": model.name}, model.parent)
    sitting = invigilator.sit(candidate, track, badnet, seed=SEED, report=report)
    if sitting.failure:
        raise MachineError(
            f"{badnet.model_path}: the BadNet itself cannot answer ({sitting.failure.reason}); "
            f"check it with `badnet track verify {track.name}`"
        )
    save_sitting(baseline_path(track, badnet), sitting, baseline_key(track, badnet))
    return sitting


def baselines(track: Track, invigilator: Invigilator, jobs: int | None, desk: Desk) -> dict[str, Sitting]:
    """The answers of every unrepaired BadNet of the track, measured where they are not known yet.

    Limits that are meant for a submission are not theirs.
    """
    invigilator = Invigilator(invigilator.sandbox, Limits(), batch=invigilator.batch)
    found = {name: known_baseline(track, badnet) for name, badnet in track.badnets.items()}
    known = {name: sitting for name, sitting in found.items() if sitting}
    missing = [track.badnets[name] for name in found if name not in known]
    reports = {badnet.name: desk.report(f"unrepaired {badnet.name}") for badnet in missing}

    def measured(badnet: BadNet, sitting: Sitting) -> None:
        known[badnet.name] = sitting
        desk.done(f"unrepaired {badnet.name}", "measured (once)")

    def measure(badnet: BadNet) -> Sitting:
        return measure_baseline(track, badnet, invigilator, reports[badnet.name])

    jobs = fitting_jobs(jobs, repairs=False)
    run_cells(missing, measure, jobs=jobs, finished=measured, cancel=invigilator.cancel)
    return known
