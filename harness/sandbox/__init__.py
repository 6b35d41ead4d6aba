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

SUPPORT = {"limits", "process"}


class Sandbox(Protocol):
    """Isolates a command. If it cannot, `check` raises MachineError with the fix; there is no quiet fallback."""

    name: str
    isolates: bool
    """Whether what runs in it is kept from the user's files and from the network."""

    def check(self) -> None:
        """Raise MachineError, with the fix, unless this machine can isolate."""

    def place(self, mounts: Mapping[str, Path]) -> dict[str, str]:
        """The path at which the command will see each mount: {"/submission": host path} -> {"/submission": path inside}."""

    def run(
        self, command: Sequence[str], *, mounts: Mapping[str, Path], environment: Mapping[str, str], limits: Limits
    ) -> SandboxedProcess:
        """Start the command with the mounts, read-only; its standard input and output are the two pipes."""


def sandbox_names() -> list[str]:
    """The sandboxes of this folder."""
    return sorted(module.name for module in iter_modules(__path__) if module.name not in SUPPORT)


def find_sandbox(name: str) -> Sandbox:
    """The sandbox of that name; raises UserError."""
    if name not in sandbox_names():
        raise UserError(f"--sandbox {name!r}: no such sandbox; {did_you_mean(name, sandbox_names())}")
    sandbox: Sandbox = importlib.import_module(f"{__name__}.{name}").SANDBOX
    return sandbox
