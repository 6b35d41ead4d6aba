"""h5py that reads each data set once: later runs get the same numbers, as memory of their own that they may change."""

import mmap
import os
import sys
import tempfile
from typing import Any

Key = tuple[Any, ...]
_REMEMBERED = 64 * 1024
"""Bytes; reading less costs no more than remembering it."""


def file_key(path: str, older_than: int) -> Key | None:
    """What a file's content goes by; None for a file that came after `older_than` (ns), so that a run may have made it."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    if max(status.st_mtime_ns, status.st_ctime_ns) >= older_than:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class _Kept:
    """An array in a file without a name: every `copy` is private memory that is shared until it is written to."""

    def __init__(self, array: Any) -> None:
        self.dtype, self.shape, self.bytes = array.dtype, array.shape, array.nbytes
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - kept as long as the process
        array.tofile(self._file)
        self._file.flush()
        numpy = sys.modules["numpy"]
        memory = mmap.mmap(self._file.fileno(), self.bytes, prot=mmap.PROT_READ)
        self.shared = numpy.frombuffer(memory, self.dtype).reshape(self.shape)

    def copy(self) -> Any:
        numpy = sys.modules["numpy"]
        memory = mmap.mmap(
            self._file.fileno(), self.bytes, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE
        )
        return numpy.frombuffer(memory, self.dtype).reshape(self.shape)


def install(older_than: int) -> None:
    """Have h5py, where it is loaded, remember the data sets of files older than `older_than` (ns since 1970)."""
    h5py = sys.modules.get("h5py")
    if h5py is None:
        return
    kept: dict[Key, _Kept] = {}
    dataset = h5py.Dataset
    read_item, read_array, read_direct = dataset.__getitem__, dataset.__array__, dataset.read_direct

    def remembered(data: Any) -> _Kept | None:
        """The whole of a data set, in memory; None where it is not to be remembered."""
        if data.dtype.kind not in "iufb" or not data.shape or data.nbytes < _REMEMBERED or data.file.mode != "r":
            return None
        file = file_key(data.file.filename, older_than)
        if file is None:
            return None
        key = (*file, data.name)
        if key not in kept:
            try:
                kept[key] = _Kept(read_item(data, ()))
            except OSError:  # no room left to remember it
                return None
        return kept[key]

    def getitem(self: Any, args: Any, *more: Any, **keywords: Any) -> Any:
        found = remembered(self) if not more and not keywords and _plain(args) else None
        if found is None:
            return read_item(self, args, *more, **keywords)
        return found.copy() if _whole(args) else found.shared[args].copy()

    def array(self: Any, dtype: Any = None, copy: bool = True) -> Any:
        found = remembered(self)
        if found is None:
            return read_array(self, dtype=dtype, copy=copy)
        return found.copy() if dtype is None or found.dtype == dtype else found.shared.astype(dtype)

    def direct(self: Any, dest: Any, source_sel: Any = None, dest_sel: Any = None) -> None:
        found = remembered(self) if source_sel is None and dest_sel is None and dest.shape == self.shape else None
        if found is None:
            read_direct(self, dest, source_sel, dest_sel)
        else:
            dest[...] = found.shared

    dataset.__getitem__, dataset.__array__, dataset.read_direct = getitem, array, direct


def _plain(args: Any) -> bool:
    """Whether h5py and numpy mean the same by this index."""
    parts = args if isinstance(args, tuple) else (args,)
    steps = [part.step for part in parts if isinstance(part, slice)]
    return all(isinstance(part, (int, slice)) or part is Ellipsis for part in parts) and all(
        step is None or step > 0 for step in steps
    )


def _whole(args: Any) -> bool:
    parts = args if isinstance(args, tuple) else (args,)
    return all(part is Ellipsis or part == slice(None) for part in parts)
