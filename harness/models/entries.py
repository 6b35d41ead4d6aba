"""Names of code as a submission states them: "predict.py:Predictor" or "package.module:Name"."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.models.errors import ModelError, in_one_line
from harness.wording import did_you_mean


def entry_file(entry: str) -> str | None:
    """The relative path that an entry names, None where it names an importable module."""
    place, _, _ = entry.partition(":")
    return place if place.endswith(".py") else None


def load_entry(entry: str, root: Path | None) -> Any:
    """The object that `entry` names; the submission folder `root` (and the file's own folder) come first on sys.path.

    Raises ModelError (stage "import") for a missing file or module, code that fails, and an undefined name.
    """
    place, colon, name = entry.partition(":")
    if not (place and colon and name):
        raise ModelError(f'entry {entry!r}: expected "file.py:Name" or "package.module:Name"', stage="import")
    module = _run_file(place, root) if place.endswith(".py") else _import_module(place, root)
    try:
        return getattr(module, name)
    except AttributeError:
        own = [word for word, value in vars(module).items() if not word.startswith("_") and callable(value)]
        raise ModelError(f"{place}: defines no {name!r}; {did_you_mean(name, own)}", stage="import") from None


def call_with_outputs(build: Callable[..., Any], outputs: int, entry: str) -> Any:
    """Call a net's class or builder with its number of outputs, or with nothing where it takes no such argument.

    The number goes to a parameter called `classes`, else to the only required one. Raises ModelError.
    """
    try:
        parameters = inspect.signature(build).parameters
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        required = [p for p in parameters.values() if p.default is p.empty and p.kind in positional]
        if "classes" in parameters:
            return build(classes=outputs)
        return build(outputs) if len(required) == 1 else build()
    except Exception as error:  # strangers' code may raise anything
        raise ModelError(f"{entry}: building the net failed ({in_one_line(error)})", stage="construct") from error


def make_importable(folder: Path) -> None:
    """Put a folder first on sys.path, so that its modules are found."""
    text = str(folder.resolve())
    if text in sys.path:
        sys.path.remove(text)
    sys.path.insert(0, text)


def _run_file(place: str, root: Path | None) -> ModuleType:
    if root is None:
        raise ModelError(f"{place}: there is no submission folder to find it in", stage="import")
    path = (root / place).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ModelError(f"{place}: lies outside the submission folder; use a path inside it", stage="import")
    if not path.is_file():
        there = sorted(str(p.relative_to(root)) for p in root.glob("*.py"))
        raise ModelError(f"{place}: no such file in the submission; {did_you_mean(place, there)}", stage="import")
    make_importable(root)
    make_importable(path.parent)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{place}: cannot be read as Python", stage="import")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses and pickles look their module up by name
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[path.stem]
        raise ModelError(f"{place}: importing it failed ({in_one_line(error)})", stage="import") from error
    return module


def _import_module(place: str, root: Path | None) -> ModuleType:
    if root is not None:
        make_importable(root)
    try:
        return importlib.import_module(place)
    except Exception as error:
        raise ModelError(f"{place}: importing it failed ({in_one_line(error)})", stage="import") from error
