"""Starts a command below `keeper.py`, for sandboxes without a process namespace."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.sandbox.ending import end_keeper
from harness.sandbox.limits import Limits
from harness.sandbox.process import SandboxedProcess

KEEPER = Path(__file__).with_name("keeper.py")


def start_kept(
    command: Sequence[str], confine: Mapping[str, Any] | None, *, environment: Mapping[str, str], limits: Limits,
    scratch: Path, directory: str | None = None,
) -> SandboxedProcess:  # fmt: skip
    """Start a command whose processes all end with it; `confine` is described in `keeper.py`. Raises MachineError."""
    specification = json.dumps({"parent": os.getpid(), "folder": str(scratch), "confine": confine})
    keeper = [sys.executable, "-I", "-S", str(KEEPER), specification]
    return SandboxedProcess(
        [*keeper, *command],
        environment=environment,
        limits=limits,
        end=end_keeper,
        directory=directory,
        scratch=scratch,
    )
