"""A running worker: two pipes, a capped log, a memory watchdog, and an end that leaves nothing behind."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from fcntl import fcntl
from pathlib import Path

from harness.errors import MachineError
from harness.protocol import Channel
from harness.sandbox.limits import Limits

F_SETPIPE_SZ = 1031
PIPE_BYTES = 1024 * 1024
WATCH_SECONDS = 0.1
PAGE = os.sysconf("SC_PAGE_SIZE")


class SandboxedProcess:
    """A worker in its own session; `channel` speaks to it, `close()` ends it and everything that it started."""

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], limits: Limits, directory: str | None,
        scratch: Path | None = None,
    ) -> None:  # fmt: skip
        """Start `command`; raises MachineError where that cannot be done. scratch: a folder to remove at the end."""
        self._scratch = scratch
        try:
            self._process = subprocess.Popen(
                command, env=dict(environment), cwd=directory, start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            raise MachineError(f"{command[0]}: cannot be started ({error})") from error
        assert self._process.stdin and self._process.stdout and self._process.stderr
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # a system may allow less; the default works too
                fcntl(pipe.fileno(), F_SETPIPE_SZ, PIPE_BYTES)
        self.channel = Channel(self._process.stdout.fileno(), self._process.stdin.fileno())
        self.peak_memory = 0
        self.out_of_memory = False
        self._limits = limits
        self._head = bytearray()
        self._tail = bytearray()
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=target, daemon=True) for target in (self._drain_log, self._watch_memory)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> int | None:
        """End the worker and its children; returns its exit status (negative for a signal), None if it had to be ended."""
        ended_by_itself = self._wait(0.0)
        self.kill()
        self._process.wait()
        self._closed.set()
        for thread in self._threads:
            thread.join(timeout=2)
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()
        return ended_by_itself

    def kill(self) -> None:
        """End the worker and its children at once; `close` still has to be called."""
        for pid in reversed(descendants(self._process.pid)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if self._process.poll() is None:  # else its number may already belong to another process
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def ended(self, seconds: float) -> int | None:
        """Wait up to `seconds` for the worker to end by itself; its exit status, or None."""
        return self._wait(seconds)

    @property
    def log(self) -> str:
        """What the worker printed, without control characters: the beginning and the end, `log_bytes` together."""
        gap = b"\n[...]\n" if self._tail else b""
        text = bytes(self._head + gap + self._tail).decode("utf-8", errors="replace")
        return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)

    def _wait(self, seconds: float) -> int | None:
        try:
            return self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None

    def _drain_log(self) -> None:
        assert self._process.stderr
        half = self._limits.log_bytes // 2
        with contextlib.suppress(OSError, ValueError):
            while chunk := os.read(self._process.stderr.fileno(), 65536):
                room = max(0, half - len(self._head))
                self._head += chunk[:room]
                self._tail += chunk[room:]
                del self._tail[:-half]

    def _watch_memory(self) -> None:
        while not self._closed.wait(WATCH_SECONDS):
            total = sum(resident_bytes(pid) for pid in [self._process.pid, *descendants(self._process.pid)])
            self.peak_memory = max(self.peak_memory, total)
            if total > self._limits.memory_bytes:
                self.out_of_memory = True
                self.kill()


def descendants(pid: int) -> list[int]:
    """The process ids of all children of `pid`, and theirs, parents first."""
    found = []
    with contextlib.suppress(OSError, ValueError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def resident_bytes(pid: int) -> int:
    """The resident memory of one process; 0 where it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError, ValueError):
        return 0
