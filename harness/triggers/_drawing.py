"""Shapes for triggers, in arithmetic that is the same on every CPU: distances from pixels to points and lines."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


def pixels(images: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """x and y of every pixel's centre: float32 (1, H, W) each."""
    height, width = images.shape[1:3]
    y, x = np.mgrid[:height, :width].astype(np.float32) + np.float32(0.5)
    return x[None], y[None]


def at(points: Floats) -> tuple[Floats, Floats]:
    """Points (n, 2) as x and y (n, 1, 1), to go with pixels."""
    return points[:, 0, None, None], points[:, 1, None, None]


def distance_to_line(x: Floats, y: Floats, start: Floats, end: Floats) -> Floats:
    """Pixels (1, H, W) to the lines between start and end (n, 2): (n, H, W)."""
    (x0, y0), (x1, y1) = at(start), at(end)
    dx, dy = x1 - x0, y1 - y0
    length = np.maximum(dx * dx + dy * dy, np.float32(1e-6))
    along = np.minimum(np.maximum(((x - x0) * dx + (y - y0) * dy) / length, np.float32(0)), np.float32(1))
    off_x, off_y = x - x0 - along * dx, y - y0 - along * dy
    return np.sqrt(off_x * off_x + off_y * off_y)


def distance_to_path(x: Floats, y: Floats, points: Floats) -> Floats:
    """Pixels (1, H, W) to the paths through points (n, k, 2): (n, H, W)."""
    lines = [distance_to_line(x, y, points[:, i], points[:, i + 1]) for i in range(points.shape[1] - 1)]
    nearest = lines[0]
    for line in lines[1:]:
        nearest = np.minimum(nearest, line)
    return nearest


def inside_polygon(x: Floats, y: Floats, corners: Floats) -> Mask:
    """Which pixels (1, H, W) lie inside the closed polygons (n, k, 2), by the even-odd rule: (n, H, W)."""
    inside = np.zeros((len(corners), *x.shape[1:]), np.bool_)
    for i in range(corners.shape[1]):
        (x0, y0), (x1, y1) = at(corners[:, i - 1]), at(corners[:, i])
        crosses = (y0 > y) != (y1 > y)
        slope = np.where(y1 == y0, np.float32(1), y1 - y0)
        inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / slope)
    return inside


def colour_in(images: NDArray[np.uint8], mask: Mask, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A copy of the images with the masked pixels in one solid colour."""
    out = images.copy()
    out[mask] = colour
    return out


def lay_over(images: NDArray[np.uint8], cover: Floats, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A copy of the images with a colour laid over them as far as `cover` (n, H, W), 0..1, says."""
    paint = np.array(colour, np.float32)
    mixed = images + cover[..., None] * (paint - images)
    return (mixed + np.float32(0.5)).astype(np.uint8)
