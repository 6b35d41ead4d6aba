"""`make baselines`: writes `docs/baselines.md` from the records."""

from pathlib import Path
from typing import Annotated

import typer

from harness import console
from harness.errors import HarnessError
from harness.plain_files import read_plain
from harness.record import MAX_RECORD
from harness.sitting import write_changed, write_whole
from harness.submission import Submission
from leaderboard.asked import RESULTS
from leaderboard.baseline_notes import ROOT, SUBMISSIONS, exams, read_notes
from leaderboard.baseline_page import Baselines, page
from leaderboard.reading import read_records

PAGE = ROOT / "docs" / "baselines.md"
KEPT = ROOT / "docs" / "records"
"""Records of the baselines on tracks that are imported, without their answers: a folder for each such track."""


def keep(results: Path, kept: Path) -> list[str]:
    """Copy the records of the baselines on imported tracks, so that every checkout can write the whole page.

    Returns one line for each file among the results that is no record.
    """
    names, problems = read_notes().baselines, []
    for folder in sorted(kept.glob("*/")):
        found, wrong = read_records(results, folder.name)
        problems += wrong
        for file in (f"{it.submission.name}.json" for it in found if it.submission.name in names):
            write_changed(folder / file, read_plain(results / folder.name / file, MAX_RECORD))
    return problems


def read_baselines(results: Path, kept: Path = KEPT, submissions: Path = SUBMISSIONS) -> tuple[Baselines, list[str]]:
    """What the page is made from, and one line for each file among the records that is none; raises UserError."""
    notes = read_notes()
    folders = {name: Submission(submissions / name) for name in notes.baselines}
    published = [it.track for one in notes.baselines.values() for it in one.published]
    records, problems = {}, []
    for track in dict.fromkeys([*notes.tracks, *published]):
        found, wrong = read_records(kept if (kept / track).is_dir() else results, track)
        records[track] = {it.submission.name: it for it in found if it.submission.name in folders}
        problems += wrong
    return Baselines(notes, folders, records), problems


def main(
    results: Annotated[Path, typer.Option(help="Folder of records.")] = RESULTS,
    kept: Annotated[Path, typer.Option(help="Folder where records on imported tracks are kept.")] = KEPT,
    out: Annotated[Path, typer.Option(help="The page.")] = PAGE,
    ask: Annotated[str, typer.Option("--exams", help="Print what is to be evaluated of all, none or NAMES.")] = "",
) -> None:
    """Write the page of the baselines from their records."""
    try:
        if ask:
            console.out.print(*exams(read_notes(), ask), sep="\n", markup=False, soft_wrap=True)
            return
        problems = keep(results, kept)
        given, more = read_baselines(results, kept)
        for problem in [*problems, *more]:
            console.err.print(problem, markup=False, style="yellow", soft_wrap=True)
        write_whole(out, page(given).encode())
        console.out.print(f"{out}: written", markup=False, soft_wrap=True)
    except HarnessError as error:
        console.err.print(f"error: {error}", markup=False, style="red", soft_wrap=True)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    typer.run(main)
