"""Where submissions run: the Sandbox contract, one file per sandbox, chosen by name and never exchanged silently."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from pkgutil import iter_modules
from typing import Protocol

from harness.errors import UserError
from harness.sandbox.limits import Limits
from harness.sandbox.process import SandboxedProcess
from harness.wording import did_you_mean

SUPPORT = {"cgroup", "ending", "gpu", "keeper", "kept", "limits", "process", "seccomp", "watchdog"}


class Place(Protocol):
    """Where one command will run, with the mounts that it will see."""

    paths: Mapping[str, str]
    """The path at which the command sees each mount: {"/submission": path inside}."""

    def run(self, command: Sequence[str], *, environment: Mapping[str, str], limits: Limits) -> SandboxedProcess:
        """Start the command, once; its standard input and output are the two pipes. Raises MachineError."""


class Sandbox(Protocol):
    """Isolates a command. If it cannot, `check` raises MachineError with the fix; there is no quiet fallback."""

    name: str
    isolates: bool
    """Whether what runs in it is kept from the user's files and from the network."""
    counts_anew: bool
    """Whether the kernel counts the processes of a user for the sandbox alone."""
    gpu: bool
    """Whether the machine's GPUs are there for what runs in it."""

    def check(self) -> None:
        """Raise MachineError, with the fix, unless this machine can isolate."""

    def place(self, mounts: Mapping[str, Path]) -> Place:
        """Make a place in which files and folders of the host are seen, read-only: {"/submission": host path}."""


def sandbox_names() -> list[str]:
    """The sandboxes of this folder."""
    return sorted(module.name for module in iter_modules(__path__) if module.name not in SUPPORT)


def find_sandbox(name: str, *, gpu: bool = False) -> Sandbox:
    """The sandbox of that name, with the machine's GPUs or without; raises UserError."""
    if name not in sandbox_names():
        raise UserError(f"--sandbox {name!r}: no such sandbox; {did_you_mean(name, sandbox_names())}")
    sandbox: Sandbox = importlib.import_module(f"{__name__}.{name}").SANDBOX(gpu=gpu)
    return sandbox
