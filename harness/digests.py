"""sha256 of files, folders and JSON values."""

import errno
import hashlib
import json
from pathlib import Path
from typing import Any

from harness.folders import list_folder
from harness.plain_files import NotPlain, open_plain

NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)


def digest_file(path: Path) -> str | None:
    """The file's sha256 as hex, read in slices; None where there is no such file, or something else in its place."""
    try:
        with open_plain(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except NotPlain:
        return None
    except OSError as error:
        if error.errno in NOT_THERE:
            return None
        raise


def digest_folder(folder: Path, *, caches: bool = False) -> str:
    """One sha256 over the relative paths and contents of all files below `folder`, in sorted order.

    caches: whether Python's count too; what they hold is run in place of their sources. A link counts as what it says, not
    as what it leads to. Raises UserError as `list_folder` does.
    """
    total = hashlib.sha256()
    for name, entry in list_folder(folder, caches=caches).items():
        content = digest_file(folder / name) if entry.link is None else f"-> {entry.link}"
        total.update(f"{name}\0{content}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


def digest_json(value: Any) -> str:
    """The sha256 of a JSON value in one canonical spelling."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
