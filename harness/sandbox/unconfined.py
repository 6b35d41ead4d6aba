"""No isolation at all: the user's own, explicit decision, marked in the record and on the board."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.sandbox.limits import Limits
from harness.sandbox.process import SandboxedProcess


class Unconfined:
    """Runs the command as the user, with limits on time and memory only."""

    name = "unconfined"
    isolates = False

    def check(self) -> None:
        """Any machine can do this."""

    def place(self, mounts: Mapping[str, Path]) -> dict[str, str]:
        """Everything is seen where it is."""
        return {inside: str(path.resolve()) for inside, path in mounts.items()}

    def run(
        self, command: Sequence[str], *, mounts: Mapping[str, Path], environment: Mapping[str, str], limits: Limits
    ) -> SandboxedProcess:
        """Start the command in the current folder, with a folder for temporary files that is removed after it."""
        scratch = Path(tempfile.mkdtemp(prefix="badnet-"))
        return SandboxedProcess(
            command, environment={**environment, "TMPDIR": str(scratch)}, limits=limits, directory=None, scratch=scratch
        )


SANDBOX = Unconfined()
