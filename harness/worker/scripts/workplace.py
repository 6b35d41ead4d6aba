"""A writable copy of the submission in which a script runs, with what the harness provides at the paths that it opens."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from harness.models.errors import ModelError

COPIED = 32 * 2**20
COPIED_TOGETHER = 128 * 2**20


class Workplace:
    """`folder` is the copy, `cwd` the working directory within it, `desk` a folder beside it for images and answers.

    Files are copied, so that a script may change them; those too large for a scratch folder are links to the originals.
    """

    def __init__(self, submission: Path, cwd: str, provide: Mapping[str, str], files: Mapping[str, Path]) -> None:
        """provide: path, relative to `cwd`, -> name in braces. files: name -> file, for names whose file is there already.

        Raises ModelError (stage "load") for a path that leaves the folder above the submission's.
        """
        self.above = Path(tempfile.mkdtemp(prefix="script-")).resolve()
        self.folder = self.above / "submission"
        self.desk = self.above / "exam"
        self.desk.mkdir()
        _copy(submission, self.folder)
        self.cwd = (self.folder / cwd).resolve()
        self.places: dict[str, list[Path]] = {}
        """Where a name's file is still to be written: name -> paths."""
        for path, name in provide.items():
            place = self._place(path)
            if name in files:
                place.symlink_to(files[name])
            else:
                self.places.setdefault(name, []).append(place)

    def put(self, name: str, data: bytes, ending: str) -> Path:
        """Write the file called `name` on the desk, and wherever else the script looks for it."""
        for place in self.places.get(name, ()):
            place.write_bytes(data)
        path = self.desk / f"{name}{ending}"
        path.write_bytes(data)
        return path

    def link(self, name: str, path: Path) -> None:
        """Make a file appear wherever the script looks for `name`."""
        for place in self.places.get(name, ()):
            place.unlink(missing_ok=True)
            place.symlink_to(path)

    def _place(self, path: str) -> Path:
        place = Path(os.path.normpath(self.cwd / path))
        if not place.is_relative_to(self.above) or place.is_relative_to(self.desk):
            raise ModelError(f"provide: {path!r} leads too far up; at most one folder above the submission's own")
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir() and not place.is_symlink():
            raise ModelError(f"provide: {path!r} is a folder in the submission; name a file")
        place.unlink(missing_ok=True)
        return place


def _copy(source: Path, target: Path) -> None:
    left = COPIED_TOGETHER
    for folder, subfolders, files in os.walk(source):
        subfolders[:] = [name for name in subfolders if name not in (".git", "__pycache__")]
        here = target / Path(folder).relative_to(source)
        here.mkdir(parents=True)
        for name in files:
            path = Path(folder, name)
            if not path.is_file():
                continue  # a broken link, or no file at all
            size = path.stat().st_size
            if size <= COPIED and size <= left:
                left -= size
                shutil.copy2(path, here / name)
                (here / name).chmod(0o644)
            else:
                (here / name).symlink_to(path.resolve())
        for name in list(subfolders):
            if Path(folder, name).is_symlink():
                (here / name).symlink_to(Path(folder, name).resolve())
