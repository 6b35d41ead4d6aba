"""Submission kinds: one file of this folder each, found by its name. A file that starts with "_" is no kind.

A kind's file has `DESCRIPTION` (one line), `NEEDS_TABLES` (whether every BadNet needs its own table), `Options` (the
keys of a table), `files` (which files of the submission those options name) and `load`; it may have `asking` (see
`Asking`). The host reads all but `load`, so that no kind may import TensorFlow or torch before `load` runs, inside the
sandbox.
"""

import importlib
import pkgutil
from pathlib import Path
from typing import Any, Protocol, cast

from pydantic import BaseModel

from harness.models.contracts import BadNetView, Predictor, Progress
from harness.wording import did_you_mean
from harness.worker.kinds._asking import Asking


class Kind(Protocol):
    """What every module of this folder has."""

    DESCRIPTION: str
    NEEDS_TABLES: bool
    Options: type[BaseModel]

    def files(self, options: Any, /) -> dict[str, str]:
        """The files that the options name: key in the table -> path relative to the submission's folder."""

    def load(self, options: Any, badnet: BadNetView, root: Path, *, seed: int, progress: Progress) -> Predictor:
        """Make the predictor for one BadNet from the submission in the folder `root`; raises ModelError."""


def kind_names() -> list[str]:
    """The names of all kinds, in alphabetical order."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__) if not found.name.startswith("_"))


def find_kind(name: str) -> Kind:
    """The kind called `name`; raises KeyError with a suggestion where there is none."""
    if name not in kind_names():
        raise KeyError(f"no submission kind {name!r}; {did_you_mean(name, kind_names())}")
    return cast(Kind, importlib.import_module(f"{__name__}.{name}"))


def asking_of(name: str, options: BaseModel) -> Asking:
    """How the kind called `name` is to be asked with these options."""
    asking = getattr(find_kind(name), "asking", None)
    return asking(options) if asking else Asking()
