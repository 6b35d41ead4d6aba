"""Containers that a stranger might hand in: HDF5 files and zip archives, copies of an honest net's, that lead elsewhere or lie."""

import shutil
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from tests.hostile.evil_files import CLASSES, Place, Write, members_of, rezip

MIB = 2**20
WEIGHTS = "model.weights.h5"


# --- HDF5: where the weights are --------------------------------------------------------------------------------------


def weights(name: str, change: Callable[[h5py.File, str, Place], None]) -> Write:
    """The honest file `name` with its last layer's kernel, a data set at a path, changed; in a .keras, too."""

    def write(at: Place) -> Path:
        path = Path(shutil.copy(at.honest / name, at.folder))
        inner = at.folder / WEIGHTS
        if path.suffix == ".keras":
            inner.write_bytes(members_of(path)[WEIGHTS])
        with h5py.File(inner if path.suffix == ".keras" else path, "r+") as file:
            change(file, _kernel(file), at)
        if path.suffix == ".keras":
            rezip(path, {WEIGHTS: inner.read_bytes()})
        return path

    return write


def _kernel(file: h5py.File) -> str:
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if getattr(item, "shape", ()) == (320, CLASSES) else None)
    return found[0]


def external_link(file: h5py.File, kernel: str, at: Place) -> None:
    with h5py.File(at.folder / "other.h5", "w") as other:
        other["kernel"] = file[kernel][()]
    del file[kernel]
    file[kernel] = h5py.ExternalLink(str(at.folder / "other.h5"), "/kernel")


def soft_link(file: h5py.File, kernel: str, at: Place) -> None:
    file.move(kernel, "elsewhere")
    file[kernel] = h5py.SoftLink("/elsewhere")


def soft_circle(file: h5py.File, kernel: str, at: Place) -> None:
    file["circle"] = h5py.SoftLink("/circle")


def hard_circle(file: h5py.File, kernel: str, at: Place) -> None:
    group = file.require_group("around")
    group["around"] = group


def external_storage(file: h5py.File, kernel: str, at: Place) -> None:
    values = file[kernel][()]
    del file[kernel]
    raw = at.folder / "raw.bin"
    raw.write_bytes(values.tobytes())
    file.create_dataset(kernel, values.shape, values.dtype, external=[(str(raw), 0, values.nbytes)])


def virtual(file: h5py.File, kernel: str, at: Place) -> None:
    values = file[kernel][()]
    with h5py.File(at.folder / "other.h5", "w") as other:
        other["kernel"] = values
    layout = h5py.VirtualLayout(values.shape, values.dtype)
    layout[:] = h5py.VirtualSource(str(at.folder / "other.h5"), "kernel", values.shape)
    del file[kernel]
    file.create_virtual_dataset(kernel, layout)


def terabytes(file: h5py.File, kernel: str, at: Place) -> None:
    del file[kernel]
    file.create_dataset(kernel, (2**40, CLASSES), np.float32, chunks=(1024, CLASSES), fillvalue=1)


def zeros(file: h5py.File, kernel: str, at: Place) -> None:
    """Half a gigabyte of zeros, packed: one piece of them is packed once and stored again and again."""
    del file[kernel]
    rows, piece = 32 * MIB // 4, zlib.compress(bytes(32 * MIB))
    packed = file.create_dataset(kernel, (16 * rows,), np.float32, chunks=(rows,), compression="gzip")
    for start in range(0, 16 * rows, rows):
        packed.id.write_direct_chunk((start,), piece)


def one_piece(file: h5py.File, kernel: str, at: Place) -> None:
    """An array of one number in a packed piece of two gigabytes."""
    del file[kernel]
    file.create_dataset(kernel, (1,), np.float32, chunks=(2**29,), maxshape=(None,), compression="gzip")


def groups(file: h5py.File, kernel: str, at: Place) -> None:
    file.create_group("/".join("g" * 200))


def texts(file: h5py.File, kernel: str, at: Place) -> None:
    file["names"] = np.array(["a", "b"], h5py.string_dtype())


# --- zip archives ---------------------------------------------------------------------------------------------------


LINK = stat.S_IFLNK | 0o777


def member(name: str, *, mode: int = 0, data: bytes = b"x") -> Write:
    """The honest .keras with one member more."""

    def write(at: Place) -> Path:
        path = Path(shutil.copy(at.honest / "net.keras", at.folder))
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a name is there twice
            rezip(path, {}, ((info, data),))
        return path

    return write


def bomb(at: Place) -> Path:
    """The honest .keras with 300 MiB of zeros more."""
    path = Path(shutil.copy(at.honest / "net.keras", at.folder))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/zeros", bytes(300 * MIB))
    return path


def encrypted(at: Place) -> Path:
    """The honest .keras whose directory says that its configuration is encrypted."""
    path = Path(shutil.copy(at.honest / "net.keras", at.folder))
    return _patched(path, "config.json", flag_bits=1)


def understated(at: Place) -> Path:
    """A .keras whose metadata unpack to 300 MiB, and whose directory says that they are as long as they should be."""
    path = Path(shutil.copy(at.honest / "net.keras", at.folder))
    members = members_of(path)
    stated = members["metadata.json"]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data + b" " * (300 * MIB if name == "metadata.json" else 0))
    return _patched(path, "metadata.json", crc=zlib.crc32(stated), size=len(stated))


def _patched(path: Path, name: str, *, flag_bits: int | None = None, crc: int = 0, size: int = 0) -> Path:
    """Change what an archive says of a member, where it lies and in the directory."""
    data, found = bytearray(path.read_bytes()), name.encode()
    for signature, flags, start in ((b"PK\3\4", 6, 30), (b"PK\1\2", 8, 46)):
        here = next(at for at in _places(data, signature) if data[at + start :].startswith(found))
        if flag_bits is not None:
            struct.pack_into("<H", data, here + flags, flag_bits)
        else:
            struct.pack_into("<I", data, here + flags + 8, crc)
            struct.pack_into("<I", data, here + flags + 16, size)
    path.write_bytes(data)
    return path


def _places(data: bytearray, signature: bytes) -> list[int]:
    found, at = [], data.find(signature)
    while at >= 0:
        found.append(at)
        at = data.find(signature, at + 1)
    return found


def many(at: Place) -> Path:
    """More members than a zip archive can list without its 64-bit extension."""
    path = Path(shutil.copy(at.honest / "net.keras", at.folder))
    rezip(path, {}, tuple((zipfile.ZipInfo(f"assets/{number}"), b"") for number in range(70_000)))
    return path


def as_npz(at: Place) -> Path:
    """The weights in the other format that Keras reads, which may hold pickles."""
    members = members_of(at.honest / "net.keras")
    with zipfile.ZipFile(at.folder / "net.keras", "w") as archive:
        for name, data in members.items():
            archive.writestr("model.weights.npz" if name == WEIGHTS else name, data)
    return at.folder / "net.keras"
