"""The verbs `badnet leaderboard` and `badnet site`; everything heavy is imported when they run."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli_options import RESULTS, Results

Tracks = Annotated[
    list[str] | None,
    typer.Option("--track", help="Can be repeated, for the board over all; those of config.toml unless said."),
]


def leaderboard(
    track: Tracks = None,
    badnet: Annotated[str | None, typer.Option("--badnet", help="Of the track: rank on it alone.")] = None,
    trigger: Annotated[str | None, typer.Option("--trigger", help="Of that BadNet: rank on it alone.")] = None,
    measure: Annotated[str, typer.Option("--by", help="score, der, asr, dr, ca or speed.")] = "score",
    results: Results = RESULTS,
    format_name: Annotated[
        str | None,
        typer.Option("--format", help="terminal, text, markdown, csv, json or latex; what --out ends in unless said."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--out", help="Write to this file.")] = None,
) -> None:
    """Rank the records of a track, with what is sure about it."""
    from harness import console
    from harness.errors import UserError
    from harness.sitting import write_changed
    from leaderboard.asked import Request, answer, check_format, format_for, render
    from leaderboard.config import read_tracks

    if output and output.is_dir():
        raise UserError(f"--out {output}: is a folder; name a file in it")
    format_name = format_name or format_for(output)
    check_format(format_name)
    tracks = track or read_tracks()
    with console.progress() as desk:
        given = answer(results, Request(tracks, badnet, trigger, measure), desk.report("leaderboard"))
        text = render(given.boards, format_name)
    if output:
        write_changed(output, text.encode())
    else:
        sys.stdout.write(text)
    _tell(given.problems)


def site(
    output: Annotated[Path, typer.Option("--out", help="A folder for the pages.")],
    track: Tracks = None,
    results: Results = RESULTS,
    runs: Annotated[Path, typer.Option("--runs", help="Folder of the pictures that runs have made.")] = Path("runs"),
) -> None:
    """Write the boards as web pages that open from disk, without a network."""
    from harness import console
    from leaderboard.config import read_tracks
    from leaderboard.site.building import build

    with console.progress() as desk:
        done = build(output, track or read_tracks(), results, runs, desk.report("site"))
    console.out.print(
        f"{output / 'index.html'}: {done.pages:,} pages, {done.changed:,} files changed", markup=False, soft_wrap=True
    )
    _tell(done.problems)


def _tell(problems: list[str]) -> None:
    from harness import console

    for problem in problems:
        console.err.print(problem, markup=False, style="red", soft_wrap=True)
