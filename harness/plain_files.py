"""Files that strangers wrote, read within bounds: plain files alone, so that no pipe or device holds the reader up."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from harness.errors import UserError
from harness.wording import harmless

NOT_PLAIN = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotPlain(OSError):
    """What is there is no file; the message says what it is."""


@contextmanager
def open_plain(path: Path) -> Iterator[BufferedReader]:
    """Open a plain file for reading, never waiting; raises NotPlain for a folder, a pipe, a socket or a device, and OSError."""
    refuse_others(os.stat(path).st_mode)  # some devices act on being opened
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        refuse_others(os.fstat(file.fileno()).st_mode)
        yield file


def refuse_others(mode: int) -> None:
    """Raise NotPlain unless this is the mode of a plain file."""
    if not stat.S_ISREG(mode):
        raise NotPlain(NOT_PLAIN.get(stat.S_IFMT(mode), "something else"))


def read_plain(path: Path, limit: int) -> bytes:
    """The bytes of a plain file, at most `limit`; raises UserError where it is larger, no plain file, or cannot be read."""
    try:
        with open_plain(path) as file:
            data = file.read(min(limit, os.fstat(file.fileno()).st_size) + 1)  # a large amount is set aside at once
    except NotPlain as error:
        raise UserError(f"{path}: is {error}, not a file; put the file in its place") from error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        words = harmless(str(getattr(error, "strerror", None) or error), 200)
        raise UserError(f"{path}: cannot be read ({words})") from error
    if len(data) > limit:
        raise UserError(
            f"{path}: larger than {limit // 1024} KiB, which is more than it can need; put the right file there"
        )
    return data
