"""The memory of a command and of everything that it starts, together."""

import contextlib
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

SAMPLE_SECONDS = 0.05


class Run(NamedTuple):
    """What came of one command."""

    seconds: float
    peak_bytes: int
    """Resident memory of all its processes at one moment; what two of them share is counted twice."""
    exit_code: int
    output: str
    """Standard output and standard error."""


def watched(command: Sequence[str], *, directory: Path, log: Path) -> Run:
    """Run a command, its output into `log`, and add up the memory of its processes twenty times a second."""
    start, peak = time.perf_counter(), 0
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=directory, stdout=output, stderr=subprocess.STDOUT)
        try:
            root = psutil.Process(process.pid)
            while process.poll() is None:
                peak = max(peak, tree_bytes(root))
                time.sleep(SAMPLE_SECONDS)
        finally:
            process.kill()
            process.wait()
    return Run(time.perf_counter() - start, peak, process.returncode, log.read_text())


def tree_bytes(root: psutil.Process) -> int:
    """Resident bytes of a process and its descendants, added up."""
    total = 0
    with contextlib.suppress(psutil.Error):
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
    return total
