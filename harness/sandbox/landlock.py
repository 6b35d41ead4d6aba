"""Landlock, for machines that refuse user namespaces: files, signals and sockets are kept from the submission.

Weaker than bubblewrap: names, sizes and dates of the host's files can be asked for, though no content; and the files that
it writes lie on the host's own disk. What Landlock does not see to (rights and dates of files, priorities and limits of
other processes) the filter of system calls does. https://docs.kernel.org/userspace-api/landlock.html
"""

import base64
import ctypes
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import MachineError
from harness.sandbox.bubblewrap import LINKER_FILES, SYSTEM, interpreter
from harness.sandbox.kept import start_kept
from harness.sandbox.limits import Limits
from harness.sandbox.process import SandboxedProcess
from harness.sandbox.seccomp import filter_program

SYS_CREATE_RULESET, ASK_VERSION = 444, 1
NEEDED_VERSION = 6
"""The first that keeps signals inside: Linux 6.12."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
MACHINE_FILES = ("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/self", "/sys/devices/system/cpu")


class Landlock:
    """Runs the command where it is, with rights to nothing but its mounts, its scratch folder and the system."""

    name = "landlock"
    isolates = True
    counts_anew = False

    def __init__(self, *, gpu: bool = False) -> None:
        """gpu: whether the machine's GPUs are there for the command."""
        self.gpu = gpu

    def check(self) -> None:
        """Raise MachineError, with the fix, unless the kernel has Landlock that keeps signals inside."""
        if (version := kernel_version()) < NEEDED_VERSION:
            has = f"has version {version} of Landlock" if version else "has no Landlock, or it is off"
            raise MachineError(
                f"no sandbox can isolate here: the kernel {has}, and version {NEEDED_VERSION} is needed (Linux 6.12 with "
                "landlock among its security modules); use bubblewrap, or say `--sandbox unconfined`, which is marked in "
                "the record"
            )
        filter_program(namespaces=False)
        interpreter()
        if self.gpu:
            raise MachineError("--gpu: a GPU's driver takes more than Landlock lets through; use --sandbox bubblewrap")

    def place(self, mounts: Mapping[str, Path]) -> "Fence":
        """A folder in which every mount is a link to where it is."""
        self.check()
        return Fence(mounts)


class Fence:
    """Where one command will run: a folder of its own with `mounts`, all links, and `scratch`, which it may write to.

    The links are there because Python lists the folders that it imports from: a right to list the repository would be one
    to list everything below it.
    """

    def __init__(self, mounts: Mapping[str, Path]) -> None:
        self._mounts = mounts
        self._folder = Path(tempfile.mkdtemp(prefix="badnet-"))
        self.paths = {}
        (self._folder / "mounts").mkdir()
        for inside, path in mounts.items():
            link = self._folder / "mounts" / inside.lstrip("/")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
            self.paths[inside] = str(link)

    def run(self, command: Sequence[str], *, environment: Mapping[str, str], limits: Limits) -> SandboxedProcess:
        """Start the command; it can read the mounts and the system, and nothing of the user's."""
        scratch = self._folder / "scratch"
        scratch.mkdir()
        readable = [*(f"/{name}" for name in SYSTEM), *LINKER_FILES, *MACHINE_FILES, *map(str, interpreter())]
        readable += [str(path.resolve()) for path in self._mounts.values()]
        confine = {
            "read": [str(self._folder / "mounts"), *filter(os.path.exists, readable)],
            "write": [str(scratch)],
            "devices": list(filter(os.path.exists, DEVICES)),
            "seccomp": base64.b64encode(filter_program(namespaces=False)).decode(),
        }
        environment = {**environment, "TMPDIR": str(scratch), "HOME": str(scratch)}
        return start_kept(
            command, confine, environment=environment, limits=limits, scratch=self._folder, directory=str(scratch)
        )


def kernel_version() -> int:
    """The version of Landlock that the kernel has, 0 for none."""
    if not sys.platform.startswith("linux"):
        return 0
    libc = ctypes.CDLL(None)
    return max(0, int(libc.syscall(SYS_CREATE_RULESET, None, ctypes.c_size_t(0), ASK_VERSION)))


SANDBOX = Landlock
