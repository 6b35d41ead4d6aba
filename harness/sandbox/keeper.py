"""Runs a command, takes in every process that it leaves behind, and ends them all with it; if told to, behind Landlock.

A program of its own (`python -I -S keeper.py SPECIFICATION COMMAND...`), as a sandbox needs a single thread to begin with:
the standard library alone, nothing of the harness. SPECIFICATION is JSON: `parent`, the process without which nothing may
go on, `folder`, which is removed at the end, and `confine`, null or `{"read": [...], "write": [...], "devices": [...],
"seccomp": base64}` with absolute paths.
"""

import base64
import contextlib
import ctypes
import json
import os
import signal
import stat
import struct
import sys
from pathlib import Path
from typing import Any, NoReturn

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 22, 24, 36, 38
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION = 0x20080522
SYS_CREATE_RULESET, SYS_ADD_RULE, SYS_RESTRICT_SELF = 444, 445, 446
PATH_BENEATH = 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
TRUNCATE, IOCTL_DEVICE = 1 << 14, 1 << 15
ALL_FILES = (1 << 16) - 1
SPECIAL_FILES = 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11
"""MAKE_CHAR, MAKE_SOCK, MAKE_FIFO and MAKE_BLOCK."""
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE
ALL_NETWORK, ALL_SCOPES = 0b11, 0b11
"""TCP bind and connect; signals and abstract Unix sockets to processes outside."""
CANNOT_START = 127

libc = ctypes.CDLL(None, use_errno=True)


def main() -> NoReturn:
    """Keep one command; exits as it did, with 128 + the number of the signal that ended it."""
    specification, command = json.loads(sys.argv[1]), sys.argv[2:]
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, lambda _signal, _frame: _end(specification["folder"]))
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != specification["parent"]:  # it ended before it could be watched
        sys.exit(CANNOT_START)
    child = os.fork()
    if child == 0:
        _become(command, specification["confine"])
    # An end of a pipe that is held open here would hide that the command has closed it.
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    status = 0
    while True:
        pid, ended = os.wait()
        if pid == child:
            status = os.waitstatus_to_exitcode(ended)
            break
    _end_all()
    _remove(specification["folder"])
    os._exit(status if status >= 0 else 128 - status)


def _become(command: list[str], confine: dict[str, Any] | None) -> NoReturn:
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()  # the command's group is its own
        if confine:
            _drop_capabilities()
            _prctl(PR_SET_NO_NEW_PRIVS, 1)
            _restrict_files(confine)
            _filter_calls(base64.b64decode(confine["seccomp"]))
        os.execve(command[0], command, os.environ)  # noqa: S606 - no shell is meant
    except OSError as error:
        sys.stderr.write(f"{command[0]}: cannot be started ({error})\n")
    finally:
        sys.stderr.flush()
        os._exit(CANNOT_START)


def _end(folder: str) -> NoReturn:
    _end_all()
    _remove(folder)
    os._exit(128 + signal.SIGTERM)


def _end_all() -> None:
    """End every descendant: children whose parent ended have become this process's own."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        for pid in _stopped(_children(os.getpid())):
            _signal(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


def _stopped(waiting: list[int]) -> set[int]:
    """Stop processes and all their descendants: what is stopped cannot fork while its children are looked up."""
    seen: set[int] = set()
    while waiting:
        pid = waiting.pop()
        if pid not in seen:
            seen.add(pid)
            _signal(pid, signal.SIGSTOP)
            waiting += _children(pid)
    return seen


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _remove(folder: str) -> None:
    """Neither of the two follows links, or is misled by folders in folders without end."""
    os.spawnv(os.P_WAIT, "/bin/chmod", ["chmod", "-R", "u+rwx", "--", folder])  # noqa: S606
    os.spawnv(os.P_WAIT, "/bin/rm", ["rm", "-rf", "--", folder])  # noqa: S606


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def _drop_capabilities() -> None:
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            break  # either there are no more, or there are none to begin with
    header, none = struct.pack("=Ii", CAPABILITY_VERSION, 0), bytes(24)
    if libc.capset(header, none):
        _fail("capset")


def _restrict_files(confine: dict[str, Any]) -> None:
    attributes = struct.pack("=QQQ", ALL_FILES, ALL_NETWORK, ALL_SCOPES)
    ruleset = libc.syscall(SYS_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        _fail("landlock_create_ruleset")
    rights = {
        "read": EXECUTE | READ_FILE | READ_DIR,
        "write": ALL_FILES & ~SPECIAL_FILES & ~EXECUTE,
        "devices": READ_FILE | WRITE_FILE | IOCTL_DEVICE,
    }
    for kind, allowed in rights.items():
        for path in confine[kind]:
            _allow(ruleset, path, allowed)
    if libc.syscall(SYS_RESTRICT_SELF, ruleset, 0):
        _fail("landlock_restrict_self")
    os.close(ruleset)


def _allow(ruleset: int, path: str, allowed: int) -> None:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            allowed &= OF_A_FILE
        rule = struct.pack("=Qi", allowed, handle)
        if libc.syscall(SYS_ADD_RULE, ruleset, PATH_BENEATH, rule, 0):
            _fail(f"landlock_add_rule {path}")
    finally:
        os.close(handle)


def _filter_calls(program: bytes) -> None:
    """Refuse system calls by a filter; the kernel's sock_fprog is a length and a pointer."""
    code = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, described, 0, 0):
        _fail("seccomp")


def _prctl(option: int, value: int) -> None:
    if libc.prctl(option, value, 0, 0, 0):
        _fail(f"prctl {option}")


def _fail(what: str) -> NoReturn:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
