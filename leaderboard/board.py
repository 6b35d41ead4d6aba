"""Reads the records of a track and hands the ranking to a renderer, found by its place in `render/`."""

import importlib
from pathlib import Path
from pkgutil import iter_modules

import leaderboard.render
from harness.errors import UserError
from harness.record import Record, read_record
from harness.wording import one_of
from leaderboard.ranking import Entry, rank

RESULTS = Path(__file__).resolve().parent / "results"


def formats() -> list[str]:
    """The renderers of `leaderboard/render/`."""
    return sorted(module.name for module in iter_modules(leaderboard.render.__path__))


def read_records(results: Path, track: str) -> tuple[list[Record], list[str]]:
    """The records of a track, and one line for each file that is not one."""
    records, problems = [], []
    for path in sorted((results / track).glob("*.json")):
        try:
            records.append(read_record(path))
        except UserError as error:
            problems.append(str(error))
    return records, problems


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
