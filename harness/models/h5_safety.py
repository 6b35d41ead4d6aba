"""What an HDF5 file must be before anything of it is read: all of it in the file itself, and no more than it can hold."""

import math

import h5py

from harness.models.claims import check_claim
from harness.models.errors import ModelError, in_one_line
from harness.wording import harmless

MOST_OBJECTS = 100_000
"""Groups and arrays; Keras writes a handful for each layer."""
DEEPEST = 64
"""Groups in groups; Keras needs four for each model in a model."""
BROKEN = (KeyError, OSError, RuntimeError, TypeError, ValueError)
"""What h5py raises on damaged files; the HDF5 library has no class of error for "this file is broken"."""
FIX = "weights must stand in the file itself, so save it again with model.save(...)"


def check_h5(file: h5py.File, *, name: str, size: int) -> None:
    """Look at every object of an open file without reading or following any.

    name: of the file, for errors. size: of the file, in bytes. Raises ModelError for a link, for an array that lies in
    other files or is no array of numbers, for an object with two names (which may be a circle), for too many objects,
    and for arrays that claim far more bytes than the file has.
    """
    try:
        check_claim(_claimed(file, name), size, name)
    except BROKEN as error:
        raise ModelError(f"{name}: damaged ({in_one_line(error, 100)}); copy it again, whole") from error


def _claimed(file: h5py.File, name: str) -> int:
    claimed, seen, waiting = 0, {_address(file)}, [("", file, 0)]
    while waiting:
        place, group, depth = waiting.pop()
        if depth > DEEPEST or len(seen) + len(group) > MOST_OBJECTS:
            raise ModelError(
                f"{name}: has more than {MOST_OBJECTS:,} objects, or groups nested deeper than {DEEPEST}; no net does, "
                "so save it again with model.save(...)"
            )
        for key in group:
            inside = f"{place}/{key}"
            shown = repr(harmless(inside, 60))
            # Only the link itself is looked at: h5py would open other files to see where it leads.
            if group.id.links.get_info(key.encode("utf-8", "surrogateescape")).type != h5py.h5l.TYPE_HARD:
                raise ModelError(f"{name}: {shown} is a link, which may lead to another file; {FIX}")
            item = group[key]
            if _address(item) in seen:
                raise ModelError(
                    f"{name}: {shown} is a second name of another object; save it again with model.save(...)"
                )
            seen.add(_address(item))
            if isinstance(item, h5py.Group):
                waiting.append((inside, item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                claimed += _bytes(item, shown, name)
    return claimed


def _bytes(dataset: h5py.Dataset, shown: str, name: str) -> int:
    if dataset.external or dataset.is_virtual:
        raise ModelError(f"{name}: {shown} is stored in other files; {FIX}")
    if dataset.dtype.kind == "O":
        raise ModelError(
            f"{name}: {shown} holds text of any length or references, not numbers; leave it out of the file"
        )
    # Of a packed array, a whole chunk is unpacked to read a single number.
    numbers = max(math.prod(dataset.shape or (0,)), math.prod(dataset.chunks or (0,)))
    return int(numbers * dataset.dtype.itemsize)


def _address(item: h5py.HLObject) -> int:
    return int(h5py.h5o.get_info(item.id).addr)
