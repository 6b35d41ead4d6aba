"""Makes a track ready: its images made or imported, every file checked against its digest."""

import importlib
from pathlib import Path
from pkgutil import iter_modules

import harness.sources
from harness.digests import digest_file
from harness.errors import MachineError, UserError
from harness.images import Report, silent
from harness.track import BadNetSets, Manifest, Track
from harness.wording import one_of


def source_names() -> list[str]:
    """The sources in `harness/sources/` that can fill a track: those with a `build`."""
    names = [module.name for module in iter_modules(harness.sources.__path__)]
    return [name for name in names if hasattr(importlib.import_module(f"harness.sources.{name}"), "build")]


def build(track: Track, *, origin: Path | None = None, report: Report = silent) -> Manifest:
    """Make or import the track's images and return what came of it; raises UserError for a wrong origin or source."""
    if track.spec.source not in source_names():
        raise UserError(
            f"{track.folder / 'track.toml'}: source: no such source {track.spec.source!r}; {one_of(source_names())}"
        )
    source = importlib.import_module(f"harness.sources.{track.spec.source}")
    badnets: dict[str, BadNetSets] = source.build(track.spec, track.folder, origin=origin, report=report)
    return Manifest(badnets=badnets, files=_digests(track.folder, badnets))


def prepare(track: Track, report: Report = silent) -> None:
    """Make what is missing and check every digest.

    Raises UserError where the track must be imported first, or a file was changed; MachineError where this machine
    does not make the same images.
    """
    changed = track.changed_files()
    if not changed:
        return
    present = [path for path in changed if (track.folder / path).exists()]
    if present or not all(path.startswith("data/") for path in changed):
        raise UserError(
            f"{track.folder / (present or changed)[0]}: missing, or not the file that the manifest names; "
            f"get it back, or make it again (`badnet track build {track.name}`)"
        )
    made = build(track, report=report)
    wrong = [path for path in changed if made.files.get(path) != track.manifest.files[path]]
    if wrong:
        raise MachineError(
            f"{track.folder / wrong[0]}: this machine made other bytes than the manifest names; report this"
        )


def _digests(folder: Path, badnets: dict[str, BadNetSets]) -> dict[str, str]:
    paths = {folder / sets.model for sets in badnets.values()}
    for sets in badnets.values():
        for name in (sets.validation, sets.test, *sets.poisoned.values()):
            paths |= set((folder / name).glob("*.npy"))
    digests = {path.relative_to(folder).as_posix(): digest_file(path) for path in sorted(paths)}
    for path, digest in digests.items():
        if digest is None:
            raise UserError(f"{folder / path}: missing; `make badnets` makes the BadNets of a track")
    return {path: digest for path, digest in digests.items() if digest is not None}
