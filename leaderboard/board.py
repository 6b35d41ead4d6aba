"""Reads the records of a track and hands the ranking to a renderer, found by its place in `render/`."""

import importlib
from pathlib import Path
from pkgutil import iter_modules

import leaderboard.render
from harness.errors import UserError
from harness.record import Record, read_record
from harness.wording import harmless, one_of
from leaderboard.ranking import Entry, rank

RESULTS = Path(__file__).resolve().parent / "results"


def formats() -> list[str]:
    """The renderers of `leaderboard/render/`."""
    return sorted(module.name for module in iter_modules(leaderboard.render.__path__))


def read_records(results: Path, track: str) -> tuple[list[Record], list[str]]:
    """The records of a track, and one line for each file that is not one, or not the one that its name says.

    A submission has one file, `<submission>.json`: a second record of it, under another name, is never ranked beside it.
    """
    records, problems = [], []
    for path in sorted((results / track).glob("*.json")):
        try:
            record = read_record(path)
            _refuse_misplaced(path, record, track)
            records.append(record)
        except UserError as error:
            problems.append(harmless(str(error)))
    return records, problems


def _refuse_misplaced(path: Path, record: Record, track: str) -> None:
    if path.stem != record.submission.name:
        raise UserError(
            f"{path}: is a record of submission {record.submission.name!r}; name it {record.submission.name}.json, "
            "or remove it"
        )
    if record.track.name != track:
        raise UserError(f"{path}: is a record of track {record.track.name!r}; put it into {record.track.name}/")


def render(entries: list[Entry], track: str, format_name: str) -> str:
    """The board in one of the formats; raises UserError for an unknown one."""
    if format_name not in formats():
        raise UserError(f"--format {format_name!r}: no such format; {one_of(formats())}")
    text: str = importlib.import_module(f"leaderboard.render.{format_name}").render(entries, track)
    return text


def board(results: Path, track: str) -> tuple[list[Entry], list[str]]:
    """The ranked entries of a track and the problems met on the way; raises UserError where there is no record."""
    records, problems = read_records(results, track)
    if not records and not problems:
        raise UserError(f"{results / track}: no records; run `make evaluate SUBMISSION=submissions/fine-pruning` first")
    return rank(records), problems
