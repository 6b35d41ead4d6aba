"""Reads the records of a track into a field: each checked against its schema, its answers and its track.

What was read once is kept beside the records, so that a thousand of them take the time of the new ones.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.archives import load_arrays
from harness.digests import digest_file
from harness.errors import UserError
from harness.images import Report, silent
from harness.plain_files import read_plain
from harness.preparation import prepare
from harness.record import MAX_RECORD, Record, parse_record
from harness.rescore import answers_of, answers_path, below, clocks_of
from harness.sitting import CLOCKS, pace
from harness.track import Track, find_track
from harness.wording import harmless
from leaderboard import kept
from leaderboard.baseline_notes import read_notes
from leaderboard.boards import Field
from leaderboard.contenders import Contender, contender
from leaderboard.marks import Answers, CleanSet, Key, Packed, PoisonedSet


class Read(NamedTuple):
    """What came of reading a track's records."""

    field: Field | None
    """None where there is no record that can be ranked or shown."""
    problems: list[str]
    """One line for each file that is no record, or not the one that its name says."""


def read_field(results: Path, track_name: str, report: Report = silent) -> Read:
    """Read all records of a track, by name or path; raises UserError where the track is not here or has no records."""
    track = find_track(track_name)
    folder = results / track.name
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise UserError(f"{folder}: no records; run `make evaluate SUBMISSION=submissions/fine-pruning` first")
    prepare(track, report)
    key = key_of(track)
    if not key.clean:
        raise UserError(f"track {track.name!r}: has no BadNet with a backdoor, so that there is nothing to rank")
    before = kept.load(folder, key.packed_bytes)
    null = {name for name, it in read_notes().baselines.items() if it.null}
    now: kept.Kept = {}
    problems: list[str] = []
    for number, path in enumerate(paths):
        if number % 50 == 49:
            report("reading records", number, len(paths))
        try:
            data = read_plain(path, MAX_RECORD)
            answers = digest_file(answers_path(path))
            of = kept.digest_of(path.stem, data, answers, track.digest, null=path.stem in null)
            now[of] = before.get(of) or _read(path, data, answers, track, key, null=path.stem in null)
        except UserError as error:
            problems.append(harmless(str(error)))
        except OSError as error:  # no right to read the answers, or a failing disk
            problems.append(harmless(f"{answers_path(path)}: cannot be read ({error.strerror or error})"))
    if now.keys() != before.keys():
        kept.save(folder, now)
    if not now:
        return Read(None, problems)
    contenders, packed = zip(*now.values(), strict=True)
    return Read(Field(track=track.name, key=key, contenders=contenders, packed=np.stack(packed)), problems)


def read_records(results: Path, track: str) -> tuple[list[Record], list[str]]:
    """The records of a track as they stand, and one line for each file that is not one, or not the one it should be."""
    records, problems = [], []
    for path in sorted((results / track).glob("*.json")):
        try:
            records.append(_record(path, read_plain(path, MAX_RECORD), track))
        except UserError as error:
            problems.append(harmless(str(error)))
    return records, problems


def key_of(track: Track) -> Key:
    """The key of a track's exams; clean twins have no part in it."""
    badnets = {name: it for name, it in track.badnets.items() if not it.is_clean_twin}
    return Key(
        classes=track.classes,
        clean={name: CleanSet(it.test.labels) for name, it in badnets.items()},
        poisoned={
            name: {
                trigger: PoisonedSet(some.images.labels, some.target, some.images.carries)
                for trigger, some in it.poisoned.items()
            }
            for name, it in badnets.items()
        },
    )


def _record(path: Path, data: bytes, track: str) -> Record:
    """A submission has one file, `<submission>.json`: a second record under another name is never shown beside it."""
    record = parse_record(path, data)
    if path.stem != record.submission.name:
        raise UserError(
            f"{path}: is a record of submission {record.submission.name!r}; name it {record.submission.name}.json, "
            "or remove it"
        )
    if record.track.name != track:
        raise UserError(f"{path}: is a record of track {record.track.name!r}; put it into {record.track.name}/")
    return record


def _read(
    path: Path, data: bytes, answers_digest: str | None, track: Track, key: Key, *, null: bool
) -> tuple[Contender, Packed]:
    record = _record(path, data, track.name)
    if record.track.digest != track.digest:
        raise UserError(f"{path}: track {track.name!r} was changed since; evaluate again")
    answers = answers_path(path)
    if answers_digest != record.provenance.answers:
        raise UserError(f"{answers}: missing, or not the answers that {path.name} was made from; evaluate again")
    arrays = load_arrays(answers, only={f"{name}/{it}" for name in key.clean for it in _asked(key.poisoned[name])})
    given: dict[tuple[str, str | None], Answers] = {}
    paces = {}
    for name in key.clean:
        if name not in record.badnets:
            raise UserError(f"{path}: has no badnets.{name}; evaluate again")
        mine = below(f"{name}/", arrays)
        own = answers_of(answers, track.badnets[name], mine)
        clocks = clocks_of(answers, track.badnets[name], mine)
        paces[name] = pace(clocks["batch_seconds"], clocks["batch_images"])
        unrepaired = answers_of(answers, track.badnets[name], below("baseline/", mine))
        given[name, None] = Answers(own["clean"], unrepaired["clean"])
        given |= {(name, it): Answers(own["poisoned"][it], unrepaired["poisoned"][it]) for it in key.poisoned[name]}
    packed = key.pack(given)
    if unsure := key.unsure(packed):
        raise UserError(
            f"{answers}: the unrepaired BadNet {unsure} is right, or fooled, on next to no image; evaluate again"
        )
    return contender(record, paces, null=null), packed


def _asked(triggers: Iterable[str]) -> list[str]:
    """What boards need of a BadNet in a file of answers."""
    names = ["clean", *(f"poisoned/{trigger}" for trigger in triggers)]
    return [*names, *(f"baseline/{name}" for name in names), *CLOCKS]
