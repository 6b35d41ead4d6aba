"""The verbs of `badnet track`; everything heavy is imported by the verb that needs it."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli_options import RESULTS, Jobs, SandboxName, settings_of

tracks = typer.Typer(no_args_is_help=True, help="Show, make, import and verify tracks.")


@tracks.command("list")
def track_list() -> None:
    """Name the tracks and say whether they are ready."""
    from harness import console
    from harness.track import Track, find_track, track_names

    def state(track: Track) -> str:
        if not track.manifest_path.exists():
            return "not imported"
        return "made at first use" if track.changed_files() else "ready"

    for name in track_names():
        track = find_track(name)
        console.out.print(
            f"{name}: {track.spec.title}; {len(track.spec.badnets)} BadNets; {state(track)}", markup=False
        )


@tracks.command("show")
def track_show(
    name: Annotated[str, typer.Argument()],
    output: Annotated[Path | None, typer.Option("--out", help="The picture; <track>.png unless said.")] = None,
) -> None:
    """Write a contact sheet of a track, with every trigger, and describe its BadNets."""
    from harness import console
    from harness.preparation import prepare
    from harness.sources.contact_sheet import sheet, write_contact_sheet
    from harness.track import find_track

    track = find_track(name)
    with console.progress() as desk:
        prepare(track, desk.report(track.name))
    for badnet in track.badnets.values():
        console.out.print(f"{badnet.name}: {len(badnet.test):,} clean test images", markup=False, soft_wrap=True)
        for trigger, poisoned in badnet.poisoned.items():
            console.out.print(
                f"  {trigger} -> {poisoned.target}: {len(poisoned.images):,} images", markup=False, soft_wrap=True
            )
        for note in badnet.sets.notes:
            console.out.print(f"  {note}", markup=False, style="dim")
    picture = output or Path(f"{track.name}.png")
    write_contact_sheet(sheet(track), picture)
    console.out.print(f"pictures: {picture}", markup=False, soft_wrap=True)


@tracks.command("import")
def track_import(
    name: Annotated[str, typer.Argument()],
    origin: Annotated[Path, typer.Option("--from", help="A folder in the competition's layout.")],
    sandbox: SandboxName = "bubblewrap",
    jobs: Jobs = None,
) -> None:
    """Import a track's BadNets and images from a folder, and verify them against the nets."""
    from harness import console
    from harness.preparation import build
    from harness.track import find_track

    track = find_track(name)
    with console.progress() as desk:
        track.write_manifest(build(track, origin=origin, report=desk.report(track.name)))
    for badnet in track.badnets.values():
        for note in badnet.sets.notes:
            console.out.print(f"{badnet.name}: {note}", markup=False, soft_wrap=True)
    for missing in track.spec.badnets.keys() - track.badnets.keys():
        console.out.print(f"{missing}: not found in {origin}, left out", markup=False, style="yellow")
    track_verify(name, sandbox, jobs)


@tracks.command("build")
def track_build(name: Annotated[str, typer.Argument()]) -> None:
    """Make a track's images anew and write their digests into its manifest."""
    from harness import console
    from harness.preparation import build
    from harness.track import find_track

    track = find_track(name)
    with console.progress() as desk:
        track.write_manifest(build(track, report=desk.report(track.name)))
    console.out.print(f"{track.manifest_path}: {len(track.manifest.files)} files", markup=False, soft_wrap=True)


@tracks.command("publish")
def track_publish(
    name: Annotated[str, typer.Argument()],
    output: Annotated[Path, typer.Option("--out", help="A new folder, or one that this wrote for the same track.")],
) -> None:
    """Write the images of every exam in one public order, for answers that are computed elsewhere."""
    from harness import console
    from harness.preparation import prepare
    from harness.publishing import README, publish
    from harness.track import find_track

    track = find_track(name)
    with console.progress() as desk:
        prepare(track, desk.report(track.name))
        publish(track, output, desk)
    console.out.print(f"{output / README} says how to answer them", markup=False, soft_wrap=True)


@tracks.command("verify")
def track_verify(
    name: Annotated[str, typer.Argument()], sandbox: SandboxName = "bubblewrap", jobs: Jobs = None
) -> None:
    """Check every file's digest, and every BadNet's clean accuracy and attack success."""
    from harness import console
    from harness.baseline import baselines
    from harness.preparation import prepare
    from harness.tables import baseline_table
    from harness.track import find_track

    track = find_track(name)
    settings = settings_of(RESULTS, jobs, sandbox, 6)
    with console.progress() as desk:
        prepare(track, desk.report(track.name))
        measured = baselines(track, settings.invigilator, jobs, desk)
    console.out.print(baseline_table(track, measured))
