"""What a tree of processes uses, looked at ten times a second, and the first limit that it passes."""

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from harness.sandbox.limits import GIB, Limits

LOOK_SECONDS = 0.1
LOOKS_A_FOLDER = 10
"""A folder of scratch files is measured once in so many looks."""
PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")
MOST_PROCESSES = 10_000
"""Nobody counts further."""


class Usage(NamedTuple):
    """Of a process and all its descendants: how many processes and threads, bytes, seconds of processor time."""

    tasks: int = 0
    resident_bytes: int = 0
    cpu_seconds: float = 0.0

    def exceeded(self, limits: Limits) -> str:
        """The limit that is passed, in words; empty where there is none."""
        if self.tasks > limits.processes:  # first: what processes share is counted as the memory of each
            return f"ran more than {limits.processes} processes and threads"
        if self.resident_bytes > limits.memory_bytes:
            return limits.memory_exceeded
        if self.cpu_seconds > limits.cpu_seconds:
            return f"used more than {limits.cpu_seconds:g} s of processor time"
        return ""


class Watchdog:
    """A thread that looks at a process and its descendants until `stop`; calls `end` once a limit is passed."""

    def __init__(self, pid: int, limits: Limits, scratch: Path | None, end: Callable[[], None]) -> None:
        """scratch: a folder on the host's own disk, whose size nothing else bounds."""
        self.peak_memory = 0
        self.exceeded = ""
        """Which limit was passed, in words."""
        self._pid, self._limits, self._scratch, self._end = pid, limits, scratch, end
        self._free_at_first = self._free()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        self._thread.join(timeout=2)

    def _watch(self) -> None:
        looks = 0
        while not self._stopped.wait(LOOK_SECONDS):
            used, looks = usage(self._pid), looks + 1
            self.peak_memory = max(self.peak_memory, used.resident_bytes)
            self.exceeded = used.exceeded(self._limits)
            if not self.exceeded and looks % LOOKS_A_FOLDER == 0:
                self.exceeded = self._files_exceeded()
            if self.exceeded:
                self._end()
                return

    def _free(self) -> int:
        return shutil.disk_usage(self._scratch).free if self._scratch else 0

    def _files_exceeded(self) -> str:
        most = self._limits.scratch_bytes
        if self._scratch is None or not self._scratch.exists():
            return ""
        # Files that were removed and are still open are in no folder, but on the disk.
        if folder_bytes(self._scratch, most) <= most and self._free() >= min(self._free_at_first // 2, 2 * most):
            return ""
        return f"wrote more than {most / GIB:.3g} GiB of files"


def usage(pid: int) -> Usage:
    """What a process and its descendants use; processes that end meanwhile count as far as they were seen."""
    tasks, pages, ticks = 0, 0, 0
    for seen, process in enumerate(family(pid)):
        # After the name, which may hold anything: 11-14 are times, 17 the threads, 21 the resident pages.
        fields = _read(f"/proc/{process}/stat").rpartition(")")[2].split()
        if len(fields) > 21:
            tasks += int(fields[17])
            pages += int(fields[21])
            ticks += sum(map(int, fields[11:15]))
        if seen > MOST_PROCESSES:
            break
    return Usage(tasks, pages * PAGE, ticks / TICK)


def family(pid: int) -> Iterator[int]:
    """A process and all its descendants, parents first."""
    waiting = [pid]
    while waiting:
        yield (current := waiting.pop())
        waiting += children(current)


def descendants(pid: int) -> list[int]:
    """The process ids of all children of `pid`, and theirs, parents first."""
    return list(family(pid))[1:]


def children(pid: int) -> list[int]:
    """The process ids of the children of `pid`."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, _read(f"/proc/{pid}/task/{task}/children").split())
    return found


def folder_bytes(folder: Path, enough: int) -> int:
    """The bytes on disk of all files below a folder, counted until there are more than enough; links are not followed.

    A folder that cannot be listed, or lies too deep for a path, is taken for more than enough.
    """
    total, waiting = 0, [str(folder)]
    while waiting and total <= enough:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        total += 512 * entry.stat(follow_symlinks=False).st_blocks
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
        except FileNotFoundError:
            continue
        except OSError:
            return enough + 1
    return total


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
