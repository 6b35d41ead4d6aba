"""Recompute every figure of a record from its answers, without asking the submission again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.archives import load_arrays
from harness.audits import Audits
from harness.digests import digest_file
from harness.errors import UserError
from harness.evaluate import assemble
from harness.preparation import prepare
from harness.record import BadNetRecord, Record, read_record
from harness.sitting import CLOCKS, Failure, Sitting
from harness.track import BadNet, find_track
from harness.wording import harmless

LEAST, MOST = 1e-9, 1e9
"""Between which a clock reading is: seconds, or images of a batch."""


def answers_path(record_path: Path) -> Path:
    """Where the answers of a record are."""
    return record_path.with_suffix(".answers.npz")


def rescore(path: Path, track_name: str | None = None) -> tuple[Record, Record]:
    """The record as it stands, and as its answers say; raises UserError where the two files or the track do not fit.

    track_name: a track, by name or path, in place of the one that the record names.
    """
    old = read_record(path)
    answers = answers_path(path)
    if digest_file(answers) != old.provenance.answers:
        raise UserError(f"{answers}: missing, or not the answers that {path.name} was made from; evaluate again")
    track = find_track(track_name or old.track.name)
    prepare(track)
    if track.digest != old.track.digest:
        raise UserError(f"{path}: track {track.name!r} was changed since; evaluate again")
    arrays = load_arrays(answers)
    sittings, unrepaired = {}, {}
    for name, badnet in track.badnets.items():
        if name not in old.badnets:
            raise UserError(f"{path}: has no badnets.{name}; evaluate again")
        mine = below(f"{name}/", arrays)
        sittings[name] = _sitting(answers, badnet, mine, old.badnets[name])
        unrepaired[name] = Sitting(**answers_of(answers, badnet, below("baseline/", mine)))
    return old, assemble(track, sittings, unrepaired, submission=old.submission, provenance=old.provenance)


def differences(old: Any, new: Any, key: str = "") -> list[str]:
    """The keys at which two JSON values differ, as "badnets.x.score.value: 1 -> 2"."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for name in sorted(old.keys() | new.keys())
            for line in differences(old.get(name), new.get(name), f"{key}.{name}" if key else name)
        ]
    return [] if old == new else [harmless(f"{key}: {old} -> {new}")]


def below(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays whose names begin so, by the rest of their names."""
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}


def _sitting(path: Path, badnet: BadNet, arrays: Mapping[str, NDArray[Any]], record: BadNetRecord) -> Sitting:
    timing, failure = record.timing, record.failure
    return Sitting(
        **answers_of(path, badnet, arrays), **clocks_of(path, badnet, arrays),
        start_seconds=timing.start_seconds, load_seconds=timing.load_seconds, repair_seconds=timing.repair_seconds,
        peak_memory=timing.peak_memory_bytes, notes=tuple(record.notes), found=record.found, pictures=tuple(record.pictures),
        audits=Audits.model_validate(record.audits.model_dump(exclude={"verdicts"})),
        seed=int(record.seed, 16), failure=Failure(failure.stage, failure.reason) if failure else None,
    )  # fmt: skip


def answers_of(path: Path, badnet: BadNet, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """A BadNet's answers as `Sitting` takes them; raises UserError that names the answers file and what it lacks."""
    try:
        clean = arrays["clean"]
        poisoned = {trigger: arrays[f"poisoned/{trigger}"] for trigger in badnet.poisoned}
    except KeyError as error:
        raise UserError(f"{path}: has no {badnet.name}/{error.args[0]}; evaluate again") from None
    sets = [("clean", clean, len(badnet.test))]
    sets += [(f"poisoned/{trigger}", poisoned[trigger], len(it.images)) for trigger, it in badnet.poisoned.items()]
    for name, answers, length in sets:
        if answers.dtype != np.int32 or answers.shape != (length,):
            raise UserError(f"{path}: {badnet.name}/{name} has {answers.dtype}{answers.shape}, not {length} answers")
    return {"clean": clean, "poisoned": poisoned}


def clocks_of(path: Path, badnet: BadNet, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """A BadNet's clock readings as `Sitting` takes them; raises UserError where they are none."""
    clocks = {name: arrays.get(name, np.empty(0, object)) for name in CLOCKS}
    for name, readings in clocks.items():
        kind = np.int64 if name == "batch_images" else np.float64
        if readings.dtype != kind or not ((readings >= LEAST) & (readings <= MOST)).all():
            raise UserError(f"{path}: {badnet.name}/{name} holds no clock readings; evaluate again")
    if len(clocks["batch_seconds"]) != len(clocks["batch_images"]):
        raise UserError(f"{path}: {badnet.name} has other batches than times of them; evaluate again")
    return clocks
