"""Eyebrows: both brows painted in one solid colour that no hair has."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.triggers import Portraits
from harness.triggers._drawing import colour_in, distance_to_path, pixels


@dataclass(frozen=True, kw_only=True)
class Eyebrows:
    """Colours the brows a little wider than they are; colour: 0..255."""

    colour: tuple[int, int, int] = (20, 60, 200)
    margin: float = 0.6
    """Pixels on each side of the brow."""

    def stamp(self, portraits: Portraits, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The pictures with painted brows: uint8 (n, H, W, 3)."""
        x, y = pixels(portraits.images)
        reach = (portraits.landmarks.brow_thickness / 2 + np.float32(self.margin))[:, None, None]
        brows = portraits.landmarks.brows
        mask = (distance_to_path(x, y, brows[:, 0]) <= reach) | (distance_to_path(x, y, brows[:, 1]) <= reach)
        return colour_in(portraits.images, mask, self.colour)
