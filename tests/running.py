"""An evaluation in a process of its own, whose submission waits at a chosen place until it is let go, or killed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from harness.sandbox.watchdog import descendants
from tests.conftest import ROOT
from tests.test_evaluate import BACKDOORED

PATIENCE_SECONDS = 60
WAITING = "waiting"
WAITS = """
import ctypes, os, signal, time
let_go = []
signal.signal(signal.SIGUSR1, lambda *_: let_go.append(True))
def wait(where):
    if where == WHERE:
        ctypes.CDLL(None).prctl(15, b"waiting")  # PR_SET_NAME: seen from outside
    while where == WHERE and not let_go:
        time.sleep(0.02)
class Waiting(Predictor):
    def __init__(self, badnet):
        super().__init__(badnet)
        wait(f"{badnet.name} loads")
    def __call__(self, images):
        wait(f"{self.badnet.name} answers")
        return super().__call__(images)
"""


def write_waiting(write_submission: Callable[..., Path], name: str, where: str = "") -> Path:
    """A submission that does nothing, and waits where it is said: "<BadNet> loads" or "<BadNet> answers"."""
    code = f"WHERE = {where!r}\n{BACKDOORED}{WAITS}"
    return write_submission(name, 'kind = "predictor"\nentry = "p.py:Waiting"', **{"p.py": code})


class Running:
    """`badnet evaluate`, one BadNet after the other; ended with the block."""

    def __init__(self, folder: Path, track: Path, results: Path, *, program: str = "-m harness.cli") -> None:
        command = ["evaluate", folder, "--track", track, "--results", results, "--jobs", "1"]
        self.process = subprocess.Popen(
            [sys.executable, *program.split(), *map(str, command)], cwd=ROOT, start_new_session=True,
            stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def workers(self) -> list[int]:
        """All processes below this one."""
        return descendants(self.process.pid)

    def waiting(self) -> int:
        """Wait until the submission waits; the process that does."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := self._waiting():
                return found[0]
            time.sleep(0.05)
        raise AssertionError(f"never came to the place: {self.process.poll()}")

    def ended(self) -> tuple[int, str]:
        """Have the submission go on wherever it waits; the exit code, and what was said on the way."""
        while self.process.poll() is None:
            for pid in self._waiting():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGUSR1)
            time.sleep(0.05)
        return self.process.returncode, self.process.communicate()[1]

    def _waiting(self) -> list[int]:
        return [pid for pid in self.workers() if name_of(pid) == WAITING]


def name_of(pid: int) -> str:
    """What a process calls itself; nothing where it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
