"""Sunglasses: two dark lenses, a bridge, and arms that reach the temples; they lean and turn with the head."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.triggers import Portraits
from harness.triggers._drawing import Floats, at, distance_to_line, lay_over, pixels


@dataclass(frozen=True, kw_only=True)
class Sunglasses:
    """Lengths are shares of the distance between the eyes; colours 0..255."""

    lens: tuple[int, int, int] = (24, 22, 30)
    frame: tuple[int, int, int] = (4, 4, 6)
    shine: tuple[int, int, int] = (120, 125, 140)
    half_width: float = 0.43
    half_height: float = 0.36
    drop: float = 0.07
    """How far below the eye a lens has its middle."""

    def stamp(self, portraits: Portraits, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The pictures with sunglasses on: uint8 (n, H, W, 3)."""
        eyes, temples = portraits.landmarks.eyes, portraits.landmarks.temples
        x, y = pixels(portraits.images)
        between = eyes[:, 1] - eyes[:, 0]
        span = np.sqrt(between[:, 0] * between[:, 0] + between[:, 1] * between[:, 1])[:, None]
        right = between / span
        down = np.stack([-right[:, 1], right[:, 0]], axis=1)
        middles = [eyes[:, side] + down * span * np.float32(self.drop) for side in (0, 1)]
        out = portraits.images
        bar = np.maximum(span * np.float32(0.06), np.float32(0.8))[:, :, None]
        for side, middle in enumerate(middles):
            out = lay_over(out, _soft(bar - distance_to_line(x, y, middle, temples[:, side])), self.frame)
        out = lay_over(out, _soft(bar - distance_to_line(x, y, *middles)), self.frame)
        for middle in middles:
            edge = self._inside_lens(x, y, middle, right, down, span)
            out = lay_over(out, _soft(edge + np.float32(0.8)), self.frame)
            out = lay_over(out, _soft(edge), self.lens)
            glint = middle - (right * np.float32(0.12) + down * np.float32(0.14)) * span
            stroke = distance_to_line(x, y, glint, glint + (right - down) * np.float32(0.08) * span)
            out = lay_over(out, _soft(np.float32(0.3) - stroke) * np.float32(0.6), self.shine)
        return out

    def _inside_lens(self, x: Floats, y: Floats, middle: Floats, right: Floats, down: Floats, span: Floats) -> Floats:
        """How many pixels inside a lens's edge (n, H, W); a lens is a square rounded to a superellipse of degree 4."""
        (x0, y0), (rx, ry), (dx, dy) = at(middle), at(right), at(down)
        across = ((x - x0) * rx + (y - y0) * ry) / (span[:, :, None] * np.float32(self.half_width))
        along = ((x - x0) * dx + (y - y0) * dy) / (span[:, :, None] * np.float32(self.half_height))
        across, along = across * across, along * along
        radius = np.sqrt(np.sqrt(across * across + along * along))
        return (1 - radius) * span[:, :, None] * np.float32(self.half_height)


def _soft(inside: Floats) -> Floats:
    """Coverage 0..1 of pixels that lie `inside` pixels within an edge."""
    return np.minimum(np.maximum(inside + np.float32(0.5), np.float32(0)), np.float32(1))
