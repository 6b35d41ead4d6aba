"""Makes a track ready: its images made or imported, every file checked against its digest."""

import importlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from pkgutil import iter_modules
from typing import Protocol, cast

import harness.sources
from harness.digests import digest_file
from harness.errors import MachineError, UserError
from harness.images import Report, silent
from harness.locks import locked
from harness.track import BadNetSets, Manifest, Track, TrackSpec
from harness.wording import one_of


class Source(Protocol):
    """What a module of `harness/sources/` that can fill a track has."""

    def build(self, spec: TrackSpec, folder: Path, /, *, origin: Path | None, report: Report) -> dict[str, BadNetSets]:
        """Make or import images below `folder/data`; the sets of each BadNet. Raises UserError, MachineError."""


def source_names() -> list[str]:
    """The sources in `harness/sources/` that can fill a track: those with a `build`."""
    names = [module.name for module in iter_modules(harness.sources.__path__)]
    return [name for name in names if hasattr(importlib.import_module(f"harness.sources.{name}"), "build")]


def build(track: Track, *, origin: Path | None = None, report: Report = silent) -> Manifest:
    """Make or import the track's images and return what came of it; raises UserError for a wrong origin or source."""
    source = _source(track)
    with locked(_lock(track), _waiting(report)):
        badnets = source.build(track.spec, track.folder, origin=origin, report=report)
        return Manifest(badnets=badnets, files=_digests(track.folder, badnets))


def prepare(track: Track, report: Report = silent) -> None:
    """Make what is missing and check every digest; where another process makes it, wait for that.

    Raises UserError where the track must be imported first, or a file was changed; MachineError where this machine
    does not make the same images.
    """
    if track.changed_files():
        with locked(_lock(track), _waiting(report)):
            _make_missing(track, track.changed_files(), report)


def _make_missing(track: Track, changed: list[str], report: Report) -> None:
    """Make the images beside their places and move each there whole, so that an interruption leaves no part of one."""
    if not changed:
        return
    present = [path for path in changed if os.path.lexists(track.folder / path)]
    if present or not all(path.startswith("data/") for path in changed):
        raise UserError(
            f"{track.folder / (present or changed)[0]}: missing, or not the file that the manifest names; "
            f"get it back, or make it again (`badnet track build {track.name}`)"
        )
    beside = track.folder / "data" / ".unfinished"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        _source(track).build(track.spec, beside, origin=None, report=report)
        for path in changed:
            if digest_file(beside / path) != track.manifest.files[path]:
                raise MachineError(
                    f"{track.folder / path}: this machine made other bytes than the manifest names; report this"
                )
        for path in changed:
            (track.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (beside / path).replace(track.folder / path)
    except OSError as error:
        raise MachineError(
            f"{beside.parent}: cannot be written ({error.strerror or error}); free some space, or make it writable"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _source(track: Track) -> Source:
    if track.spec.source not in source_names():
        raise UserError(
            f"{track.folder / 'track.toml'}: source: no such source {track.spec.source!r}; {one_of(source_names())}"
        )
    return cast(Source, importlib.import_module(f"harness.sources.{track.spec.source}"))


def _lock(track: Track) -> Path:
    return track.folder / "data" / ".lock"


def _waiting(report: Report) -> Callable[[str], None]:
    return lambda holder: report(f"waiting for {holder}, which makes its images", 0, 0)


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
