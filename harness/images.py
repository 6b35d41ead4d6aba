"""Image sets on disk: one folder with `images.npy` and `labels.npy`, read without loading them whole."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError

UNKNOWN = -1
"""The label of an image whose true class is not known."""

Report = Callable[[str, int, int], None]
"""Told by long work: what is being done, how much of it is done, how much there is."""


def silent(what: str, done: int, total: int) -> None:
    """A `Report` that says nothing."""


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Images with their true classes.

    images: uint8 (n, H, W, C), RGB. labels: int64 (n,), 0..N-1, or -1 where the true class is unknown.
    carries: bool (n,), which images of a poisoned set really carry their trigger; None where all do or none is poisoned.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    carries: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def save(self, folder: Path) -> None:
        """Write the set as .npy files into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "images.npy", self.images)
        np.save(folder / "labels.npy", self.labels)
        if self.carries is not None:
            np.save(folder / "carries.npy", self.carries)

    @classmethod
    def load(cls, folder: Path) -> "ImageSet":
        """Open the set in `folder`, images memory-mapped; raises UserError where a file is missing or damaged."""
        try:
            images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
            labels = np.load(folder / "labels.npy", allow_pickle=False)
            carries_path = folder / "carries.npy"
            carries = np.load(carries_path, allow_pickle=False) if carries_path.exists() else None
        except (OSError, ValueError) as error:
            raise UserError(
                f"{folder}: cannot read the image set ({error}); build or import the track again"
            ) from error
        if images.dtype != np.uint8 or images.ndim != 4 or labels.shape != (len(images),):
            raise UserError(
                f"{folder}: images {images.dtype}{images.shape} and labels {labels.shape} do not belong together"
            )
        return cls(images=images, labels=labels, carries=carries)
