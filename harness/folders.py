"""What a folder that a stranger filled holds: listed without following a link or opening a file, and within bounds."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from harness.errors import UserError
from harness.plain_files import NotPlain, refuse_others
from harness.wording import harmless

MAX_ENTRIES = 10_000
MAX_BYTES = 4 * 1024**3
"""Of all files together, as large as they say that they are."""
CACHE = "__pycache__"


class Entry(NamedTuple):
    """A file or a link: two listings of a folder are equal where nothing in it was touched between them."""

    size: int
    modified: int
    changed: int
    """Nanoseconds, like `modified`; it cannot be set back."""
    link: str | None
    """What a link says."""


def list_folder(folder: Path, *, caches: bool = False) -> dict[str, Entry]:
    """The files and links below a folder, by relative path, sorted part by part; Python's caches only if asked for.

    Raises UserError for a pipe, a socket, a device, a name that cannot be printed, and for too many or too large files.
    """
    found: dict[str, Entry] = {}
    total = 0
    for number, (name, status) in enumerate(_walk(folder), 1):
        total += 0 if stat.S_ISDIR(status.st_mode) else status.st_size
        if number > MAX_ENTRIES:
            raise UserError(
                f"{folder}: holds more than {MAX_ENTRIES:,} files and folders; leave out what is not needed"
            )
        if total > MAX_BYTES:
            raise UserError(
                f"{folder}: {name!r} has {status.st_size / 2**30:,.1f} GiB, and all files together may have "
                f"{MAX_BYTES // 2**30} GiB; leave out what is not needed"
            )
        if not stat.S_ISDIR(status.st_mode) and (caches or CACHE not in name.split("/")):
            link = os.readlink(folder / name) if stat.S_ISLNK(status.st_mode) else None
            found[name] = Entry(status.st_size, status.st_mtime_ns, status.st_ctime_ns, link)
    return {name: found[name] for name in sorted(found, key=lambda name: name.split("/"))}


def refuse_leaving_links(folder: Path, listing: dict[str, Entry]) -> None:
    """Raise UserError for a link that leads out of the folder, nowhere, or by an absolute path."""
    root = os.path.realpath(folder)
    for name, entry in listing.items():
        if entry.link is None:
            continue
        to = harmless(entry.link, 100)
        try:
            target = Path(os.path.realpath(folder / name, strict=True))
        except OSError:
            raise UserError(f"{folder}: {name!r} is a link to {to!r}, where nothing is; remove it") from None
        if not target.is_relative_to(root):
            raise UserError(f"{folder}: {name!r} is a link to {to!r}, outside this folder; copy the file inside")
        if entry.link.startswith("/"):
            raise UserError(f"{folder}: {name!r} is a link to {to!r}; make it relative, or copy the file")


def _walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Everything below the folder: files, links and folders, by relative path."""
    waiting = [""]
    while waiting:
        above = waiting.pop()
        try:
            with os.scandir(folder / above) as items:
                for item in items:
                    name = above + item.name
                    if is_odd(name):
                        shown = harmless(name, 200)
                        raise UserError(f"{folder}: {shown!r}: a name with unprintable characters; rename the file")
                    status = item.stat(follow_symlinks=False)
                    yield name, status
                    if stat.S_ISDIR(status.st_mode):
                        waiting.append(f"{name}/")
                    elif not stat.S_ISLNK(status.st_mode):
                        refuse_others(status.st_mode)
        except NotPlain as error:
            raise UserError(f"{folder}: {harmless(name, 200)!r} is {error}, not a file; remove it") from error
        except OSError as error:
            raise UserError(
                f"{folder}: {harmless(above or '.', 200)!r} cannot be read ({error.strerror}); make it readable, or remove it"
            ) from error


def is_odd(name: str) -> bool:
    """Whether a name has control characters, which would act on a terminal, or bytes that are no UTF-8."""
    return any(c < " " or "\x7f" <= c < "\xa0" or "\ud800" <= c < "\ue000" for c in name)
