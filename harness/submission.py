"""Submissions: `submissions/<name>/submission.toml`, read and checked without opening any model file."""

import stat
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.digests import digest_folder
from harness.errors import UserError
from harness.folders import is_odd, list_folder, refuse_leaving_links
from harness.toml_files import read_toml
from harness.track import Name
from harness.wording import did_you_mean, first_problem, harmless, one_of
from harness.worker.kinds import find_kind, kind_names

FILE = "submission.toml"


class SubmissionSpec(BaseModel):
    """What every `submission.toml` states; all other top-level keys are defaults for the tables of its BadNets."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: Name
    authors: list[str] = []
    description: str = ""
    kind: str
    track: Name = "faces"
    batch_mode: bool = False
    """Declares that answers depend on the other images of a batch."""
    stochastic: bool = False
    """Declares that the same image may get another answer the next time."""
    badnets: dict[str, dict[str, Any]] = {}


class Submission:
    """A submission as its author describes it."""

    def __init__(self, folder: Path) -> None:
        """Read `folder/submission.toml`; raises UserError that names the file, the key and the fix.

        So does a folder that holds more than plain files and links within it, or too many or too large ones.
        """
        self.folder = folder
        self.path = folder / FILE
        if is_odd(str(folder)):
            raise UserError(f"{harmless(str(folder), 200)!r}: a name with unprintable characters; rename the folder")
        if not folder.is_dir():
            near = did_you_mean(folder.name, [p.parent.name for p in folder.parent.glob(f"*/{FILE}")])
            raise UserError(f"{folder}: no such folder; {near}")
        self._listing = list_folder(folder, caches=True)
        refuse_leaving_links(folder, self._listing)
        self.spec = _read(folder)
        self._kind = find_kind(self.spec.kind)

    @property
    def name(self) -> str:
        """[a-z0-9_-]{1,64}; the name of its records."""
        return self.spec.name

    @property
    def is_live_defense(self) -> bool:
        """Whether it repairs in the sandbox, so that its loading time is repair time."""
        return self.spec.kind == "defense"

    @cached_property
    def digest(self) -> str:
        """One sha256 over all files of the folder as they were when it was opened; raises UserError as `refuse_change` does."""
        digest = digest_folder(self.folder, caches=True)
        self.refuse_change()
        return digest

    def refuse_change(self) -> None:
        """Raise UserError where a file was touched since the submission was opened: what was asked is not what is there."""
        now = list_folder(self.folder, caches=True)
        changed = [name for name in {**self._listing, **now} if self._listing.get(name) != now.get(name)]
        if changed:
            raise UserError(f"{self.folder}: {changed[0]!r} was changed while it was examined; evaluate it again")

    def tables(self, badnets: Iterable[str]) -> dict[str, BaseModel]:
        """The checked options for each of the track's BadNets that the submission answers for.

        A kind that can answer for any BadNet needs no tables, and answers for those without one unless what it must
        state stands in the others' tables alone. Raises UserError for a BadNet that the track does not have, an unknown
        or wrong key, and a file that is missing, empty or outside the folder.
        """
        known = list(badnets)
        for name in self.spec.badnets:
            if name not in known:
                raise UserError(
                    f"{self.path}: badnets.{harmless(name, 60)}: track {self.spec.track!r} has no such BadNet; "
                    f"{did_you_mean(name, known)}"
                )
        if not self.spec.badnets and self._kind.NEEDS_TABLES:
            raise UserError(f"{self.path}: no [badnets.<name>] table; write one for each of {', '.join(known)}")
        answered = self.spec.badnets if self._kind.NEEDS_TABLES or self._stated_by_tables() else known
        return {name: self._options(name) for name in known if name in answered}

    def _stated_by_tables(self) -> bool:
        needed = {key for key, field in self._kind.Options.model_fields.items() if field.is_required()}
        return bool(self.spec.badnets) and not needed <= (self.spec.model_extra or {}).keys()

    def _options(self, badnet: str) -> BaseModel:
        given = {**(self.spec.model_extra or {}), **self.spec.badnets.get(badnet, {})}
        try:
            options: BaseModel = self._kind.Options.model_validate(given)
        except ValidationError as error:
            keys = list(self._kind.Options.model_fields)
            key = str(error.errors()[0]["loc"][0]) if error.errors()[0]["loc"] else ""
            hint = f"; {did_you_mean(key, keys)}" if key not in keys else ""
            raise UserError(f"{self.path}: badnets.{badnet}: {first_problem(error)}{hint}") from error
        for key, name in self._kind.files(options).items():
            self._check_file(f"badnets.{badnet}.{key}", name)
        return options

    def _check_file(self, key: str, name: str) -> None:
        path = self.folder / name
        try:
            inside = path.resolve().is_relative_to(self.folder.resolve())
            status = path.stat()
        except (OSError, ValueError):  # ValueError: a name that no file can have
            suffix = PurePosixPath(name).suffix
            there = [other for other in self._listing if PurePosixPath(other).suffix == suffix]
            raise UserError(
                f"{self.path}: {key}: no file {harmless(name, 200)!r} in {self.folder}; {did_you_mean(name, there[:20])}"
            ) from None
        if not inside:
            raise UserError(
                f"{self.path}: {key}: {harmless(name)!r} is outside the submission's folder; copy it inside"
            )
        if stat.S_ISREG(status.st_mode) and status.st_size == 0:
            raise UserError(f"{self.path}: {key}: {harmless(name)!r} is empty; put the file there again")


def _read(folder: Path) -> SubmissionSpec:
    path = folder / FILE
    if not path.exists():
        raise UserError(f"{folder}: has no {FILE}; `badnet new NAME --kind KIND` writes one to begin from")
    try:
        spec = SubmissionSpec.model_validate(read_toml(path))
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}") from error
    if spec.kind not in kind_names():
        raise UserError(f"{path}: kind: no such kind {harmless(spec.kind, 60)!r}; {one_of(kind_names())}")
    return spec
