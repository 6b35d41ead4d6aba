"""The boards that somebody asks for, made from records and written in a format found by its place in `render/`."""

import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, NamedTuple

import leaderboard.render
from harness.errors import UserError
from harness.images import Report, silent
from harness.policy import read_policy
from harness.wording import did_you_mean, harmless, one_of
from leaderboard.boards import Board, Field, Scope, Wanted, boards, overall
from leaderboard.measures import MEASURES, Measure, score
from leaderboard.reading import read_field

RESULTS = Path(__file__).resolve().parent / "results"


class Request(NamedTuple):
    """What to show."""

    tracks: Sequence[str]
    """Names or paths; several also give the board over all of them."""
    badnet: str | None = None
    trigger: str | None = None
    measure: str = score.name


class Answer(NamedTuple):
    """What there is to show, and one line for each record or track that could not be read."""

    boards: list[Board]
    problems: list[str]


def formats() -> list[str]:
    """The renderers of `leaderboard/render/`."""
    return sorted(module.name for module in iter_modules(leaderboard.render.__path__))


def check_format(name: str) -> None:
    """Raise UserError for a format that is not there."""
    if name not in formats():
        raise UserError(f"--format {name!r}: no such format; {one_of(formats())}")


def format_for(output: Path | None) -> str:
    """The format that a file's name asks for: plain text where it says nothing, a terminal's where there is no file."""
    if output is None:
        return "terminal"
    return next((name for name in formats() if output.suffix.lower() == _renderer(name).SUFFIX), "text")


def render(made: Sequence[Board], format_name: str) -> str:
    """The boards in one of the formats; raises UserError for an unknown one."""
    check_format(format_name)
    text: str = _renderer(format_name).render(made)
    return text


def _renderer(name: str) -> Any:
    return importlib.import_module(f"leaderboard.render.{name}")


def read_fields(results: Path, tracks: Iterable[str], report: Report = silent) -> tuple[list[Field], list[str]]:
    """All that is known of some tracks, and what could not be read; raises UserError where that is nothing at all."""
    fields, problems = [], []
    named = list(tracks)
    for track in named:
        try:
            read = read_field(results, track, report)
        except UserError as error:
            if len(named) == 1:
                raise
            problems.append(harmless(str(error)))
            continue
        problems += read.problems
        if read.field:
            fields.append(read.field)
    if not fields:
        more = f" ({len(problems) - 1:,} more like it)" if len(problems) > 1 else ""
        raise UserError(f"{results}: no record can be shown; {problems[0]}{more}")
    return fields, problems


def answer(results: Path, request: Request, report: Report = silent) -> Answer:
    """The boards of a request; raises UserError for a measure, BadNet or trigger that is not there."""
    if request.measure not in MEASURES:
        raise UserError(f"--by {request.measure!r}: no such measure; {did_you_mean(request.measure, MEASURES)}")
    if len(request.tracks) > 1 and request.badnet:
        raise UserError(f"--badnet {request.badnet!r}: of which track? name one with --track")
    if request.trigger and not request.badnet:
        raise UserError(f"--trigger {request.trigger!r}: of which BadNet? name one with --badnet")
    measure, policy = MEASURES[request.measure], read_policy()
    fields, problems = read_fields(results, request.tracks, report)
    made: list[Board] = []
    if len(fields) > 1:
        made.append(overall(fields, measure, policy))
    for field in fields:
        wanted = Wanted(_scope(field, request, measure), measure)
        made.append(boards(field, [wanted], policy)[wanted])
    return Answer(made, problems)


def _scope(field: Field, request: Request, measure: Measure) -> Scope:
    badnets = field.key.poisoned
    if request.badnet and request.badnet not in badnets:
        raise UserError(
            f"--badnet {request.badnet!r}: track {field.track} has none with a backdoor of that name; "
            f"{did_you_mean(request.badnet, badnets)}"
        )
    if request.badnet and request.trigger and request.trigger not in badnets[request.badnet]:
        raise UserError(
            f"--trigger {request.trigger!r}: {request.badnet} has no such trigger; {one_of(badnets[request.badnet])}"
        )
    if request.trigger and measure.of is None:
        raise UserError(f"--by {measure.name}: is measured over all of a BadNet's images; leave out --trigger")
    return Scope(field.track, request.badnet, request.trigger)
