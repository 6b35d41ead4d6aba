"""Locks between processes. The system lets go of them when a process ends, however it ends: none is ever stale."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.errors import MachineError, UserError
from harness.plain_files import NotPlain, refuse_others


class Held(Exception):
    """Another process has the lock; the message names it, as "process 123"."""


@contextmanager
def locked(path: Path, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock on the file at `path`, which is made where it is missing, and stays.

    Where another process has it: without `waiting`, Held is raised; else `waiting` is told which, and it is waited for.
    Raises UserError where a link, a folder or a pipe is in the file's place, MachineError where it cannot be made.
    """
    handle = _open(path)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is None:
                raise Held(_holder(handle)) from None
            waiting(_holder(handle))
            fcntl.flock(handle, fcntl.LOCK_EX)
        with suppress(OSError):  # a full disk: the name is only for those who wait
            os.truncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    """A descriptor that no child process gets: it could outlive this one, and hold the lock."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if path.is_symlink() or path.is_dir():
            raise UserError(f"{path}: is a link or a folder where a lock should be; remove it") from error
        raise MachineError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error
    try:
        refuse_others(os.fstat(handle).st_mode)
    except NotPlain as error:
        os.close(handle)
        raise UserError(f"{path}: is {error} where a lock should be; remove it") from error
    return handle


def _holder(handle: int) -> str:
    words = os.pread(handle, 20, 0).strip()
    return f"process {words.decode()}" if words.isdigit() else "another process"
