"""How the processes of a sandbox are ended, all of them, and known to be gone."""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable

from harness.sandbox.watchdog import children, descendants

PATIENCE_SECONDS = 10.0

End = Callable[["subprocess.Popen[bytes]"], None]
"""Ends a process that was not waited for yet, and everything that it started."""


def end_namespace(process: "subprocess.Popen[bytes]") -> None:
    """End a process whose child is the first of a process namespace: with that one the kernel ends all the others.

    The first of a namespace is gone only when the others are.
    """
    handles = []
    for pid in children(process.pid):
        with contextlib.suppress(OSError):
            handles.append(os.pidfd_open(pid))
            signal.pidfd_send_signal(handles[-1], signal.SIGKILL)
    _kill(process)
    for handle in handles:
        waiting = select.poll()
        waiting.register(handle, select.POLLIN)
        waiting.poll(1000 * PATIENCE_SECONDS)
        os.close(handle)


def end_keeper(process: "subprocess.Popen[bytes]") -> None:
    """Have `keeper.py` end what it keeps; it goes last."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:  # it may be starved by what it is to end
        deadline = time.monotonic() + PATIENCE_SECONDS  # what has ended stays a descendant until the keeper looks at it
        while (left := descendants(process.pid)) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        _kill(process)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
