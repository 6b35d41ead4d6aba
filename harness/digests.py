"""sha256 of files, folders and JSON values."""

import hashlib
import json
from pathlib import Path
from typing import Any


def digest_file(path: Path) -> str | None:
    """The file's sha256 as hex, read in slices; None where there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def digest_folder(folder: Path) -> str:
    """One sha256 over the relative paths and contents of all files below `folder`, in sorted order; caches left out."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        total.update(f"{path.relative_to(folder).as_posix()}\0{digest_file(path)}\n".encode())
    return total.hexdigest()


def digest_json(value: Any) -> str:
    """The sha256 of a JSON value in one canonical spelling."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
