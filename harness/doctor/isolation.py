"""Whether strangers' code can be kept in: user namespaces, bubblewrap, seccomp, Landlock, control groups."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from harness.doctor.finding import Finding
from harness.errors import MachineError
from harness.sandbox import find_sandbox
from harness.sandbox.bubblewrap import candidates, find_bwrap
from harness.sandbox.cgroup import delegated
from harness.sandbox.landlock import NEEDED_VERSION, kernel_version
from harness.sandbox.seccomp import filter_program

SUBJECT = "isolation"
SYSCTLS = Path("/proc/sys")
PROFILE = (
    "write /etc/apparmor.d/bwrap with `abi <abi/4.0>, include <tunables/global> profile bwrap {path} flags=(unconfined) "
    "{{ userns, }}` and run `sudo apparmor_parser -r /etc/apparmor.d/bwrap`; or allow it to every program: "
    "`sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"
)


def findings() -> Iterator[Finding]:
    """The sandboxes, and what they need."""
    bubblewrap = _bubblewrap()
    yield bubblewrap
    if bubblewrap.level != "ok":  # where it works, it has been allowed what others are refused
        yield from user_namespaces()
    yield _seccomp()
    yield _landlock()
    yield control_groups(delegated())


def user_namespaces(sysctls: Path = SYSCTLS, *, root: bool | None = None) -> Iterator[Finding]:
    """What forbids user namespaces, each with its remedy; root may make them all the same."""
    refused = "warning" if (os.geteuid() == 0 if root is None else root) else "error"
    most = _number(sysctls / "user/max_user_namespaces")
    if most == 0:
        yield Finding("error", "user namespaces are switched off (user.max_user_namespaces = 0)",
                      "`sudo sysctl -w user.max_user_namespaces=15000`")  # fmt: skip
    if _number(sysctls / "kernel/unprivileged_userns_clone") == 0:
        yield Finding(refused, "user namespaces are for root alone (kernel.unprivileged_userns_clone = 0)",
                      "`sudo sysctl -w kernel.unprivileged_userns_clone=1`")  # fmt: skip
    if _number(sysctls / "kernel/apparmor_restrict_unprivileged_userns") == 1:
        yield Finding(refused, "AppArmor forbids user namespaces to programs without a profile, as on Ubuntu 24.04",
                      PROFILE.format(path=next(candidates(), "/usr/bin/bwrap")))  # fmt: skip


def control_groups(group: Path | None) -> Finding:
    """Whether the kernel counts memory and processes for each worker, or the watchdog alone does."""
    if group:
        return Finding("ok", f"control groups are delegated ({group}): the kernel itself bounds memory and processes")
    return Finding(
        "ok", "control groups are not delegated: memory and processes are looked at ten times a second",
        "for limits by the kernel: `systemd-run --user --scope --property=Delegate=yes badnet evaluate ...`",
    )  # fmt: skip


def _bubblewrap() -> Finding:
    try:
        path = find_bwrap()
    except MachineError as error:
        return Finding("error", *_halves(error))
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=30)
    return Finding("ok", f"{done.stdout.strip()} isolates here ({path})")


def _seccomp() -> Finding:
    try:
        filter_program()
    except MachineError as error:
        return Finding("error", *_halves(error))
    return Finding("ok", "libseccomp makes the filter of system calls")


def _landlock() -> Finding:
    version = kernel_version()
    try:
        find_sandbox("landlock").check()
    except MachineError:
        return Finding(
            "ok", f"Landlock version {version}, too old to stand in for bubblewrap (version {NEEDED_VERSION})"
        )
    return Finding("ok", f"Landlock version {version} could stand in for bubblewrap (`--sandbox landlock`)")


def _halves(error: MachineError) -> tuple[str, str]:
    words, _, fix = str(error).partition("; ")
    return words, fix


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
