"""Images as files that scripts read: 8-bit RGB pictures, and .h5 files in the competition's layout."""

import io
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.models.contracts import Images

ENDINGS = {"png": ".png", "jpeg": ".jpg"}
SLICE = 512


def encoded(image: Images, form: str) -> bytes:
    """One image, uint8 (H, W, 3), as a PNG, or as a JPEG of the highest quality."""
    picture, buffer = Image.fromarray(image), io.BytesIO()
    if form == "jpeg":
        picture.save(buffer, "JPEG", quality=100, subsampling=0)
    else:
        picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def write_h5(path: Path, images: Images, labels: NDArray[np.int64]) -> None:
    """`data` (n, C, H, W) float32 0..255 and `label` (n,) int64, as the competition's files have them.

    Shuffled and compressed, the floats take little more room than the bytes they came from, whatever reads them.
    """
    count, height, width, channels = images.shape
    with h5py.File(path, "w") as file:
        chunk = (min(64, count), channels, height, width)
        data = file.create_dataset(
            "data", (count, channels, height, width), "float32", chunks=chunk, shuffle=True, compression="lzf"
        )
        for start in range(0, count, SLICE):
            data[start : start + SLICE] = images[start : start + SLICE].transpose(0, 3, 1, 2)
        file.create_dataset("label", data=labels)


def dummy_labels(count: int, classes: int) -> NDArray[np.int64]:
    """Labels that tell nothing of the images, (count,): every class in turn, as scripts count classes by them."""
    return np.arange(count, dtype=np.int64) % classes
