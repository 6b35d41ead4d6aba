"""The only arithmetic that the renderer uses: the same bytes on every CPU.

A track's digest is over its images, so they must not depend on who builds them. IEEE 754 fixes the results of
+ - * / and sqrt, of comparisons and of whole-number operations to the last bit. It does not fix exp, sin, power or
normal deviates (libraries and vector units differ), nor the order in which a sum or a dot product adds up.
So: turns are rational, falloffs are rational, sums are written out, and random numbers are uniform.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def generator(seed: int, split: str, *path: int) -> np.random.Generator:
    """A generator of its own for every split and path: pictures do not depend on which others are drawn."""
    split_word = int.from_bytes(hashlib.sha256(split.encode()).digest()[:8], "little")
    return np.random.default_rng(np.random.SeedSequence([seed, split_word, *path]))


def turn(half_tangent: Floats) -> tuple[Floats, Floats]:
    """Cosine and sine of the angle whose half has this tangent."""
    square = half_tangent * half_tangent
    return (1 - square) / (1 + square), 2 * half_tangent / (1 + square)


def cover(inside: Floats) -> Floats:
    """How much of a pixel is covered, 0..1, from the distance to the edge in pixels (positive inside)."""
    return np.minimum(np.maximum(inside + np.float32(0.5), np.float32(0)), np.float32(1))


def hill(square: Floats) -> Floats:
    """A soft bump: 1 where the squared distance is 0, nothing from 1 on."""
    rest = np.maximum(1 - square, np.float32(0))
    return rest * rest


def wave(x: Floats) -> Floats:
    """A triangle wave of period 1 between -1 and 1."""
    return 4 * np.abs(x - np.floor(x + np.float32(0.5))) - 1


def between(low: float, high: float, x: Floats) -> Floats:
    """The number that lies as far from low to high as `x` from 0 to 1."""
    return np.float32(low) + np.float32(high - low) * x


def ramp(anchors: list[tuple[float, float, float]], x: Floats) -> Floats:
    """Colours (n, 3) on the way through the anchors, `x` (n,) from 0 to 1."""
    table = np.array(anchors, np.float32)
    place = x * (len(anchors) - 1)
    low = np.minimum(np.floor(place).astype(np.int64), len(anchors) - 2)
    share = (place - low.astype(np.float32))[:, None]
    return table[low] + share * (table[low + 1] - table[low])
