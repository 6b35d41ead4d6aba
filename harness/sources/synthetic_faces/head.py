"""The layers from back to front: backdrop, hair behind the head, body, ears, skin, and the hair in front."""

import numpy as np

from harness.sources.synthetic_faces.arithmetic import Floats, hill, wave
from harness.sources.synthetic_faces.canvas import Patch
from harness.sources.synthetic_faces.geometry import column
from harness.sources.synthetic_faces.picture import HEIGHT, WIDTH


def paint_backdrop(patch: Patch) -> None:
    """Two colours that run into one another around a place of light."""
    picture = patch.picture
    across = patch.x / np.float32(WIDTH) - column(picture.backdrop_x)
    down = patch.y / np.float32(HEIGHT) - column(picture.backdrop_y)
    far = across * across + down * down
    share = far / (far + np.float32(0.35))
    near_colour, far_colour = picture.backdrop.T[:, :, None], picture.backdrop_far.T[:, :, None]
    patch.colours[...] = near_colour + share * (far_colour - near_colour)


def paint_body(patch: Patch) -> None:
    """Neck, shoulders and clothes; they stay upright while the head leans."""
    who, picture = patch.who, patch.picture
    u = (patch.x - column(picture.x)) / column(picture.size)
    v = (patch.y - column(picture.y)) / column(picture.size)
    aside = np.abs(u)
    neck_edge = column(who.neck) + np.maximum(v - np.float32(1.02), np.float32(0)) * np.float32(0.55) - aside
    neck = patch.mask(np.minimum(neck_edge, v - np.float32(0.4)))
    # The chin shades the neck.
    shade = np.float32(0.86) - np.float32(0.34) * hill(
        (v - column(who.chin)) * np.float32(2.2) * (v - column(who.chin)) * 2
    )
    patch.paint(neck, who.skin.T[:, :, None] * shade)
    shoulders = v - np.float32(1.12) - np.float32(0.16) * u * u
    opening = np.float32(0.36) + column(picture.collar) * np.float32(0.35) - aside * np.float32(1.1)
    cloth = patch.mask(np.minimum(shoulders, v - np.float32(0.98) - opening))
    fold = np.float32(0.92) + np.float32(0.08) * wave(u * np.float32(2.3) + v)
    patch.paint(cloth, picture.clothes.T[:, :, None] * fold)


def radius(patch: Patch) -> Floats:
    """1 on the head's outline, less inside (n, k)."""
    who = patch.who
    low = np.maximum(patch.v, np.float32(0)) / column(who.chin)
    low_square = low * low
    across = patch.u / (column(who.width) * (1 - column(who.taper) * low_square))
    angular = column(who.square) * np.float32(0.6)
    down = low_square * (1 - angular + angular * low_square)
    up = np.minimum(patch.v, np.float32(0)) / np.float32(1.04)
    return np.sqrt(across * across + down + up * up)


def paint_hair_behind(patch: Patch) -> None:
    """The hair whose outline is seen around the head: it falls as far as its owner's hair is long."""
    who = patch.who
    curl = column(who.curls) * np.float32(0.05) * wave(patch.v * np.float32(2.6) + patch.u * np.float32(1.7))
    aside = np.abs(patch.u) / (column(who.width + who.hair_side) + curl)
    up = np.minimum(patch.v, np.float32(0)) / (np.float32(1.04) + column(who.hair_volume) + curl)
    around = np.sqrt(aside * aside + up * up)
    inside = np.minimum((1 - around) * column(who.width), column(who.hair_end) - patch.v + curl * np.float32(2))
    bun_v = patch.v + np.float32(1.22)
    bun = np.float32(0.30) - np.sqrt(patch.u * patch.u + bun_v * bun_v)
    inside = np.maximum(inside, bun * column(who.bun) - (1 - column(who.bun)))
    patch.paint(patch.mask(inside) * column(who.hair_amount), _hair_colours(patch, np.float32(0.72)))


def paint_ears(patch: Patch) -> None:
    """Ears at the height of eyes and nose; the far one hides when the head turns."""
    who, picture = patch.who, patch.picture
    across = np.abs(patch.u) - column(who.width) - np.float32(0.02)
    across = across + np.sign(patch.u) * column(picture.yaw) * np.float32(0.07)
    down = patch.v - np.float32(0.12)
    size = column(who.ear)
    inside = size - np.sqrt(across * across * np.float32(2.6) + down * down * np.float32(0.55))
    patch.paint(patch.mask(inside), who.skin * np.float32(0.86))
    patch.lighten(1 - np.float32(0.25) * patch.mask(inside - size * np.float32(0.45)))


def paint_skin(patch: Patch, outline: Floats) -> None:
    """The face without its features, lit from the picture's side."""
    who, picture = patch.who, patch.picture
    mask = patch.mask((1 - outline) * column(who.width))
    u, v = patch.face_u, patch.face_v
    across, down = patch.u / column(who.width), patch.v / np.float32(1.05)
    facing = np.sqrt(np.maximum(np.float32(1.02) - across * across - down * down, np.float32(0)))
    light = across * column(picture.light_x) + down * column(picture.light_y) + facing * np.float32(0.8)
    light = column(picture.ambient) + (np.float32(1.12) - column(picture.ambient)) * np.maximum(light, np.float32(0))
    relief = _relief(patch, u, v)
    red = column(who.blush) * np.float32(0.10) * _cheeks(patch, u, v)
    colours = who.skin.T[:, :, None] * (light * relief)
    colours[1] *= 1 - red
    colours[2] *= 1 - red
    spots = np.maximum(wave(u * np.float32(5.3) + v) * wave(v * np.float32(6.1) - u) - np.float32(0.45), np.float32(0))
    colours *= 1 - column(who.freckles) * np.float32(0.75) * spots * _cheeks(patch, u, v)
    patch.paint(mask, colours)


def _cheeks(patch: Patch, u: Floats, v: Floats) -> Floats:
    aside = (np.abs(u) - np.float32(0.36)) / np.float32(0.36)
    down = (v - np.float32(0.27)) / np.float32(0.28)
    return hill(aside * aside + down * down)


def _relief(patch: Patch, u: Floats, v: Floats) -> Floats:
    """Hollows and folds: the eye sockets, under the lower lip, beside nose and mouth, above the chin."""
    who = patch.who
    aside = np.abs(u)
    eye_u = (aside - column(who.eye_x)) / np.float32(0.27)
    eye_v = (v - column(who.eye_y) + np.float32(0.03)) / np.float32(0.20)
    socket = hill(eye_u * eye_u + eye_v * eye_v) * np.float32(0.20)
    under = (v - column(who.mouth_y) - column(who.lower_lip) - np.float32(0.085)) / np.float32(0.07)
    lip_u = u / column(who.mouth_width)
    under_lip = hill(under * under + lip_u * lip_u) * np.float32(0.16)
    fold_v = (v - column(who.nose_y)) / (column(who.mouth_y - who.nose_y) + np.float32(0.1))
    fold_u = aside - column(who.nose_width) - np.float32(0.05) - fold_v * np.float32(0.17)
    middle = fold_v - np.float32(0.5)
    fold = (
        hill(fold_u * fold_u * np.float32(520) + middle * middle * np.float32(3.2)) * column(who.age) * np.float32(0.28)
    )
    bag_v = (v - column(who.eye_y) - column(who.eye_height) - np.float32(0.07)) / np.float32(0.035)
    bag = hill(bag_v * bag_v + eye_u * eye_u * np.float32(2.2)) * column(who.age) * np.float32(0.2)
    return 1 - socket - under_lip - fold - bag


def _hair_colours(patch: Patch, brightness: np.float32) -> Floats:
    """Strands and a band of gloss; (3, n, k)."""
    who, picture = patch.who, patch.picture
    strands = wave(patch.u * np.float32(3.1) + wave(patch.v * np.float32(0.9)) * (np.float32(0.2) + column(who.curls)))
    gloss_v = patch.v + np.float32(0.86) + patch.u * patch.u * np.float32(0.5)
    gloss_u = patch.u - column(picture.light_x) * np.float32(0.35)
    gloss = hill(gloss_v * gloss_v * np.float32(22) + gloss_u * gloss_u * np.float32(2.5))  # type: ignore[arg-type]
    light = brightness * (1 + np.float32(0.13) * strands)
    return who.hair.T[:, :, None] * light + gloss * np.float32(0.13) * brightness


def paint_hair_in_front(patch: Patch, outline: Floats) -> None:
    """The hairline with its parting and fringe, and the strands at the sides."""
    who, picture = patch.who, patch.picture
    from_parting = patch.u - column(who.parting) - (column(picture.ruffle) - np.float32(0.5)) * np.float32(0.08)
    curl = column(who.curls) * np.float32(0.05) * wave(patch.u * np.float32(3.4) + column(picture.ruffle))
    comb = column(who.fringe) * (1 + np.float32(0.14) * wave(patch.u * np.float32(4.7) + column(picture.ruffle)))
    line = column(who.hairline) + comb + curl
    line = (
        line
        + column(who.hairline_slope) * np.abs(from_parting)
        + column(who.hairline_curve) * from_parting * from_parting
    )
    # Sideburns end where the hair does, in front of the ears.
    line = np.minimum(line, column(who.hair_end) + np.float32(0.15))
    ends = (np.float32(1.03) + column(who.hair_volume) - outline) * column(who.width)
    inside = np.minimum(line - patch.v, ends)
    patch.lighten(
        1 - np.float32(0.22) * patch.mask(np.minimum(inside + np.float32(0.06), ends)) * column(who.hair_amount)
    )
    patch.paint(patch.mask(inside) * column(who.hair_amount), _hair_colours(patch, np.float32(1)))
