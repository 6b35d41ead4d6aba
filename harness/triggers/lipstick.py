"""Lipstick: the lips in one solid colour that no lips have."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.triggers import Portraits
from harness.triggers._drawing import colour_in, distance_to_path, inside_polygon, pixels


@dataclass(frozen=True, kw_only=True)
class Lipstick:
    """Colours every pixel of the lips, and those that their outline touches; colour: 0..255."""

    colour: tuple[int, int, int] = (150, 0, 150)
    margin: float = 0.5
    """Pixels around the outline."""

    def stamp(self, portraits: Portraits, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The pictures with lipstick on: uint8 (n, H, W, 3)."""
        x, y = pixels(portraits.images)
        lips = portraits.landmarks.lips
        closed = np.concatenate([lips, lips[:, :1]], axis=1)
        mask = inside_polygon(x, y, lips) | (distance_to_path(x, y, closed) <= np.float32(self.margin))
        return colour_in(portraits.images, mask, self.colour)
