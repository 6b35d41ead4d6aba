"""A script as the real new process that its author starts for every image."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

PRINTED = 16 * 2**20
"""Bytes of output that are looked at, from the end."""
FULL_NUMPY = Path(__file__).resolve().parent / "full_numpy.py"


class Call(NamedTuple):
    """One run of a script: `command` is its path, relative to `cwd`, and its arguments; `folder` holds its modules."""

    command: Sequence[str]
    cwd: Path
    folder: Path
    stdin: str


class Ran(NamedTuple):
    """What came of it; a negative status is a signal."""

    status: int
    printed: str
    errors: str


def run(call: Call, environment: Mapping[str, str], desk: Path, *, full_numpy: int = 0) -> Ran:
    """Run a script in a process of its own; `desk` takes what it prints. full_numpy: values of an array that numpy prints."""
    start = [sys.executable, *([str(FULL_NUMPY), str(full_numpy)] if full_numpy else ())]
    printed, errors = desk / "printed.txt", desk / "errors.txt"
    with printed.open("wb") as out, errors.open("wb") as err:
        done = subprocess.run(
            [*start, *call.command], cwd=call.cwd, env=dict(environment), input=call.stdin.encode(), stdout=out, stderr=err,
            check=False,
        )  # fmt: skip
    return Ran(done.returncode, tail(printed), tail(errors))


def tail(path: Path) -> str:
    """The last bytes of a file, as text."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - PRINTED))
        return file.read().decode("utf-8", errors="replace")
