"""Formats of model files: one file of this folder each, found by its name. A file that starts with "_" is no format.

A format's file has `DESCRIPTION` (one line), `ENDINGS` of its files, `MARK` (the file by which a folder of this format
is known, None where the format is a file) and `load`. All formats are imported to find one, so that none may import
TensorFlow, torch or h5py before `load` runs.
"""

import importlib
import pkgutil
from pathlib import Path
from typing import Protocol, cast

from harness.models.classifier import Classifier
from harness.models.errors import ModelError
from harness.models.settings import ModelSettings


class Format(Protocol):
    """What every module of this folder has."""

    DESCRIPTION: str
    ENDINGS: tuple[str, ...]
    MARK: str | None

    def load(self, path: Path, settings: ModelSettings, /) -> Classifier:
        """Read the model, which exists, as a predictor; raises ModelError."""


def all_formats() -> dict[str, Format]:
    """All formats by their file's name, in alphabetical order."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__) if not found.name.startswith("_"))
    return {name: cast(Format, importlib.import_module(f"{__name__}.{name}")) for name in names}


def find_format(path: Path) -> Format:
    """The format of a file by its ending, of a folder by its mark; raises ModelError where there is none."""
    if not path.exists():
        raise ModelError(f"{path.name}: no such file; check the path in submission.toml")
    found = all_formats().values()
    marks = [known.MARK for known in found if known.MARK]
    ending = path.suffix.lower()
    if path.is_dir():
        for known in found:
            if known.MARK and (path / known.MARK).is_file():
                return known
        fix = "; a model with this ending is one file" if any(ending in known.ENDINGS for known in found) else ""
        raise ModelError(f"{path.name}: a folder without {' or '.join(marks)}, so no model{fix}")
    if path.name in marks:
        raise ModelError(f"{path.name}: a part of a model only; name the folder that it stands in, with all its files")
    for known in found:
        if ending in known.ENDINGS:
            return known
    endings = ", ".join(ending for known in found for ending in known.ENDINGS)
    raise ModelError(
        f"{path.name}: no reader for the ending {ending!r}; known are {endings}, and a folder with {' or '.join(marks)}"
    )
