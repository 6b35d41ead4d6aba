"""`badnet doctor`: is this machine fit to examine strangers' submissions, and what is to be done where it is not.

One file of this folder for each subject, found by its place, with `SUBJECT` and `findings() -> Iterator[Finding]`.
"""

import importlib
from collections.abc import Iterator
from pkgutil import iter_modules

from harness.doctor.finding import Finding

SUPPORT = {"finding"}


def subjects() -> list[str]:
    """The subjects of this folder, in alphabetical order."""
    return sorted(module.name for module in iter_modules(__path__) if module.name not in SUPPORT)


def examine() -> Iterator[tuple[str, Finding]]:
    """Every finding with its subject, as soon as it is known."""
    for name in subjects():
        module = importlib.import_module(f"{__name__}.{name}")
        for finding in module.findings():
            yield module.SUBJECT, finding
