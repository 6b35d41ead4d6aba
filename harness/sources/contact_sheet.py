"""Contact sheets: rows of small pictures as one PNG, to see with one's own eyes what a track is made of."""

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.track import Track

Rows = list[tuple[str, NDArray[np.uint8]]]
"""Rows of a sheet: a caption, and uint8 images (n, H, W, 3)."""

_GAP = 2
_PAPER = 245


def sheet(track: Track, *, people: int = 8) -> Rows:
    """Rows that show a built track: clean test images of some classes, two of each, then a row for every trigger.

    Works on any track's image sets; raises UserError where they are not there.
    """
    rows: Rows = []
    shown: set[Path] = set()
    for badnet in track.badnets.values():
        if badnet.test_path not in shown:
            shown.add(badnet.test_path)
            labels = badnet.test.labels
            classes = np.unique(labels)
            classes = classes[:: max(1, len(classes) // people)][:people]
            chosen = np.concatenate([np.flatnonzero(labels == label)[:2] for label in classes])
            rows += [(f"clean, classes {', '.join(map(str, classes))}", np.asarray(badnet.test.images[chosen]))]
        for trigger, poisoned in badnet.poisoned.items():
            if poisoned.folder not in shown:
                shown.add(poisoned.folder)
                count = len(poisoned.images)
                chosen = np.arange(2 * people) * max(1, count // (2 * people))
                rows.append((trigger, np.asarray(poisoned.images.images[chosen[chosen < count]])))
    return rows


def write_contact_sheet(rows: Rows, path: Path, zoom: int = 4) -> None:
    """Write the rows as an RGB PNG, every pixel `zoom` wide and high; raises OSError where `path` cannot be written."""
    strips = [_strip(images, zoom) for _, images in rows if len(images)]
    width = max(strip.shape[1] for strip in strips)
    padded = [np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0)), constant_values=_PAPER) for strip in strips]
    path.write_bytes(_png(np.concatenate(padded)))


def _strip(images: NDArray[np.uint8], zoom: int) -> NDArray[np.uint8]:
    framed = np.pad(images, ((0, 0), (0, _GAP), (0, _GAP), (0, 0)), constant_values=_PAPER)
    return np.concatenate(list(framed), axis=1).repeat(zoom, axis=0).repeat(zoom, axis=1)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """The image format's shortest form: a header, one compressed block of unfiltered rows, the end (RFC 2083)."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    blocks = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(blocks)
