"""A stack of pictures to paint on, each at several times its final size."""

import numpy as np
from numpy.typing import NDArray

from harness.sources.synthetic_faces.arithmetic import Floats, cover
from harness.sources.synthetic_faces.geometry import on_face, upright
from harness.sources.synthetic_faces.identity import Identity
from harness.sources.synthetic_faces.picture import HEIGHT, WIDTH, Circumstances

FINER = 2
"""Points in each direction that a pixel is averaged from; edges are soft on top of that."""

_LEFT, _TOP = np.float32(WIDTH), np.float32(HEIGHT)


class Patch:
    """A rectangle of n pictures: its points' places and colours, k points in a row.

    u, v: relative to the head; face_u, face_v: as points of the face; both (n, k), in half face heights.
    colours: float32 (3, n, k), 0..1.
    """

    def __init__(self, who: Identity, picture: Circumstances, rows: tuple[int, int], columns: tuple[int, int]) -> None:
        """Rows and columns are in final pixels, from (inclusive) and to (exclusive)."""
        self.who = who
        self.picture = picture
        self.rows, self.columns = rows, columns
        y = (np.arange(rows[0] * FINER, rows[1] * FINER, dtype=np.float32) + np.float32(0.5)) / np.float32(FINER)
        x = (np.arange(columns[0] * FINER, columns[1] * FINER, dtype=np.float32) + np.float32(0.5)) / np.float32(FINER)
        self.x = np.tile(x, len(y))[None]
        self.y = np.repeat(y, len(x))[None]
        self.u, self.v = upright(self.x, self.y, picture)
        self.face_u, self.face_v = on_face(self.u, self.v, who, picture)
        self.sharp = picture.size[:, None] * np.float32(FINER)
        """(n, 1): points in half a face height, which turns a distance into coverage."""
        self.colours = np.zeros((3, *self.u.shape), np.float32)

    def mask(self, inside: Floats) -> Floats:
        """Coverage (n, k) of what lies `inside` (positive, in half face heights) its edge."""
        return cover(inside * self.sharp)

    def paint(self, mask: Floats, colour: Floats) -> None:
        """Lay a colour, (n, 3) or (3, n, k), over the points, as far as the mask (n, k) covers them."""
        paint = colour.T[:, :, None] if colour.ndim == 2 else colour
        self.colours += mask * (paint - self.colours)

    def lighten(self, factor: Floats) -> None:
        """Multiply the points' brightness by (n, k)."""
        self.colours *= factor


class Canvas:
    """n whole pictures: paint on a `Patch` of them, put it back, and take the finished pictures."""

    def __init__(self, who: Identity, picture: Circumstances) -> None:
        self.who = who
        self.picture = picture
        self.colours = np.zeros((3, len(picture.x), HEIGHT * FINER, WIDTH * FINER), np.float32)

    def open(self, rows: tuple[int, int] = (0, HEIGHT), columns: tuple[int, int] = (0, WIDTH)) -> Patch:
        """A patch with the colours that are there."""
        patch = Patch(self.who, self.picture, rows, columns)
        patch.colours[...] = self._window(patch).reshape(patch.colours.shape)
        return patch

    def close(self, patch: Patch) -> None:
        """Put the patch's colours back."""
        window = self._window(patch)
        window[...] = patch.colours.reshape(window.shape)

    def _window(self, patch: Patch) -> Floats:
        rows, columns = patch.rows, patch.columns
        return self.colours[:, :, rows[0] * FINER : rows[1] * FINER, columns[0] * FINER : columns[1] * FINER]

    def develop(self) -> NDArray[np.uint8]:
        """The pictures as the camera gives them: averaged, a little blurred, noisy; uint8 (n, H, W, 3)."""
        fine = self.colours
        down = fine[:, :, 0::FINER]
        for step in range(1, FINER):
            down = down + fine[:, :, step::FINER]
        small = down[..., 0::FINER]
        for step in range(1, FINER):
            small = small + down[..., step::FINER]
        small = small * np.float32(1 / FINER**2)
        soft = _smooth(_smooth(small).swapaxes(2, 3)).swapaxes(2, 3)
        small = small + self.picture.blur[:, None, None] * (soft - small)
        warmth, gain = self.picture.warmth, self.picture.gain
        tint = np.stack([gain * (1 + warmth), gain, gain * (1 - warmth)])[:, :, None, None]
        small = small * tint
        # Bright parts are compressed, as film and cameras do, so that light skin keeps its drawing.
        small = small * (np.float32(1.18) - np.float32(0.18) * np.minimum(small, np.float32(1.2)))
        levels = np.minimum(np.maximum(small, np.float32(0)), np.float32(1)) * np.float32(255) + np.float32(0.5)
        noisy = levels.astype(np.int16).transpose(1, 2, 3, 0) + self.picture.noise
        return np.clip(noisy, 0, 255).astype(np.uint8)


def _smooth(images: Floats) -> Floats:
    """Each row averaged with its neighbours (1, 2, 1), the picture's edge with itself."""
    above = np.concatenate([images[:, :, :1], images[:, :, :-1]], axis=2)
    below = np.concatenate([images[:, :, 1:], images[:, :, -1:]], axis=2)
    return (above + below + images + images) * np.float32(0.25)
