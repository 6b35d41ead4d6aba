"""The process that runs one script for image after image, seen from the worker."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from harness.worker.scripts.process import Call, Ran, tail


class WarmEndedError(Exception):
    """The process is gone, or no longer speaks: what it was asked is unanswered."""


class WarmProcess:
    """`python -m harness.worker.warm`, asked over two pipes with a line of JSON for each run."""

    def __init__(self, environment: Mapping[str, str], desk: Path, seed: int) -> None:
        """Start it; imports are paid for by the first run."""
        self._desk = desk
        requests, ours = os.pipe()
        theirs, replies = os.pipe()
        code = str(Path(__file__).resolve().parents[3])
        path = os.pathsep.join([code, *filter(None, [environment.get("PYTHONPATH", "")])])
        command = [sys.executable, "-m", "harness.worker.warm", str(requests), str(replies), str(seed)]
        self._process = subprocess.Popen(
            command, env={**environment, "PYTHONPATH": path, "WARM_PYTHONPATH": environment.get("PYTHONPATH", "")},
            pass_fds=(requests, replies), stdin=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(requests)
        os.close(replies)
        self._requests = os.fdopen(ours, "w", encoding="utf-8")
        self._replies = os.fdopen(theirs, encoding="utf-8")

    def run(self, call: Call) -> Ran:
        """Run the script once; raises WarmEndedError where the process ended with it."""
        printed, errors = self._desk / "printed.txt", self._desk / "errors.txt"
        request = {
            "command": list(call.command), "cwd": str(call.cwd), "folder": str(call.folder), "stdin": call.stdin,
            "printed": str(printed), "errors": str(errors),
        }  # fmt: skip
        try:
            self._requests.write(json.dumps(request) + "\n")
            self._requests.flush()
            reply = self._replies.readline()
            status = int(json.loads(reply)["status"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=1)  # how it ended is worth telling
            self.end()
            raise WarmEndedError(f"ended with exit code {self._process.returncode}") from error
        return Ran(status, tail(printed), tail(errors))

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._replies):
            with contextlib.suppress(OSError):  # what was not sent yet cannot be sent any more
                pipe.close()
