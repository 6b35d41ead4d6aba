"""What a zip archive must be before any reader opens it: plain files below it, and no more than it states and can hold.

.keras, torch's .pt, TorchScript and .pt2 are zip archives. Their readers unpack a file in one go, whatever length the
directory states, so that what comes out is counted here first; most files in them are stored as they are.
"""

import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from harness.models.claims import MIB, check_claim
from harness.models.errors import ModelError, in_one_line
from harness.wording import harmless

MOST_MEMBERS = 65_535
"""As many as a zip archive without its 64-bit extension can list; torch writes one for each array."""
LONGEST_NAME = 500
ENCRYPTED = 0x1
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
KINDS = (0, stat.S_IFREG, stat.S_IFDIR)
"""Of files, as a member's mode says it; many writers leave it 0."""
BEFORE_DATA = struct.Struct("<26xHH")
"""What stands before a member's data: the lengths of its name and of an extra field, which follow."""


def check_zip(path: Path) -> None:
    """Do nothing for a file that is no zip archive, else look at what it lists and count what comes out of it.

    Raises ModelError for a damaged one, for a name that leads out of the archive or is there twice, a member that is no
    plain file, is encrypted or unusually packed, too many members, members that claim far more bytes than there are, and
    one that holds more than it claims.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _check_directory(members, path)
            for member in members:
                if _holds_more(file, member):
                    raise _problem(member, "holds more than the archive's directory states", path)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, struct.error, zlib.error) as error:
        raise ModelError(
            f"{path.name}: a damaged zip archive ({in_one_line(error, 100)}); save it again and copy it whole"
        ) from error


def _check_directory(members: list[zipfile.ZipInfo], path: Path) -> None:
    if len(members) > MOST_MEMBERS:
        raise ModelError(f"{path.name}: lists {len(members):,} files; at most {MOST_MEMBERS:,} are read")
    seen: set[str] = set()
    for member in members:
        if words := _oddity(member, seen):
            raise _problem(member, words, path)
        seen.add(member.filename)
    check_claim(sum(member.file_size for member in members), path.stat().st_size, path.name)


def _oddity(member: zipfile.ZipInfo, seen: set[str]) -> str | None:
    name = member.orig_filename
    windows = "\\" in name or name[1:2] == ":"
    if windows or "\0" in name or name.startswith("/") or ".." in PurePosixPath(name).parts:
        return "has a name that leads out of the archive"
    if len(name) > LONGEST_NAME:
        return f"has a name of {len(name):,} letters"
    if member.filename in seen:
        return "is there twice"
    if stat.S_IFMT(member.external_attr >> 16) not in KINDS:
        return "is a link or a device, no file"
    if member.flag_bits & ENCRYPTED or member.compress_type not in PACKINGS:
        return "is encrypted or packed in an unusual way"
    return None


def _holds_more(file: IO[bytes], member: zipfile.ZipInfo) -> bool:
    if member.compress_type == zipfile.ZIP_STORED:
        return member.compress_size != member.file_size
    file.seek(member.header_offset)
    file.seek(sum(BEFORE_DATA.unpack(file.read(BEFORE_DATA.size))), 1)
    found, left, unpacking = 0, member.compress_size, zlib.decompressobj(-zlib.MAX_WBITS)
    while found <= member.file_size and not unpacking.eof:
        packed = unpacking.unconsumed_tail or file.read(min(left, MIB))
        if not packed:
            break
        left -= 0 if unpacking.unconsumed_tail else len(packed)
        found += len(unpacking.decompress(packed, MIB))
    return found > member.file_size


def _problem(member: zipfile.ZipInfo, words: str, path: Path) -> ModelError:
    shown = repr(harmless(member.orig_filename, 60))
    return ModelError(f"{path.name}: its member {shown} {words}; save it again with the library that made it")
