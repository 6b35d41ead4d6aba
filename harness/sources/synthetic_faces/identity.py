"""Who the people are: everything about a face that stays the same in all of its pictures."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from harness.sources.synthetic_faces.arithmetic import Floats, between, generator, ramp

_SKINS = [
    (0.97, 0.83, 0.74),
    (0.92, 0.74, 0.60),
    (0.83, 0.63, 0.47),
    (0.69, 0.48, 0.34),
    (0.52, 0.35, 0.24),
    (0.38, 0.25, 0.17),
]
_HAIRS = [
    (0.06, 0.05, 0.05),
    (0.17, 0.10, 0.07),
    (0.33, 0.20, 0.12),
    (0.48, 0.25, 0.12),
    (0.60, 0.44, 0.24),
    (0.86, 0.72, 0.44),
]
_GREYS = [(0.45, 0.45, 0.46), (0.88, 0.87, 0.85)]
_IRISES = [(0.15, 0.08, 0.04), (0.33, 0.20, 0.10), (0.35, 0.42, 0.25), (0.30, 0.48, 0.68)]

_TRAITS = 64
"""Random numbers an identity has: more than are used, so that a new trait changes no old one."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Faces, one a row. Lengths are in half face heights; y grows downwards from the middle of the face.

    Shapes are (n,), colours (n, 3) in 0..1; `has_...` and shares are 0..1.
    """

    skin: Floats
    hair: Floats
    brow_colour: Floats
    iris: Floats
    lip: Floats
    width: Floats
    taper: Floats
    """How much narrower the jaw is than the cheeks."""
    square: Floats
    """How angular the jaw is."""
    chin: Floats
    """How far down the chin reaches."""
    ear: Floats
    neck: Floats
    hair_volume: Floats
    """How far the hair stands off the skull."""
    hair_side: Floats
    """How far off at the sides."""
    hair_end: Floats
    """How far down the hair behind the face reaches."""
    hair_amount: Floats
    """0 where the head is bald or shaved."""
    hairline: Floats
    hairline_slope: Floats
    hairline_curve: Floats
    parting: Floats
    fringe: Floats
    """How far down a fringe reaches below the hairline."""
    curls: Floats
    bun: Floats
    eye_y: Floats
    eye_x: Floats
    eye_width: Floats
    eye_height: Floats
    eye_slant: Floats
    lid: Floats
    brow_y: Floats
    brow_thickness: Floats
    brow_arch: Floats
    brow_slant: Floats
    brow_length: Floats
    nose_y: Floats
    nose_width: Floats
    nose_bridge: Floats
    mouth_y: Floats
    mouth_width: Floats
    upper_lip: Floats
    lower_lip: Floats
    has_beard: Floats
    has_moustache: Floats
    has_goatee: Floats
    beard_top: Floats
    age: Floats
    """0..1: how deep the folds beside nose and mouth are."""
    blush: Floats
    freckles: Floats
    mole_x: Floats
    mole_y: Floats
    has_mole: Floats

    def take(self, chosen: NDArray[np.int64]) -> "Identity":
        """The chosen faces, in that order."""
        return Identity(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def identities(seed: int, count: int) -> Identity:
    """The first `count` people of this seed."""
    traits = np.stack([generator(seed, "identity", person).random(_TRAITS) for person in range(count)])
    left = iter(np.ascontiguousarray(traits.T, dtype=np.float32))

    def some(low: float, high: float) -> Floats:
        return between(low, high, next(left))

    def chance(share: float) -> Floats:
        return (next(left) < np.float32(share)).astype(np.float32)

    tone, tint, shade = next(left), some(-0.03, 0.03), next(left)
    skin = ramp(_SKINS, tone) * np.stack([1 + tint, np.ones_like(tint), 1 - tint], axis=1)
    # Dark hair goes with dark skin, as it mostly does; some are grey.
    hair = ramp(_HAIRS, shade * np.minimum(np.float32(1), 1.7 * (1 - 0.85 * tone)))
    grey, whiteness = chance(0.14)[:, None], next(left)
    hair = hair + grey * (ramp(_GREYS, whiteness) - hair)
    bearded = chance(0.36)
    long_hair = chance(0.55) * (1 - bearded)
    bald = chance(0.10) * (1 - long_hair)
    style = next(left)
    fringe = ((style < np.float32(0.3)) * some(0.12, 0.3)).astype(np.float32)
    bun = chance(0.25) * long_hair
    falls = long_hair * (1 - bun)
    lipstickless = ramp([(0.86, 0.50, 0.48), (0.74, 0.36, 0.36), (0.80, 0.55, 0.48)], next(left))
    redness = some(0.35, 0.8) * (1 - 0.4 * bearded)
    brow_dark = some(0.55, 0.95)
    beard_kind = next(left)
    side_curve = some(0.35, 1.0)
    return Identity(
        skin=skin,
        hair=hair,
        brow_colour=hair * brow_dark[:, None] * np.float32(0.8),
        iris=ramp(_IRISES, next(left) * np.minimum(np.float32(1), 1.6 * (1 - tone))),
        lip=skin * np.float32(0.85) * (1 - redness)[:, None]
        + redness[:, None] * lipstickless * (0.45 + 0.55 * skin[:, :1]),
        width=some(0.66, 0.86),
        taper=some(0.08, 0.36),
        square=some(0.0, 0.9),
        chin=some(0.90, 1.10),
        ear=some(0.10, 0.17),
        neck=some(0.34, 0.50) + 0.05 * bearded,
        hair_volume=between(0.04, 0.22, next(left)) + long_hair * 0.05,
        hair_side=0.03 + some(0.0, 0.12) + falls * some(0.02, 0.2),
        hair_end=-0.30 + some(0.0, 0.25) + falls * some(0.75, 1.6),
        hair_amount=1 - bald,
        hairline=some(-0.82, -0.56) - (1 - long_hair) * 0.03,
        hairline_slope=some(0.0, 0.45),
        hairline_curve=side_curve * (1 - 0.6 * (style < np.float32(0.3))) + 0.35 * falls,
        parting=some(-0.42, 0.42),
        fringe=fringe,
        curls=chance(0.35) * some(0.3, 1.0),
        bun=bun,
        eye_y=some(-0.12, -0.01),
        eye_x=some(0.29, 0.38),
        eye_width=some(0.135, 0.19),
        eye_height=some(0.055, 0.098),
        eye_slant=some(-0.035, 0.05),
        lid=some(0.2, 0.9),
        brow_y=some(-0.175, -0.125),
        brow_thickness=some(0.026, 0.062) + 0.012 * bearded,
        brow_arch=some(0.0, 0.085),
        brow_slant=some(-0.05, 0.06),
        brow_length=some(0.19, 0.27),
        nose_y=some(0.27, 0.42),
        nose_width=some(0.10, 0.19),
        nose_bridge=some(0.5, 1.3),
        mouth_y=some(0.56, 0.68),
        mouth_width=some(0.22, 0.34),
        upper_lip=some(0.030, 0.075),
        lower_lip=some(0.050, 0.105),
        has_beard=bearded * (beard_kind < np.float32(0.45)) * some(0.45, 0.95),
        has_moustache=bearded * (beard_kind < np.float32(0.85)) * some(0.6, 0.95),
        has_goatee=bearded * (beard_kind > np.float32(0.4)) * some(0.5, 0.95),
        beard_top=some(0.25, 0.5),
        age=next(left) * np.float32(0.6) + grey[:, 0] * np.float32(0.4),
        blush=some(0.0, 1.0),
        freckles=chance(0.18) * (1 - tone),
        mole_x=some(-0.45, 0.45),
        mole_y=some(0.1, 0.8),
        has_mole=chance(0.3),
    )
