"""Which files of a downloaded CSAW-HackML-2020 folder belong to which BadNet."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.digests import digest_file
from harness.errors import UserError
from harness.images import Report
from harness.sources.h5_data import problem
from harness.track import TrackSpec
from harness.wording import first_problem, harmless

WEIGHTS, NET = "_weights.h5", "_net.h5"
MOST_FOLDERS = 10_000
"""A download has a dozen folders; a whole disk has more than this."""
MOST_WEIGHTS_BYTES = 100 * 2**20
"""The competition's weights have 2.4 MB; what is larger is another file, and not worth a digest."""


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Kind = TypeVar("Kind", bound=_Options)


class DataFile(_Options):
    """Where one image file may lie, relative to a `data` folder."""

    files: list[str] = []
    """In a folder that several nets share, or that one net has alone."""
    own_files: list[str] = []
    """Only in a folder that one net has alone: elsewhere these names belong to another net."""

    def described(self) -> str:
        """The places as words."""
        own = f" (or {', '.join(self.own_files)} in a folder of this net alone)" if self.own_files else ""
        return f"data/{' or '.join(self.files)}{own}"


class TriggerOptions(DataFile):
    """A trigger's `options` in `track.toml`."""

    colour: tuple[int, int, int] | None = None
    """RGB of a trigger of one solid colour; None where every image of the file carries the trigger."""
    least_pixels: int = Field(default=12, ge=1)
    """An image with this many pixels of exactly that colour carries the trigger."""


class BadNetOptions(_Options):
    """A BadNet's `options` in `track.toml`."""

    weights_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    remark: str = ""
    """Said where the BadNet is left out."""


class TrackOptions(_Options):
    """A track's `options` in `track.toml`."""

    validation: DataFile
    test: DataFile
    untouched_rows: list[tuple[int, int]] = Field(min_length=1)
    """First and last of the rows of an image that no trigger touches."""


@dataclass(frozen=True, kw_only=True)
class FoundBadNet:
    """A BadNet of the track and its files."""

    name: str
    net: Path
    validation: Path
    test: Path
    poisoned: dict[str, Path]
    notes: list[str]


@dataclass(kw_only=True)
class _Search:
    origin: Path
    weights: dict[str, list[Path]] = field(default_factory=dict)
    """sha256 -> the weights files with that content, the shallowest first."""

    def homes(self, weights: Path) -> Iterator[Path]:
        """The folders that may hold a net's data: the nearest first, never above the origin."""
        for folder in (weights.parent, *weights.parent.parents):
            yield folder
            if folder == self.origin:
                return

    def alone(self, folder: Path) -> bool:
        """No other net's weights lie below `folder`."""
        return sum(any(folder in path.parents for path in paths) for paths in self.weights.values()) == 1

    def find(self, weights: Path, wanted: DataFile) -> Path | None:
        """The nearest file of that kind."""
        for distance, home in enumerate(self.homes(weights)):
            # A net's own folder is the one that holds its weights, or `models` with its weights.
            own = wanted.own_files if distance < 2 and self.alone(home) else []
            for name in (*wanted.files, *own):
                for path in (home / "data" / name, home / name):
                    if path.is_file():
                        return path
        return None


def find_badnets(spec: TrackSpec, origin: Path, report: Report) -> dict[str, FoundBadNet]:
    """The BadNets of the track that are complete under `origin`; the others are named to `report`, with the reason.

    Nets are known by the sha256 of their weights. Raises UserError where none is found, or a known net is not whole.
    """
    search = _Search(origin=origin)
    for path in sorted(_weights_files(origin), key=lambda path: (len(path.parts), path)):
        if digest := digest_file(path):
            search.weights.setdefault(digest, []).append(path)
    options = {name: read_options(BadNetOptions, badnet.options, spec, name) for name, badnet in spec.badnets.items()}
    known = {badnet.weights_sha256 for badnet in options.values()}
    for digest, paths in search.weights.items():
        if digest not in known:
            shown = paths[0].relative_to(origin).as_posix()
            _tell(report, f"{shown}: left alone, not the weights of a BadNet of {spec.name}")
    found, left_out = {}, []
    for name in spec.badnets:
        outcome = _find_badnet(search, spec, name, options[name])
        if isinstance(outcome, FoundBadNet):
            found[name] = outcome
        else:
            left_out.append(f"BadNet {name} is left out: {outcome}")
            _tell(report, left_out[-1])
    if not found:
        raise problem(
            origin,
            f"nothing to import for track {spec.name}; expected the competition's folder, with models/*{WEIGHTS}, "
            f"models/*{NET} and data/*.h5; {'; '.join(left_out)}",
        )
    return found


def read_options(kind: type[Kind], options: dict[str, Any], spec: TrackSpec, where: str) -> Kind:
    """A table `options` of `track.toml`, checked; raises UserError."""
    try:
        return kind.model_validate(options)
    except ValidationError as error:
        raise UserError(f"track {spec.name}: options of {where}: {first_problem(error)}") from error


def _find_badnet(search: _Search, spec: TrackSpec, name: str, options: BadNetOptions) -> FoundBadNet | str:
    """The BadNet's files, or why it is not complete."""
    copies = search.weights.get(options.weights_sha256, [])
    if not copies:
        return f"no *{WEIGHTS} has the sha256 {options.weights_sha256[:8]}..."
    nets = {path: path.with_name(path.name.removesuffix(WEIGHTS) + NET) for path in copies}
    whole = [path for path in copies if nets[path].is_file()]
    if not whole:
        raise problem(
            copies[0],
            f"the weights of BadNet {name}, but {nets[copies[0]].name} is not beside; put the whole net there",
        )
    outcomes = [_find_data(search, spec, name, path, nets[path]) for path in whole]
    complete = [outcome for outcome in outcomes if isinstance(outcome, FoundBadNet)]
    return complete[0] if complete else f"{outcomes[0]}{options.remark and f' ({options.remark})'}"


def _find_data(search: _Search, spec: TrackSpec, name: str, weights: Path, net: Path) -> FoundBadNet | str:
    track = read_options(TrackOptions, spec.options, spec, "the track")
    validation, test = search.find(weights, track.validation), search.find(weights, track.test)
    if not validation or not test:
        return f"no {(track.test if validation else track.validation).described()}"
    poisoned, missing = {}, []
    triggers = spec.badnets[name].triggers
    for trigger, trigger_spec in triggers.items():
        wanted = read_options(TriggerOptions, trigger_spec.options, spec, f"{name}.{trigger}")
        if file := search.find(weights, wanted):
            poisoned[trigger] = file
        else:
            missing.append(f"{trigger}: no {wanted.described()}")
    if triggers and not poisoned:
        return "; ".join(missing)
    notes = [f"{what}; this trigger is not part of the import" for what in missing]
    return FoundBadNet(name=name, net=net, validation=validation, test=test, poisoned=poisoned, notes=notes)


def _weights_files(origin: Path) -> Iterator[Path]:
    for count, (folder, folders, names) in enumerate(os.walk(origin)):
        if count >= MOST_FOLDERS:
            raise problem(origin, f"more than {MOST_FOLDERS:,} folders below; name the folder of the download itself")
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(folder, name) for name in names if name.endswith(WEIGHTS)):
            if path.is_file() and path.stat().st_size <= MOST_WEIGHTS_BYTES:
                yield path


def _tell(report: Report, text: str) -> None:
    report(harmless(text), 1, 1)
