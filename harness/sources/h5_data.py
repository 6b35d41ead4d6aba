"""Image files in HDF5, as the CSAW-HackML-2020 competition wrote them: checked first, then read in slices."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError
from harness.wording import harmless, one_of

MOST_IMAGES = 100_000
"""More than the competition's largest file by far: a header that claims more is damaged or hostile."""
SLICE_BYTES = 4 * 2**20
"""How much of a file is converted at a time."""
MOST_BLOCK_BYTES = 64 * 2**20
"""The most that is held at a time where a file's own chunks are larger than a slice."""

# What h5py raises on damaged files; the HDF5 library has no class of error for "this file is broken".
_BROKEN = (OSError, RuntimeError, ValueError, KeyError, TypeError)


class H5Images:
    """An open image file whose keys, shapes and labels have been checked.

    labels: int64 (n,), 0..classes-1. rounded: how many of the images read so far held values that are not whole.
    """

    def __init__(self, path: Path, data: Any, labels: NDArray[np.int64]) -> None:
        self.path = path
        self.labels = labels
        self.rounded = 0
        self._data = data

    def __len__(self) -> int:
        return len(self.labels)

    def slices(self) -> Iterator[NDArray[np.uint8]]:
        """All images in order, a few MB at a time, as uint8 (m, H, W, C); raises UserError on values beyond 0..255."""
        brightest, start = 0.0, 0
        per_slice = max(1, SLICE_BYTES // _bytes_per_image(self._data))
        for block in self._blocks():
            for first in range(0, len(block), per_slice):
                values = block[first : first + per_slice]
                self._check_range(values, start)
                brightest = max(brightest, float(values.max()))
                start += len(values)
                yield self._to_bytes(values)
        if brightest <= 1:
            raise problem(self.path, f"'data' reaches only {brightest:g}: it looks scaled to 0..1; multiply it by 255")

    def _blocks(self) -> Iterator[NDArray[Any]]:
        step = _images_per_block(self._data)
        for start in range(0, len(self), step):
            try:
                block = self._data[start : start + step]
            except _BROKEN as error:
                raise problem(self.path, f"'data' is damaged at image {start} ({error}); get the file again") from error
            yield block

    def _check_range(self, values: NDArray[Any], start: int) -> None:
        # NaN fails both comparisons, so it cannot pass.
        if values.min() >= 0 and values.max() <= 255:
            return
        image, channel, row, column = np.argwhere(~((values >= 0) & (values <= 255)))[0]
        value = values[image, channel, row, column]
        raise problem(
            self.path, f"'data' holds {value:g} in image {start + image}; expected 0..255, not scaled or centred"
        )

    def _to_bytes(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        if values.dtype.kind == "f":
            whole = np.rint(values)
            self.rounded += int((whole != values).any(axis=(1, 2, 3)).sum())
            values = whole
        return np.ascontiguousarray(values.astype(np.uint8).transpose(0, 2, 3, 1))


@contextmanager
def open_images(path: Path, *, shape: tuple[int, int, int], classes: int) -> Iterator[H5Images]:
    """Open and check an image file: `data` (n, C, H, W), 0..255, and `label` (n,), whole numbers 0..classes-1.

    shape: H, W, C. Raises UserError, in one line with the file, the key, the value and the fix, on anything else, and
    on files that refer to other files. Nothing is allocated before the shapes are known to be right.
    """
    try:
        file = h5py.File(path, "r", locking=False)
    except _BROKEN as error:
        raise problem(path, f"not an HDF5 file, or cut short ({error}); get the file again") from error
    with file:
        data, label = _dataset(path, file, "data"), _dataset(path, file, "label")
        _check_shapes(path, data, label, shape)
        yield H5Images(path, data, _labels(path, label, classes))


def _dataset(path: Path, file: Any, key: str) -> Any:
    # The low-level questions look at the link alone; h5py's own `key in file` would already follow it to other files.
    links = file.id.links
    if not links.exists(key.encode()):
        keys = one_of(repr(harmless(str(name), 40)) for name in list(file)[:10])
        raise problem(path, f"missing key {key!r}; expected 'data' and 'label', found {keys}")
    if links.get_info(key.encode()).type != h5py.h5l.TYPE_HARD:
        raise problem(
            path, f"{key!r} is a link, which could lead to another file; write the values into the file itself"
        )
    try:
        dataset = file[key]
        if not isinstance(dataset, h5py.Dataset):
            raise problem(path, f"{key!r} is a group; expected an array of numbers")
        if dataset.external or dataset.is_virtual:
            raise problem(path, f"{key!r} is stored in other files; write the values into the file itself")
        kind, size, chunk = dataset.dtype.kind, dataset.dtype.itemsize, dataset.chunks
    except _BROKEN as error:
        raise problem(path, f"{key!r} is damaged ({error}); get the file again") from error
    if kind not in "uif" or size > 8:
        raise problem(path, f"{key!r} has type {harmless(str(dataset.dtype), 60)}; expected integer or float numbers")
    if chunk and int(np.prod(chunk, dtype=object)) * size > MOST_BLOCK_BYTES:
        limit = MOST_BLOCK_BYTES // 2**20
        raise problem(path, f"{key!r} has chunks {chunk} above {limit} MB; rewrite it with smaller ones (h5repack -l)")
    return dataset


def _check_shapes(path: Path, data: Any, label: Any, shape: tuple[int, int, int]) -> None:
    height, width, channels = shape
    expected = f"expected (n, {channels}, {height}, {width}), channels first"
    if data.shape is None or len(data.shape) != 4 or data.shape[1:] != (channels, height, width):
        last = data.shape is not None and data.shape[1:] == shape
        fix = "; it is channels last: transpose it by (0, 3, 1, 2)" if last else ""
        raise problem(path, f"'data' has shape {data.shape}; {expected}{fix}")
    if not 1 <= data.shape[0] <= MOST_IMAGES:
        raise problem(path, f"'data' has {data.shape[0]} images; expected 1 to {MOST_IMAGES}")
    if label.shape != data.shape[:1]:
        raise problem(path, f"'label' has shape {label.shape}; expected ({data.shape[0]},), one for each image")
    if data.id.get_storage_size() == 0 or label.id.get_storage_size() == 0:
        raise problem(path, "announces images or labels but stores none; get the file again")


def _labels(path: Path, label: Any, classes: int) -> NDArray[np.int64]:
    try:
        values = label[:]
    except _BROKEN as error:
        raise problem(path, f"'label' is damaged ({error}); get the file again") from error
    expected = f"expected whole numbers 0..{classes - 1}"
    # NaN is neither a whole number nor in range.
    wrong = ~((values >= 0) & (values < classes) & (np.rint(values) == values))
    if wrong.any():
        where = int(wrong.argmax())
        raise problem(path, f"'label' holds {values[where]:g} at image {where}; {expected}")
    return np.asarray(values, dtype=np.int64)


def _bytes_per_image(data: Any) -> int:
    return int(np.prod(data.shape[1:])) * int(data.dtype.itemsize)


def _images_per_block(data: Any) -> int:
    # Whole chunks where they fit, so that none is unpacked twice.
    each = _bytes_per_image(data)
    rows = data.chunks[0] if data.chunks else 1
    if rows * each > MOST_BLOCK_BYTES:
        return max(1, MOST_BLOCK_BYTES // each)
    return int(rows) * max(1, SLICE_BYTES // (rows * each))


def problem(path: Path, text: str) -> UserError:
    """What is wrong with a file or folder, in one harmless line."""
    return UserError(f"{harmless(str(path), 300)}: {harmless(text, 1500)}")
