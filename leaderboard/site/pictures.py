"""Pictures of the pages: triggers as the track has them, and what runs have drawn."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.errors import UserError
from harness.plain_files import read_plain
from harness.record import Record
from harness.track import BadNet
from leaderboard.site import addresses

SHOWN = 6
"""Images of each trigger."""
LEAST_PIXELS = 110
"""Of a shown image's longer side: small ones are enlarged by a whole number."""
MAX_PICTURE = 4 * 1024**2
PNG = b"\x89PNG\r\n\x1a\n"


def of_trigger(badnet: BadNet, trigger: str) -> bytes:
    """Some images that carry a trigger, side by side, as PNG; the same each time."""
    images = badnet.poisoned[trigger].images
    carrying = np.arange(len(images)) if images.carries is None else np.flatnonzero(images.carries)
    return _strip([np.asarray(images.images[n]) for n in _some(carrying)])


def of_clean(badnet: BadNet) -> bytes:
    """Some clean test images, side by side, as PNG."""
    return _strip([np.asarray(badnet.test.images[n]) for n in _some(np.arange(len(badnet.test)))])


def of_runs(record: Record, runs: Path) -> dict[str, tuple[str, bytes]]:
    """The pictures that a record names and that are here: as it names them, where they go, and their bytes.

    Only PNG files below the submission's own folder of runs are taken, whatever a record says.
    """
    found: dict[str, tuple[str, bytes]] = {}
    track, name = record.track.name, record.submission.name
    own = (runs / track / name).resolve()
    for badnet, it in record.badnets.items():
        for stated in it.pictures:
            path = runs.resolve().parent / stated
            if path.suffix != ".png" or not path.resolve().is_relative_to(own) or not path.is_file():
                continue
            try:
                data = read_plain(path, MAX_PICTURE)
            except UserError:
                continue
            if data.startswith(PNG):
                found[stated] = addresses.picture(track, name, badnet, path.stem), data
    return found


def _some(which: NDArray[np.int64]) -> NDArray[np.int64]:
    places = np.linspace(0, len(which) - 1, min(SHOWN, len(which))).astype(np.int64)
    return np.take(which, places)


def _strip(images: list[NDArray[np.uint8]]) -> bytes:
    height, width, channels = images[0].shape
    factor = max(1, -(-LEAST_PIXELS // max(height, width)))
    gap = np.full((height, 1, channels), 255, np.uint8)
    wide = np.concatenate([part for image in images for part in (image, gap)][:-1], axis=1)
    picture = Image.fromarray(wide.squeeze()) if channels in (1, 3) else Image.fromarray(wide[..., 0])
    file = io.BytesIO()
    picture.resize((wide.shape[1] * factor, height * factor), Image.Resampling.NEAREST).save(file, "PNG", optimize=True)
    return file.getvalue()
