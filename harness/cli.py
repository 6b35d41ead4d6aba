"""The command `badnet`: one thin function per verb; everything heavy is imported by the verb that needs it."""

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from harness.cli_defend import defend
from harness.cli_leaderboard import leaderboard, site
from harness.cli_options import (
    RESULTS,
    BatchSeconds,
    ExamSeconds,
    Gpu,
    Jobs,
    Limit,
    Memory,
    RepairSeconds,
    Results,
    SandboxName,
    TrackName,
    settings_of,
)  # fmt: skip
from harness.cli_track import tracks
from harness.errors import HarnessError

INTERRUPTED = 130
LONGEST = 2000
"""Of a line about what went wrong."""

app = typer.Typer(
    name="badnet", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Score repaired backdoored classifiers: blind exams in a sandbox, honest figures, one board.",
)  # fmt: skip
app.add_typer(tracks, name="track")
app.command()(defend)
app.command()(leaderboard)
app.command()(site)


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="A folder with a submission.toml.", metavar="DIR")],
    track: Annotated[str, typer.Option("--track", help="In place of the track that submission.toml names.")] = "",
    results: Results = RESULTS,
    jobs: Jobs = None,
    sandbox: SandboxName = "bubblewrap",
    memory: Memory = 6,
    repair_seconds: RepairSeconds = 3600,
    batch_seconds: BatchSeconds = 120,
    exam_seconds: ExamSeconds = 7200,
    cold: Annotated[int, typer.Option(min=0, help="Images that a script answers again as a new process each.")] = 16,
    limit: Limit = None,
    gpu: Gpu = False,
    seed: Annotated[int | None, typer.Option(help="Of the order of the images; secret and new unless given.")] = None,
    runs: Annotated[Path, typer.Option("--runs", help="Folder of a defense's pictures.")] = Path("runs"),
) -> None:
    """Examine a submission on every BadNet of its track; write and show its record."""
    from dataclasses import replace

    from harness import console, tables
    from harness.evaluate import Paths
    from harness.evaluate import evaluate as run
    from harness.pictures import pictures_folder
    from harness.submission import Submission
    from harness.track import find_track

    submission = Submission(folder)
    chosen = find_track(track or submission.spec.track)
    settings = settings_of(
        results, jobs, sandbox, memory, seed,
        gpu=gpu, limit=limit, cold=cold, repair_seconds=repair_seconds, batch_seconds=batch_seconds, exam_seconds=exam_seconds,
    )  # fmt: skip
    with console.progress() as desk:
        record = run(submission, chosen, replace(settings, runs=runs), desk)
    console.out.print(tables.table(record))
    for line in tables.failures(record):
        console.out.print(line, markup=False, style="red", soft_wrap=True)
    for line in tables.notes(record):
        console.out.print(line, markup=False, style="yellow", soft_wrap=True)
    console.out.print(tables.MEANINGS, markup=False, style="dim")
    console.out.print(tables.verdict(record), markup=False, style="bold")
    if any(badnet.pictures for badnet in record.badnets.values()):
        folder = pictures_folder(runs, chosen.name, submission.name)
        console.out.print(f"pictures: {folder}", markup=False, soft_wrap=True)
    console.out.print(f"record: {Paths.of(results, chosen.name, submission.name).record}", markup=False, soft_wrap=True)


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="A folder with a submission.toml.", metavar="DIR")],
    track: Annotated[str, typer.Option("--track", help="In place of the track that submission.toml names.")] = "",
    jobs: Jobs = None,
    sandbox: SandboxName = "bubblewrap",
    memory: Memory = 6,
    limit: Limit = None,
    gpu: Gpu = False,
) -> None:
    """Try the whole contract on 64 images: is everything there, does it load, does it answer well?"""
    from harness import console
    from harness.checking import check as run
    from harness.submission import Submission
    from harness.track import find_track

    submission = Submission(folder)
    settings = settings_of(RESULTS, jobs, sandbox, memory, gpu=gpu, limit=limit, repair_seconds=30, batch_seconds=60)
    with console.progress() as desk:
        findings = run(submission, find_track(track or submission.spec.track), settings, desk)
    for finding in findings:
        style = {"ok": "green", "warning": "yellow", "error": "red"}[finding.level]
        words = f"{finding.level:8}{finding.badnet}: {finding.words}"
        console.out.print(words, markup=False, style=style, soft_wrap=True)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(2)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Of the submission and its records: a-z, 0-9, - and _.", metavar="NAME")],
    kind: Annotated[
        str, typer.Option("--kind", help="What it is, such as model; docs/submitting.md has every kind.")
    ] = "",
    track: TrackName = "faces",
    output: Annotated[Path | None, typer.Option("--out", help="A new folder; submissions/NAME unless said.")] = None,
) -> None:
    """Write a submission that is graded as it is, to begin from."""
    from harness import console
    from harness.starting import following, start, usual_folder
    from harness.track import find_track

    folder = output or usual_folder(name)
    with console.progress() as desk:
        start(name, kind, find_track(track), folder, desk)
    for line in following(folder, track):
        console.out.print(line, markup=False, soft_wrap=True)


@app.command()
def rescore(
    record: Annotated[Path, typer.Argument(help="A record, or a folder of records.")],
    track: Annotated[str, typer.Option("--track", help="In place of the track that the record names.")] = "",
    write: Annotated[bool, typer.Option("--write", help="Replace records whose figures differ.")] = False,
) -> None:
    """Recompute every figure of a record from its answers, and say what differs."""
    from harness import console
    from harness.errors import UserError
    from harness.record import write_record
    from harness.rescore import differences
    from harness.rescore import rescore as run
    from harness.wording import harmless

    paths = sorted(record.rglob("*.json")) if record.is_dir() else [record]
    failed = not paths
    if not paths:
        _say(f"{record}: no records")
    for path in paths:
        name = harmless(str(path))
        try:
            old, new = run(path, track or None)
        except UserError as error:
            _say(str(error))
            failed = True
            continue
        changed = differences(old.model_dump(mode="json"), new.model_dump(mode="json"))
        for line in changed:
            console.out.print(f"{name}: {line}", markup=False, soft_wrap=True)
        if changed and write:
            write_record(path, new)
        words = f"{len(changed)} figures differ" if changed else "every figure as recorded"
        console.out.print(f"{name}: {words}", markup=False, soft_wrap=True)
        failed |= bool(changed) and not write
    if failed:
        raise typer.Exit(2)


@app.command()
def doctor() -> None:
    """Say whether this machine can examine submissions, and what to do where it cannot."""
    from harness import console
    from harness.doctor import examine

    styles = {"ok": "green", "warning": "yellow", "error": "red"}
    failed = False
    for subject, finding in examine():
        words = f"{finding.level:8}{subject}: {finding.words}" + (f"; {finding.fix}" if finding.fix else "")
        console.out.print(words, markup=False, style=styles[finding.level], soft_wrap=True)
        failed |= finding.level == "error"
    if failed:
        raise typer.Exit(3)


KEPT = {
    "evaluate": "; finished BadNets are kept, the same command goes on from them",
    "defend": "; BadNets that were repaired before, if any, are in the folder that --out names",
}
"""What an interrupted command leaves."""


def main() -> NoReturn:
    """Run a command; one line and exit code 2 for the user's mistake, 3 for the machine's; `--debug` shows where."""
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        app(arguments, prog_name="badnet")
    except HarnessError as error:
        if debug:
            raise
        _say(f"error: {error}")
        raise SystemExit(error.exit_code) from None
    except Interrupted:
        _say("interrupted" + KEPT.get(next(iter(arguments), ""), ""))
        raise SystemExit(INTERRUPTED) from None
    except (OSError, MemoryError) as error:
        if debug:
            raise
        _say(f"error: {error or type(error).__name__}; --debug shows where")
        raise SystemExit(3) from None
    raise SystemExit(0)


def _say(words: str) -> None:
    from harness.console import err
    from harness.wording import harmless

    err.print(harmless(words, LONGEST), markup=False, style="red")


class Interrupted(BaseException):
    """Ctrl-C, or a polite request to end; not KeyboardInterrupt, which typer would answer in its own way."""


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted


if __name__ == "__main__":
    main()
