"""No isolation at all: the user's own, explicit decision, marked in the record and on the board."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.sandbox.gpu import gpu_devices
from harness.sandbox.kept import start_kept
from harness.sandbox.limits import Limits
from harness.sandbox.process import SandboxedProcess


class Unconfined:
    """Runs the command as the user, with limits on what it uses only."""

    name = "unconfined"
    isolates = False
    counts_anew = False

    def __init__(self, *, gpu: bool = False) -> None:
        """gpu: whether the machine's GPUs are there for the command."""
        self.gpu = gpu

    def check(self) -> None:
        """Any machine can do this; raises MachineError where there is no GPU and one is asked for."""
        if self.gpu:
            gpu_devices()

    def place(self, mounts: Mapping[str, Path]) -> "Anywhere":
        """The current folder; every mount is seen where it is."""
        return Anywhere(mounts)


class Anywhere:
    """Where one command will run."""

    def __init__(self, mounts: Mapping[str, Path]) -> None:
        self.paths = {inside: str(path.resolve()) for inside, path in mounts.items()}

    def run(self, command: Sequence[str], *, environment: Mapping[str, str], limits: Limits) -> SandboxedProcess:
        """Start the command with a folder for temporary files that is removed after it."""
        folder = Path(tempfile.mkdtemp(prefix="badnet-"))
        environment = {**environment, "TMPDIR": str(folder)}
        return start_kept(command, None, environment=environment, limits=limits, scratch=folder)


SANDBOX = Unconfined
