"""What is fuzzed: each reader of the host with the bytes that it is given, and what must hold of what it reads."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from harness.archives import load_arrays
from harness.digests import digest_json
from harness.errors import UserError
from harness.protocol import ProtocolError
from harness.record import read_record
from harness.rescore import answers_path
from harness.submission import Submission
from harness.track import Track
from harness.worker.kinds import asking_of
from leaderboard.asked import formats, render
from leaderboard.contenders import contender
from leaderboard.render import cells
from tests.conftest import TRACK_TOML
from tests.fuzz.documents import FILES, SUBMISSIONS, write_results, write_track
from tests.fuzz.frames import ARRAY, EXAMPLES, read_frame, whole
from tests.fuzz.mutations import archives, as_json, as_toml, documents, spoilt_bytes
from tests.made_boards import board_of

ALLOWED = (UserError, ProtocolError, EOFError, TimeoutError)
BADNETS = ("first", "second", "twin")


class Target(NamedTuple):
    """A reader: `read` raises one of ALLOWED or nothing; anything else is a finding."""

    read: Callable[[bytes], None]
    strategy: st.SearchStrategy[bytes]


def targets(folder: Path) -> dict[str, Target]:
    """Every reader by name, with documents made below the empty folder `folder`."""
    track = write_track(_new(folder / "track"))
    record = write_results(_new(folder / "results"), track)
    arrays = load_arrays(answers_path(record))
    submission, toml = _new(folder / "submission"), tomllib.loads(TRACK_TOML)
    for name in FILES:
        (submission / name).write_text("1")
    frames = st.tuples(documents(EXAMPLES, as_json), st.binary(max_size=60)).map(lambda it: whole(*it))
    arrays_of = st.binary(min_size=2, max_size=40).map(lambda it: ARRAY + it)
    manifest = json.loads(track.manifest_path.read_bytes())
    return {
        "frames": Target(read_frame, frames | spoilt_bytes(frames) | arrays_of),
        "submission": Target(_file(submission / "submission.toml", _read_submission), documents(SUBMISSIONS, as_toml)),
        "track": Target(_file(_copy(track, folder / "spec") / "track.toml", _read_track), documents([toml], as_toml)),
        "manifest": Target(_file(_copy(track, folder / "files") / "manifest.json", _read_track), documents([manifest], as_json)),
        "record": Target(_file(record, _read_record), documents([json.loads(record.read_bytes())], as_json)),
        "answers": Target(_file(answers_path(record), _read_answers), archives(arrays) | spoilt_bytes(archives(arrays))),
    }  # fmt: skip


def _read_submission(path: Path) -> None:
    submission = Submission(path.parent)
    for options in submission.tables(BADNETS).values():
        asking_of(submission.spec.kind, options)
        digest_json(options.model_dump(mode="json"))
    submission.spec.model_dump_json(include={"name", "authors", "description"})


def _read_track(path: Path) -> None:
    track = Track(path.parent)
    assert all(it.model_path.resolve().is_relative_to(path.parent.resolve()) for it in track.badnets.values())
    assert track.digest
    track.changed_files()


def _read_record(path: Path) -> None:
    made = board_of([contender(read_record(path))])
    assert all(cell.isprintable() for row in made.rows for cell in cells(row))
    for format_name in formats():
        render([made], format_name)


def _read_answers(path: Path) -> None:
    assert all(array.ndim == 1 and np.issubdtype(array.dtype, np.number) for array in load_arrays(path).values())


def _file(path: Path, read: Callable[[Path], None]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        path.write_bytes(data)
        try:
            read(path)
        except UserError as error:
            if not str(error).isprintable():
                raise AssertionError(f"a message that acts on a terminal: {error}") from error
            raise

    return run


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _copy(track: Track, folder: Path) -> Path:
    """The track's two descriptions alone: its files are elsewhere, and missing."""
    folder.mkdir()
    for path in (track.folder / "track.toml", track.manifest_path):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder
