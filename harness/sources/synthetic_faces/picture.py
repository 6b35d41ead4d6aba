"""What differs from picture to picture: pose, expression, light, background, clothes and the camera's noise."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from harness.sources.synthetic_faces.arithmetic import Floats, between, generator

HEIGHT, WIDTH = 55, 47
_DRAWS = 64
"""Random numbers a picture has: more than are used, so that a new circumstance changes no old one."""


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """Pictures, one a row; shapes are (n,), colours (n, 3) in 0..1."""

    x: Floats
    """Where the middle of the face is, in pixels."""
    y: Floats
    size: Floats
    """Half the face's height in pixels."""
    roll: Floats
    """Tangent of half the angle by which the head leans."""
    yaw: Floats
    """-1..1: how far the face looks sideways."""
    pitch: Floats
    """-1..1: how far the face looks down."""
    smile: Floats
    open_mouth: Floats
    open_eyes: Floats
    raised_brows: Floats
    gaze_x: Floats
    gaze_y: Floats
    light_x: Floats
    light_y: Floats
    ambient: Floats
    """Share of the light that comes from everywhere."""
    gain: Floats
    warmth: Floats
    ruffle: Floats
    """How the hair fell this time."""
    backdrop: Floats
    backdrop_far: Floats
    backdrop_x: Floats
    backdrop_y: Floats
    clothes: Floats
    collar: Floats
    blur: Floats
    noise: NDArray[np.int16]
    """(n, H, W, 3): added in the end, in 1/255."""

    def take(self, chosen: slice) -> "Circumstances":
        """A run of the pictures."""
        return Circumstances(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def circumstances(seed: int, split: str, people: NDArray[np.int64], indices: NDArray[np.int64]) -> Circumstances:
    """Of the picture `index` of each person in a split: everything is drawn from (seed, split, person, index)."""
    draws = np.empty((len(people), _DRAWS), np.float32)
    noise = np.empty((len(people), HEIGHT, WIDTH, 3), np.int16)
    for row, (person, index) in enumerate(zip(people.tolist(), indices.tolist(), strict=True)):
        rng = generator(seed, split, person, index)
        draws[row] = rng.random(_DRAWS, dtype=np.float32)
        # The difference of two uniform numbers: bell-shaped enough for a camera, and exact.
        grain = rng.integers(0, rng.integers(3, 9), (2, HEIGHT, WIDTH, 3), dtype=np.int8)
        noise[row] = grain[0] - grain[1]
    left = iter(np.ascontiguousarray(draws.T))

    def some(low: float, high: float) -> Floats:
        return between(low, high, next(left))

    def middling(spread: float) -> Floats:
        return (next(left) - next(left)) * np.float32(spread)

    def colour(low: float, high: float) -> Floats:
        return np.stack([some(low, high) for _ in range(3)], axis=1)

    return Circumstances(
        x=WIDTH / 2 + middling(2.2),
        y=26.8 + middling(2.0),
        size=some(17.6, 20.2),
        roll=middling(0.11),
        yaw=middling(1.0),
        pitch=middling(0.8),
        smile=some(-0.35, 1.0),
        open_mouth=np.maximum(some(-1.2, 1.0), np.float32(0)),
        open_eyes=some(0.72, 1.12),
        raised_brows=middling(0.045),
        gaze_x=middling(0.6),
        gaze_y=middling(0.3),
        light_x=middling(0.95),
        light_y=some(-0.6, 0.15),
        ambient=some(0.45, 0.75),
        gain=some(0.82, 1.14),
        warmth=middling(0.07),
        ruffle=some(0.0, 1.0),
        backdrop=colour(0.12, 0.88),
        backdrop_far=colour(0.12, 0.88),
        backdrop_x=some(-0.2, 1.2),
        backdrop_y=some(-0.2, 1.2),
        clothes=colour(0.06, 0.85),
        collar=some(0.0, 1.0),
        blur=np.maximum(some(-0.6, 0.7), np.float32(0)),
        noise=noise,
    )
