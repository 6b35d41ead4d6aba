"""The verb `badnet defend`; everything heavy is imported when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli_options import RESULTS, Gpu, Limit, Memory, RepairSeconds, SandboxName, TrackName, settings_of


def defend(
    name: Annotated[str, typer.Argument(help="A baseline, such as fine-pruning, or a folder.", metavar="NAME")],
    output: Annotated[Path, typer.Option("--out", help="A new folder for the submission and its report.")],
    track: TrackName = "faces",
    badnet: Annotated[
        list[str] | None, typer.Option("--badnet", help="Of the track; can be repeated; all unless said.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="A hyper-parameter, such as epochs=5.", metavar="NAME=VALUE")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the defense's random numbers.")] = 0,
    sandbox: SandboxName = "bubblewrap",
    memory: Memory = 6,
    repair_seconds: RepairSeconds = 3600,
    limit: Limit = None,
    gpu: Gpu = False,
) -> None:
    """Have a baseline repair BadNets, and write what it makes as a submission."""
    from harness import console
    from harness.defenders import find_defender
    from harness.defending import defend as run
    from harness.starting import next_commands
    from harness.submission import FILE
    from harness.track import find_track

    chosen = find_track(track)
    defender = find_defender(name, chosen, badnet or [], option or [])
    settings = settings_of(RESULTS, None, sandbox, memory, gpu=gpu, limit=limit, repair_seconds=repair_seconds)
    with console.progress() as desk:
        outcomes = run(defender, chosen, output, settings.invigilator, desk, seed=seed)
    for outcome in outcomes:
        place, style = (console.err, "red") if outcome.failure else (console.out, None)
        place.print(f"{outcome.badnet}: {outcome.words}", markup=False, style=style, soft_wrap=True)
        for words in outcome.notes:
            console.out.print(f"{outcome.badnet}: {words}", markup=False, style="yellow", soft_wrap=True)
    if any(not outcome.failure for outcome in outcomes):
        console.out.print(f"written: {output / FILE}, with report.json beside it; then", markup=False, soft_wrap=True)
        for line in next_commands(output, track):
            console.out.print(line, markup=False, soft_wrap=True)
    if any(outcome.failure for outcome in outcomes):
        raise typer.Exit(2)
