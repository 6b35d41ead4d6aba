"""A control group for one worker, where version 2 is delegated to this process: the kernel then counts for itself.

Elsewhere the watchdog is alone: it looks ten times a second, so that a tree may pass a limit for a tenth of a second.
https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

import contextlib
import itertools
import os
import shlex
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

from harness.errors import MachineError
from harness.sandbox.limits import SHARED_MEMORY, Limits

MOUNT = Path("/sys/fs/cgroup")
NEEDED = ("memory", "pids")
HOME = "badnet-host"
"""The group below the delegated one into which this process moves, as only groups without processes have others."""
PATIENCE = 20
_numbers = itertools.count()


class Cgroup(NamedTuple):
    """A group below the one that this process was given."""

    folder: Path
    limits: Limits

    @classmethod
    def make(cls, limits: Limits) -> Self | None:
        """A new, empty group with these limits; None where no group is delegated."""
        parent = delegated()
        if parent is None:
            return None
        made = cls(parent / f"badnet-{os.getpid()}-{next(_numbers)}", limits)
        try:
            made._set_up()
        except OSError as error:
            made.remove()
            raise MachineError(f"{made.folder}: no control group can be made there ({error.strerror})") from error
        return made

    def _set_up(self) -> None:
        self.folder.mkdir()
        # Files in the private /tmp count as memory here.
        self._write("memory.max", self.limits.memory_bytes + self.limits.scratch_bytes + SHARED_MEMORY)
        with contextlib.suppress(OSError):  # a system without swap has no such file
            self._write("memory.swap.max", 0)
        self._write("memory.oom.group", 1)
        self._write("pids.max", self.limits.processes)

    @property
    def joining(self) -> str:
        """The shell command that brings a process, and all that it starts later, into the group."""
        return f"echo 0 > {shlex.quote(str(self.folder / 'cgroup.procs'))}"

    @property
    def exceeded(self) -> str:
        """Which limit the kernel ended a process for, in words; empty where there is none."""
        with contextlib.suppress(OSError, ValueError):
            events = dict(line.split() for line in (self.folder / "memory.events").read_text().splitlines())
            if int(events.get("oom_kill", 0)):
                return self.limits.memory_exceeded
        return ""

    def remove(self) -> None:
        """End what is left in the group, and the group."""
        with contextlib.suppress(OSError):  # older kernels have no such file
            self._write("cgroup.kill", 1)
        for _ in range(PATIENCE):  # what has just been ended takes a moment to leave
            try:
                self.folder.rmdir()
            except OSError:
                time.sleep(0.05)
            else:
                return

    def _write(self, name: str, value: int) -> None:
        (self.folder / name).write_text(f"{value}\n")


def _is_handed_over(group: Path) -> bool:
    """Whether systemd marked the group as somebody's own; root could write to all others too."""
    marks = [name for name in os.listxattr(group) if name in ("user.delegate", "trusted.delegate")]
    return any(os.getxattr(group, name) == b"1" for name in marks)


@cache
def delegated(mount: Path = MOUNT, own: Path = Path("/proc/self/cgroup")) -> Path | None:
    """The group in which this process may make others that count memory and processes; None where there is none.

    Only groups without processes may hand controllers on, so that this process moves into one of its own first.
    """
    try:
        path = next(line[3:] for line in own.read_text().splitlines() if line.startswith("0::"))
        parent = mount / path.lstrip("/").removesuffix(f"/{HOME}")
        available = (parent / "cgroup.controllers").read_text().split()
        if not set(NEEDED) <= set(available) or not _is_handed_over(parent):
            return None
        home = parent / HOME
        home.mkdir(exist_ok=True)
        for pid in (parent / "cgroup.procs").read_text().split():
            (home / "cgroup.procs").write_text(pid)
        (parent / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in NEEDED))
    except (OSError, StopIteration):
        return None
    return parent
