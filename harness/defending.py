"""`badnet defend`: a defense repairs BadNets in the sandbox, and what it makes is written as a submission."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import tomli_w

from harness.console import Desk
from harness.conversation import Misbehaviour
from harness.defenders import KIND, Defender
from harness.engine import run_cells
from harness.errors import MachineError, UserError
from harness.fetching import REPORT, Fetched
from harness.images import Report
from harness.invigilator import Invigilator
from harness.preparation import prepare
from harness.provenance import harness_facts
from harness.room import Candidate, Room
from harness.sitting import Failure
from harness.starting import valid_name
from harness.submission import FILE
from harness.track import Track

LONGEST = 80
"""Of a fact that is shown; all are in the report."""


class Outcome(NamedTuple):
    """What came of one BadNet: what was saved, or why nothing was. seconds: of the repair."""

    badnet: str
    seconds: float
    facts: dict[str, Any]
    notes: list[str]
    fetched: Fetched | None
    failure: Failure | None

    @property
    def words(self) -> str:
        """For people, on one line."""
        if self.failure:
            return f"failed at {self.failure.stage}: {self.failure.reason}"
        shown = [f"{name} {text}" for name, it in self.facts.items() if len(text := json.dumps(it)) <= LONGEST]
        return "; ".join([f"repaired in {self.seconds:.1f} s", *shown])


def defend(
    defender: Defender, track: Track, folder: Path, invigilator: Invigilator, desk: Desk, *, seed: int
) -> list[Outcome]:
    """Repair BadNets, one after the other, and write a submission and a report into `folder`, which is new or empty.

    A repair that fails costs its BadNet alone, and so does an interruption, which is raised once the others are
    written. The folder is there whole or not at all; where no repair was finished, not at all. Raises UserError for a
    folder that cannot be used, MachineError where the machine cannot isolate, or write.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()) or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"{folder}: is there already, and no empty folder; name a new one with --out")
    prepare(track, desk.report(f"track {track.name}"))
    desk.done(f"track {track.name}", "ready")
    invigilator.sandbox.check()
    there = next(path for path in folder.absolute().parents if path.is_dir())
    outcomes: list[Outcome] = []
    try:
        with TemporaryDirectory(prefix=".badnet-defend-", dir=there) as beside:
            made, empty = Path(beside) / "made", Path(beside) / "empty"
            made.mkdir()
            empty.mkdir()
            try:
                _repair(defender, track, defender.folder or empty, made, invigilator, desk, seed, outcomes)
            finally:
                if repaired := {outcome.badnet for outcome in outcomes if outcome.fetched}:
                    for badnet in (it for it in defender.tables if it not in repaired):
                        shutil.rmtree(made / badnet, ignore_errors=True)  # of one that failed, or was interrupted
                    _describe(outcomes, defender, track, made, name=valid_name(folder.absolute().name), seed=seed)
                    folder.parent.mkdir(parents=True, exist_ok=True)
                    made.rename(folder)
    except OSError as error:
        raise MachineError(
            f"{folder}: cannot be written ({error.strerror or error}); free some space, or name another --out"
        ) from error
    return outcomes


def _repair(
    defender: Defender, track: Track, root: Path, made: Path, invigilator: Invigilator, desk: Desk, seed: int,
    outcomes: list[Outcome],
) -> None:  # fmt: skip
    """Repair all BadNets, and add to `outcomes`; files are in `made`, or in a folder of it for each of several BadNets."""
    reports = {badnet: desk.report(badnet) for badnet in defender.tables}

    def work(badnet: str) -> Outcome:
        candidate = Candidate(KIND, defender.tables[badnet], root, repairs=True)
        kinds = {outcome.fetched.kind for outcome in outcomes if outcome.fetched}
        place = made / badnet if len(defender.tables) > 1 else made
        place.mkdir(exist_ok=True)
        room = Room(invigilator, candidate, track, track.badnets[badnet], seed)
        try:
            fetched, failure = _saved(room, place, reports[badnet], kinds), None
        except Misbehaviour as misbehaviour:
            fetched, failure = None, misbehaviour.failure
        finally:
            room.clear()
        return Outcome(badnet, room.readings.get("repair_seconds", 0.0), room.facts, room.notes, fetched, failure)

    def finished(badnet: str, outcome: Outcome) -> None:
        outcomes.append(outcome)
        desk.done(badnet, "failed" if outcome.failure else "repaired")

    run_cells(list(defender.tables), work, jobs=1, finished=finished, cancel=invigilator.cancel)


def _saved(room: Room, place: Path, report: Report, kinds: set[str]) -> Fetched:
    room.seat(report)
    fetched = room.save(place, report)
    if kinds - {fetched.kind}:
        raise Misbehaviour(
            "save",
            f"is a {fetched.kind}, and others are a {kinds.pop()}: a submission has one kind; name another --out",
        )
    return fetched


def _describe(
    outcomes: Sequence[Outcome], defender: Defender, track: Track, made: Path, *, name: str, seed: int
) -> None:
    """Write submission.toml and report.json beside the files."""
    tables, reports = {}, {}
    for outcome in outcomes:
        if outcome.fetched is None:
            continue
        below = f"{outcome.badnet}/" if len(defender.tables) > 1 else ""
        tables[outcome.badnet] = outcome.fetched.table | {
            key: below + outcome.fetched.table[key] for key in outcome.fetched.paths
        }
        own = {
            "defense": defender.name,
            "entry": defender.tables[outcome.badnet]["entry"],
            "options": outcome.fetched.options,
            "seed": seed,
            "track": track.name,
            "badnet": outcome.badnet,
            "seconds": round(outcome.seconds, 3),
            **harness_facts(),
        }
        reports[outcome.badnet] = own | {key: value for key, value in outcome.facts.items() if key not in own}
    kind = next(outcome.fetched.kind for outcome in outcomes if outcome.fetched)
    description = f"{defender.name}, as `badnet defend` made it"
    spec = {"name": name, "description": description, "kind": kind, "track": track.name, "badnets": tables}
    (made / FILE).write_text(tomli_w.dumps(spec), encoding="utf-8")
    shown: Any = reports if len(defender.tables) > 1 else next(iter(reports.values()))
    (made / REPORT).write_text(json.dumps(shown, indent=1, allow_nan=False) + "\n", encoding="utf-8")
