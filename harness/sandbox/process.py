"""A running worker: two pipes, a capped log, a watchdog, and an end that leaves nothing behind."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from fcntl import fcntl
from pathlib import Path

from harness.errors import MachineError
from harness.protocol import Channel
from harness.sandbox.cgroup import Cgroup
from harness.sandbox.ending import End
from harness.sandbox.limits import Limits
from harness.sandbox.watchdog import Watchdog

F_SETPIPE_SZ = 1031
PIPE_BYTES = 1024 * 1024
FIRST_TO_GO = "{ echo 1000 > /proc/self/oom_score_adj; } 2> /dev/null"
"""Where the machine's memory runs out all the same, the kernel ends the submission and not the host."""


class SandboxedProcess:
    """A worker in its own session; `channel` speaks to it, `close()` ends it and everything that it started."""

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], limits: Limits, end: End,
        directory: str | None = None, scratch: Path | None = None, handles: Sequence[int] = (),
    ) -> None:  # fmt: skip
        """Start `command`; raises MachineError where that cannot be done.

        end: how it and all that it started are ended. scratch: a folder of the host that it may write to, whose size is
        watched. handles: descriptors that it inherits.
        """
        self._end, self._limits = end, limits
        self._cgroup = Cgroup.make(limits)
        joining = f"{self._cgroup.joining} && " if self._cgroup else ""
        begin = ("/bin/sh", "-c", f'{FIRST_TO_GO}; {joining}exec "$0" "$@"')
        try:
            self._process = subprocess.Popen(
                [*begin, *command], env=dict(environment), cwd=directory, start_new_session=True, pass_fds=handles,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            if self._cgroup:
                self._cgroup.remove()
            raise MachineError(f"{command[0]}: cannot be started ({error})") from error
        assert self._process.stdin and self._process.stdout and self._process.stderr
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # a system may allow less; the default works too
                fcntl(pipe.fileno(), F_SETPIPE_SZ, PIPE_BYTES)
        self.channel = Channel(self._process.stdout.fileno(), self._process.stdin.fileno())
        self._head = bytearray()
        self._tail = bytearray()
        self._ending = threading.Lock()
        self._watchdog = Watchdog(self._process.pid, limits, scratch, self.kill)
        self._log_reader = threading.Thread(target=self._drain_log, daemon=True)
        self._log_reader.start()

    @property
    def peak_memory(self) -> int:
        """The most resident memory that the watchdog saw of all processes together, in bytes."""
        return self._watchdog.peak_memory

    @property
    def exceeded(self) -> str:
        """Which limit was passed, in words; empty where none was."""
        return self._watchdog.exceeded or (self._cgroup.exceeded if self._cgroup else "")

    def close(self) -> int | None:
        """End the worker and its children; returns its exit status (negative for a signal), None if it had to be ended."""
        ended_by_itself = self.ended(0.0)
        self.kill()
        self._process.wait()
        self._watchdog.stop()
        self._log_reader.join(timeout=2)
        if self._cgroup:
            self._cgroup.remove()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()
        return ended_by_itself

    def kill(self) -> None:
        """End the worker and its children at once; `close` still has to be called."""
        with self._ending:
            if self._process.poll() is None:  # else its number may already belong to another process
                self._end(self._process)

    def ended(self, seconds: float) -> int | None:
        """Wait up to `seconds` for the worker to end by itself; its exit status, or None."""
        try:
            return self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None

    @property
    def log(self) -> str:
        """What the worker printed, without control characters: the beginning and the end, `log_bytes` together."""
        gap = b"\n[...]\n" if self._tail else b""
        text = bytes(self._head + gap + self._tail).decode("utf-8", errors="replace")
        return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)

    def _drain_log(self) -> None:
        assert self._process.stderr
        half = self._limits.log_bytes // 2
        with contextlib.suppress(OSError, ValueError):
            while chunk := os.read(self._process.stderr.fileno(), 65536):
                room = max(0, half - len(self._head))
                self._head += chunk[:room]
                self._tail += chunk[room:]
                del self._tail[:-half]
