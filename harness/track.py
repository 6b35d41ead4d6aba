"""Tracks: `datasets/<track>/track.toml` (content), `manifest.json` (digests), `data/` (images made or imported at first use)."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.digests import digest_file, digest_json
from harness.errors import UserError
from harness.images import ImageSet
from harness.plain_files import read_plain
from harness.sitting import write_whole
from harness.toml_files import read_toml
from harness.wording import first_problem, harmless, one_of

DATASETS = Path(__file__).resolve().parent.parent / "datasets"
NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
MAX_MANIFEST = 16 * 1024**2


def _inside(path: str) -> str:
    if not path.isprintable() or "\\" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError("must be a path inside the track's folder, with / between folders")
    return path


def _shown(text: str) -> str:
    return harmless(text)


Name = Annotated[str, Field(pattern=NAME)]
Words = Annotated[str, AfterValidator(_shown)]
"""For people; without characters that act on a terminal."""
InsidePath = Annotated[str, AfterValidator(_inside)]
"""A path relative to the track's folder, and within it."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TriggerSpec(_Strict):
    """One trigger of one BadNet, as `track.toml` states it."""

    target: int = Field(ge=0)
    options: dict[str, Any] = {}
    """For the source: how to find or make this poisoned set."""


class BadNetSpec(_Strict):
    """One BadNet of a track, as `track.toml` states it."""

    title: Words = ""
    model: InsidePath
    """Path of the model file, relative to the track's folder."""
    scale: float = 255.0
    """The net's input is the image divided by this: 255, or 1 for raw 0..255 input."""
    triggers: dict[Name, TriggerSpec] = {}
    """Empty for a clean twin."""
    options: dict[str, Any] = {}
    """For the source: how to find or make this BadNet."""


class TrackSpec(_Strict):
    """The whole of `track.toml`."""

    name: Name
    title: Words
    classes: int = Field(ge=2)
    shape: tuple[int, int, int]
    """Height, width, channels."""
    source: str
    """The module of `harness/sources/` that makes or imports the images."""
    options: dict[str, Any] = {}
    badnets: dict[Name, BadNetSpec] = Field(min_length=1)

    @model_validator(mode="after")
    def _targets_are_classes(self) -> "TrackSpec":
        for name, badnet in self.badnets.items():
            for trigger, spec in badnet.triggers.items():
                if spec.target >= self.classes:
                    raise ValueError(
                        f"badnets.{name}.triggers.{trigger}.target: {spec.target} is no class; 0..{self.classes - 1}"
                    )
        return self


class BadNetSets(_Strict):
    """Where a BadNet's files are, relative to the track's folder: written by the source into the manifest."""

    model: InsidePath
    validation: InsidePath
    test: InsidePath
    poisoned: dict[Name, InsidePath]
    """Trigger -> image set."""
    notes: list[Words] = []
    """What the source found worth telling: images without their trigger, values that were rounded."""


class Manifest(_Strict):
    """The digest of every file of a track, and which files belong to which BadNet."""

    badnets: dict[Name, BadNetSets]
    files: dict[InsidePath, str]
    """Path relative to the track's folder -> sha256."""


class PoisonedSet:
    """Test images that carry one trigger: where they are, and the target that the attacker wants."""

    def __init__(self, trigger: str, target: int, folder: Path) -> None:
        self.trigger = trigger
        self.target = target
        self.folder = folder

    @cached_property
    def images(self) -> ImageSet:
        """The set itself, images memory-mapped."""
        return ImageSet.load(self.folder)


class BadNet:
    """A backdoored classifier of a track, with its clean and poisoned sets: the host's view, answers included."""

    def __init__(self, name: str, spec: BadNetSpec, sets: BadNetSets, folder: Path) -> None:
        self.name = name
        self.spec = spec
        self.sets = sets
        self.model_path = folder / sets.model
        self.validation_path = folder / sets.validation
        self.test_path = folder / sets.test
        self.poisoned = {
            trigger: PoisonedSet(trigger, spec.triggers[trigger].target, folder / path)
            for trigger, path in sets.poisoned.items()
        }

    @property
    def is_clean_twin(self) -> bool:
        """A net without a backdoor: shown beside the score, never in it."""
        return not self.spec.triggers

    @cached_property
    def test(self) -> ImageSet:
        """Clean test images with their classes."""
        return ImageSet.load(self.test_path)


class Track:
    """A data set, its BadNets and their poisoned sets."""

    def __init__(self, folder: Path) -> None:
        """Read `track.toml`; raises UserError where it is missing or wrong."""
        self.folder = folder
        self.spec = _read_spec(folder / "track.toml")

    @property
    def name(self) -> str:
        """The track's name, [a-z0-9_-]."""
        return self.spec.name

    @property
    def classes(self) -> int:
        """N; the flag is N."""
        return self.spec.classes

    @property
    def manifest_path(self) -> Path:
        """Where the digests stand."""
        return self.folder / "manifest.json"

    @cached_property
    def manifest(self) -> Manifest:
        """Digests and sets; raises UserError where the track was not imported yet."""
        if not self.manifest_path.exists():
            raise UserError(f"track {self.name}: not imported yet; run `badnet track import {self.name} --from DIR`")
        try:
            manifest = Manifest.model_validate_json(read_plain(self.manifest_path, MAX_MANIFEST))
        except ValidationError as error:
            raise UserError(f"{self.manifest_path}: {first_problem(error)}; import or build the track again") from error
        for name, sets in manifest.badnets.items():
            for trigger in sets.poisoned:
                if name in self.spec.badnets and trigger not in self.spec.badnets[name].triggers:
                    raise UserError(
                        f"{self.manifest_path}: badnets.{name}.poisoned: track.toml has no trigger {trigger!r}; "
                        "import or build the track again"
                    )
        return manifest

    @cached_property
    def badnets(self) -> Mapping[str, BadNet]:
        """The BadNets whose files are here, in the order of `track.toml`."""
        return {
            name: BadNet(name, spec, self.manifest.badnets[name], self.folder)
            for name, spec in self.spec.badnets.items()
            if name in self.manifest.badnets
        }

    @cached_property
    def digest(self) -> str:
        """One sha256 over the specification and all files' digests: two tracks with the same digest ask the same exam."""
        return digest_json({"spec": self.spec.model_dump(), "manifest": self.manifest.model_dump()})

    def changed_files(self) -> list[str]:
        """Files that are missing or differ from the manifest, as paths relative to the track's folder."""
        return [path for path, digest in self.manifest.files.items() if digest_file(self.folder / path) != digest]

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest."""
        write_whole(self.manifest_path, (json.dumps(manifest.model_dump(), indent=1) + "\n").encode())
        for name in ("manifest", "badnets", "digest"):
            self.__dict__.pop(name, None)


def find_track(name: str) -> Track:
    """The track of that name in `datasets/`, or in the folder of that path; raises UserError."""
    folder = Path(name)
    if not (folder / "track.toml").exists():
        folder = DATASETS / name
    if not (folder / "track.toml").exists():
        raise UserError(
            f"track {name!r}: no such track; {one_of(track_names())}, or the path of a folder with a track.toml"
        )
    return Track(folder)


def track_names() -> list[str]:
    """The tracks in `datasets/`."""
    return sorted(path.parent.name for path in DATASETS.glob("*/track.toml"))


def _read_spec(path: Path) -> TrackSpec:
    try:
        return TrackSpec.model_validate(read_toml(path))
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}") from error
