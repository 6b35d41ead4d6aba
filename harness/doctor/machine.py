"""Whether the machine is large enough: cores, memory, disk; and what else it has."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.doctor.finding import Finding
from harness.sandbox.gpu import gpu_names
from harness.sandbox.limits import GIB, Limits

SUBJECT = "machine"
ROOT = Path(__file__).resolve().parents[2]
NEEDED_MEMORY = 3 * GIB
"""A worker with TensorFlow takes about 1 GiB, two are examined side by side, and the host takes little."""
NEEDED_DISK = 2 * GIB
OLDEST_PYTHON = (3, 11)


def findings() -> Iterator[Finding]:
    """Cores, memory, disk, interpreter, GPUs."""
    yield Finding("ok", f"{platform.system()} {platform.release()}, {platform.machine()}")
    yield python(sys.version_info[:2])
    yield Finding("ok", f"{len(os.sched_getaffinity(0))} cores")
    yield memory(Path("/proc/meminfo").read_text())
    for folder in dict.fromkeys((ROOT, Path(tempfile.gettempdir()))):
        yield disk(folder, shutil.disk_usage(folder).free)
    names = gpu_names()
    yield Finding("ok", f"GPU: {', '.join(names)}; used with --gpu" if names else "no NVIDIA GPU; none is needed")


def python(version: tuple[int, ...]) -> Finding:
    """The interpreter's version."""
    words = f"Python {'.'.join(map(str, version))}"
    if version < OLDEST_PYTHON:
        return Finding("error", f"{words} is too old", "install Python 3.11 or newer: make PYTHON=python3.12 setup")
    return Finding("ok", words)


def memory(meminfo: str) -> Finding:
    """What is free now, beside what two workers need."""
    amounts = {line.split(":")[0]: 1024 * int(line.split()[1]) for line in meminfo.splitlines() if " kB" in line}
    free, limit = amounts.get("MemAvailable", 0), Limits().memory_bytes
    words = f"{free / GIB:.1f} GiB of {amounts.get('MemTotal', 0) / GIB:.1f} GiB memory are free"
    if free < NEEDED_MEMORY:
        return Finding("warning", f"{words}; two workers need {NEEDED_MEMORY / GIB:g}", "close programs, or --jobs 1")
    if free < limit:
        return Finding("warning", f"{words}; a submission may use {limit / GIB:g}", f"--memory {free / GIB / 2:.1f}")
    return Finding("ok", words)


def disk(folder: Path, free: int) -> Finding:
    """What is free on the disk of a folder."""
    words = f"{free / GIB:.1f} GiB are free for {folder}"
    return Finding("ok", words) if free >= NEEDED_DISK else Finding("warning", words, "free some space")
