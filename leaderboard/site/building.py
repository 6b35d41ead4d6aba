"""Writes the pages: only files that changed, and none is left of submissions that are gone."""

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.errors import UserError
from harness.images import Report, silent
from harness.policy import read_policy
from harness.sitting import write_changed
from harness.track import Track, find_track
from leaderboard.asked import read_fields
from leaderboard.boards import Board, Field, Wanted, boards, overall
from leaderboard.measures import MEASURES, score
from leaderboard.reading import read_records
from leaderboard.render import badge_words, cells, chance, lead_in_words, rank_in_words
from leaderboard.site import addresses, pictures
from leaderboard.site.badnet import badnet_page
from leaderboard.site.heat import heat_map
from leaderboard.site.plot import plot_data
from leaderboard.site.submission import submission_page
from leaderboard.verdict import verdict

HERE = Path(__file__).resolve().parent
LISTING = "badnet-site.json"
"""The files of the site, in its folder: what an older one wrote and this one does not is removed."""


class Built(NamedTuple):
    """What came of it."""

    pages: int
    changed: int
    problems: list[str]


Pages = Iterator[tuple[str, bytes]]
"""Path within the site, content."""


def build(output: Path, tracks: Sequence[str], results: Path, runs: Path, report: Report = silent) -> Built:
    """Write the site into a folder; raises UserError where there is nothing to show, or the folder is somebody else's."""
    before = _listed(output)
    fields, problems = read_fields(results, tracks, report)
    _list(output, before)  # so that the folder is known for a site, however this ends
    written: set[str] = set()
    changed = 0
    try:
        for path, content in _pages(fields, _found(tracks), results, runs, report):
            written.add(path)
            changed += write_changed(output / path, content)
    except BaseException:
        _list(output, before | written)
        raise
    for path in before - written:
        (output / path).unlink(missing_ok=True)
        changed += 1
    _list(output, written)
    return Built(sum(path.endswith(".html") for path in written), changed, problems)


def _found(tracks: Sequence[str]) -> list[Track]:
    """Those that are here; of the others a problem was told."""
    found = []
    for name in tracks:
        with suppress(UserError):
            found.append(find_track(name))
    return found


def _pages(fields: Sequence[Field], tracks: Sequence[Track], results: Path, runs: Path, report: Report) -> Pages:
    known = {track.name: track for track in tracks}
    environment = _environment()
    first: list[tuple[Field, Mapping[Wanted, Board]]] = []
    for field in fields:
        wanted = [Wanted(scope) for scope in field.scopes()]
        wanted += [Wanted(wanted[0].scope, it) for it in MEASURES.values() if it is not score]
        first.append((field, boards(field, wanted, read_policy(), report)))
    shared = {"tracks": [_listed_boards(field, known[field.track], made) for field, made in first]}
    yield from _assets()
    overview = {
        "overall": overall(fields, score, read_policy()) if len(fields) > 1 else None,
        "parts": [_overview(field, known[field.track], made) for field, made in first],
    }
    yield "index.html", _rendered(environment, "index.html", "", shared, overview)
    for field, made in first:
        track = known[field.track]
        for board in made.values():
            yield addresses.board(board), _rendered(environment, "board.html", "../", shared, {"board": board})
        for name, badnet in track.badnets.items():
            page, drawn = badnet_page(field, track, badnet, made)
            yield from drawn.items()
            yield addresses.badnet(field.track, name), _rendered(environment, "badnet.html", "../", shared, page)
        yield from _submission_pages(environment, field, made, shared, results, runs, report)


def _submission_pages(
    environment: Environment, field: Field, made: Mapping[Wanted, Board], shared: Mapping[str, Any], results: Path,
    runs: Path, report: Report,
) -> Pages:  # fmt: skip
    shown = {it.name for it in field.contenders}
    records = [it for it in read_records(results, field.track)[0] if it.submission.name in shown]
    for number, record in enumerate(records):
        report(f"submissions to {field.track}", number, len(records))
        drawn = pictures.of_runs(record, runs)
        yield from drawn.values()
        page = submission_page(record, made, {name: path for name, (path, _) in drawn.items()})
        address = addresses.submission(field.track, record.submission.name)
        yield address, _rendered(environment, "submission.html", "../", shared, page)


def _listed_boards(field: Field, track: Track, made: Mapping[Wanted, Board]) -> dict[str, Any]:
    return {
        "name": field.track,
        "boards": [{"title": it.scope.title, "by": it.measure, "address": addresses.board(it)} for it in made.values()],
        "badnets": [{"name": name, "address": addresses.badnet(field.track, name)} for name in track.badnets],
    }


def _overview(field: Field, track: Track, made: Mapping[Wanted, Board]) -> dict[str, Any]:
    return {
        "track": field.track,
        "title": track.spec.title,
        "board": next(iter(made.values())),
        "others": [(addresses.board(it), it.measure.title) for it in made.values() if it.measure is not score],
        "strip": _strip(field, track),
        "heat": heat_map(field, made),
        "plot": plot_data(field, next(iter(made.values()))),
    }


def _strip(field: Field, track: Track) -> dict[str, str]:
    """The first trigger of the first BadNet, as an example."""
    badnet = next(it for it in track.badnets.values() if it.poisoned)
    trigger = next(iter(badnet.poisoned))
    return {
        "picture": addresses.picture(field.track, badnet.name, "trigger", trigger),
        "trigger": trigger,
        "badnet": badnet.name,
        "page": addresses.badnet(field.track, badnet.name),
    }


def _environment() -> Environment:
    """Everything is escaped; what a page lacks is an error, not a blank."""
    environment = Environment(
        loader=PackageLoader("leaderboard.site"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.globals |= {
        "cells": cells, "verdict": verdict, "addresses": addresses, "score": score,
        "rank_in_words": rank_in_words,
        "lead_in_words": lead_in_words,
        "chance": chance, "badge_words": badge_words,
    }  # fmt: skip
    return environment


def _rendered(
    environment: Environment, name: str, up: str, shared: Mapping[str, Any], page: Mapping[str, Any]
) -> bytes:
    return environment.get_template(name).render(up=up, **shared, **page).encode()


def _assets() -> Pages:
    for folder in ("static", "vendor"):
        for path in sorted((HERE / folder).iterdir()):
            if path.suffix in (".js", ".css", ".txt"):
                yield f"{folder}/{path.name}", path.read_bytes()


def _list(output: Path, files: Set[str]) -> None:
    write_changed(output / LISTING, (json.dumps({"files": sorted(files)}, indent=1) + "\n").encode())


def _listed(output: Path) -> set[str]:
    """The files that an earlier build wrote; raises UserError for a folder with other things in it."""
    if not output.is_dir():
        return set()
    try:
        listed = json.loads((output / LISTING).read_text())["files"]
        found = {
            it for it in listed if isinstance(it, str) and (output / it).resolve().is_relative_to(output.resolve())
        }
    except FileNotFoundError:
        if any(output.iterdir()):
            raise UserError(f"--out {output}: holds other things than a site; name another folder") from None
        return set()
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{output / LISTING}: cannot be read; remove the folder, and write it anew") from error
    return found
