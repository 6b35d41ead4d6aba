"""The arrays of a .npz that a stranger may have made: sizes are known before anything is unpacked, nothing is evaluated."""

import os
import re
import struct
import zipfile
import zlib
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError
from harness.plain_files import open_plain
from harness.wording import harmless

MAX_FILE = 32 * 1024**2
MAX_ARRAYS = 10_000
MAX_UNPACKED = 512 * 1024**2
"""Bytes of all arrays together."""
MAGIC = b"\x93NUMPY\x01\x00"
LENGTH = struct.Struct("<H")
HEADER = re.compile(
    rb"\{'descr': '([<|](?:[iu][1248]|f[248]))', 'fortran_order': False, 'shape': \((\d{1,12}),\), \} *\n"
)
"""What numpy writes for a row of numbers."""


def load_arrays(path: Path, only: Container[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read a .npz of rows of numbers; raises UserError where it is missing, damaged, too large or holds anything else.

    only: the names to read, where the others do not matter.
    """
    try:
        with open_plain(path) as file:
            if (size := os.fstat(file.fileno()).st_size) > MAX_FILE:
                raise ValueError(f"{size / 2**20:,.0f} MiB, and {MAX_FILE // 2**20} are allowed")
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                _refuse_bombs(members)
                named = {it.filename.removesuffix(".npy"): it for it in members}
                return {name: _array(archive, it) for name, it in named.items() if only is None or name in only}
    except (
        OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, struct.error, OverflowError,
        NotImplementedError, RuntimeError,  # packed in a way that is not known; encrypted
    ) as error:  # fmt: skip
        raise UserError(f"{path}: cannot be read ({harmless(str(error), 200)}); evaluate again") from error


def _refuse_bombs(members: list[zipfile.ZipInfo]) -> None:
    """Raise ValueError where unpacking would take too much."""
    stated = sum(member.file_size for member in members)
    if len(members) > MAX_ARRAYS or stated > MAX_UNPACKED:
        raise ValueError(f"{len(members):,} arrays of {stated:,} bytes are more than answers can be")
    for member in members:
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{member.filename!r} is packed in another way than deflate")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as file:
        data = file.read(member.file_size)  # without an amount it would unpack all there is, stated or not
    start = len(MAGIC) + LENGTH.size
    if not data.startswith(MAGIC) or len(data) < start:
        raise ValueError(f"{member.filename!r} is no array")
    end = start + LENGTH.unpack_from(data, len(MAGIC))[0]
    header = HEADER.fullmatch(data, start, end)
    if not header or end > len(data):
        raise ValueError(f"{member.filename!r} is no row of numbers")
    array = np.frombuffer(data, np.dtype(header[1].decode()), offset=end)
    if len(array) != int(header[2]):
        raise ValueError(f"{member.filename!r} has {len(array):,} numbers, and states {int(header[2]):,}")
    return array.copy()
