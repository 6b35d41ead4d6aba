"""What a script finds when it imports Keras: one file of this folder each, found by its name.

A runtime has `ENVIRONMENT` (variables to set), `FOLDERS` (put first on the module path), `NEEDS` (modules that must be
there) and `FIX` (what to install where they are not).
"""

import importlib
import importlib.util
import pkgutil
from pathlib import Path
from typing import Protocol, cast

from harness.models.errors import ModelError


class Runtime(Protocol):
    """What every module of this folder has."""

    ENVIRONMENT: dict[str, str]
    FOLDERS: list[Path]
    NEEDS: tuple[str, ...]
    FIX: str


def runtime_names() -> list[str]:
    """The names of all runtimes, in alphabetical order."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__) if not found.ispkg)


def find_runtime(name: str) -> Runtime:
    """The runtime called `name`, one of `runtime_names()`; raises ModelError where its modules are not installed."""
    runtime = cast(Runtime, importlib.import_module(f"{__name__}.{name}"))
    for module in runtime.NEEDS:
        if importlib.util.find_spec(module) is None:
            raise ModelError(f'runtime = "{name}" needs the module {module!r}, which is not installed; {runtime.FIX}')
    return runtime
