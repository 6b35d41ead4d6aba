"""Where a point of a face is in the picture, and the reverse: one curved surface that leans, turns and nods."""

import numpy as np

from harness.sources.synthetic_faces.arithmetic import Floats, turn
from harness.sources.synthetic_faces.identity import Identity
from harness.sources.synthetic_faces.picture import Circumstances
from harness.triggers import Landmarks

DEPTH_X, DEPTH_Y = np.float32(0.24), np.float32(0.14)
"""How far the middle of the face moves, in half face heights, when the head is turned or nods fully."""


def column(values: Floats) -> Floats:
    """(n,) as (n, 1), to go with n rows of points."""
    return values[:, None]


def bulge(u: Floats, v: Floats, width: Floats) -> Floats:
    """How near to the camera the face's surface is, 0 at its outline to 1 in its middle; u, v (n, k), width (n, 1)."""
    across = u / width
    return np.maximum(1 - across * across - v * v, np.float32(0))


def upright(x: Floats, y: Floats, picture: Circumstances) -> tuple[Floats, Floats]:
    """Pixels (n, k) or (k,) as places relative to the head, in half face heights, the head's lean undone."""
    cosine, sine = turn(column(picture.roll))
    right = (x - column(picture.x)) / column(picture.size)
    down = (y - column(picture.y)) / column(picture.size)
    return cosine * right + sine * down, cosine * down - sine * right


def on_face(u: Floats, v: Floats, who: Identity, picture: Circumstances) -> tuple[Floats, Floats]:
    """Places relative to the head as points of the face, its turn and nod undone."""
    near = bulge(u, v, column(who.width))
    return u - DEPTH_X * column(picture.yaw) * near, v - DEPTH_Y * column(picture.pitch) * near


def in_picture(u: Floats, v: Floats, who: Identity, picture: Circumstances) -> Floats:
    """Points of the face (n, k) as pixels (n, k, 2): the reverse of `on_face` and `upright`."""
    head_u, head_v = u, v
    # `on_face` has no closed inverse; it contracts, so a few rounds are exact to a hundredth of a pixel.
    for _ in range(8):
        near = bulge(head_u, head_v, column(who.width))
        head_u = u + DEPTH_X * column(picture.yaw) * near
        head_v = v + DEPTH_Y * column(picture.pitch) * near
    cosine, sine = turn(column(picture.roll))
    x = column(picture.x) + column(picture.size) * (cosine * head_u - sine * head_v)
    y = column(picture.y) + column(picture.size) * (sine * head_u + cosine * head_v)
    return np.stack([x, y], axis=2)


def brow_line(along: Floats, who: Identity, picture: Circumstances, side: Floats | np.float32) -> Floats:
    """The height v of a brow's middle line; `along` runs from -1 at the nose to 1 at the temple."""
    raised = column(picture.raised_brows) * (1 + np.float32(0.3) * side)
    arch = column(who.brow_arch) * (1 - along * along)
    return column(who.eye_y) + column(who.brow_y) - raised - arch - column(who.brow_slant) * along


def lip_lines(along: Floats, who: Identity, picture: Circumstances) -> tuple[Floats, Floats, Floats, Floats]:
    """Heights v of the lips' four edges, upper lip first; `along` runs from -1 to 1 between the mouth's corners."""
    square = along * along
    round_ = np.maximum(1 - square, np.float32(0))
    middle = column(who.mouth_y) - column(picture.smile) * np.float32(0.065) * (square - np.float32(0.3))
    gap = column(picture.open_mouth) * np.float32(0.055) * round_
    bow = np.maximum(1 - square * np.float32(12), np.float32(0)) * np.float32(0.3)
    top = middle - gap - column(who.upper_lip) * round_ * (1 - bow)
    bottom = middle + gap * np.float32(1.5) + column(who.lower_lip) * round_
    return top, middle - gap, middle + gap * np.float32(1.5), bottom


def mouth_half_width(who: Identity, picture: Circumstances) -> Floats:
    """(n, 1): a smile widens the mouth."""
    return column(who.mouth_width * (1 + np.float32(0.14) * picture.smile))


def landmarks(who: Identity, picture: Circumstances) -> Landmarks:
    """Where the parts of each face are in its picture."""
    sides = np.array([[-1.0, 1.0]], np.float32)
    eyes = in_picture(sides * column(who.eye_x), np.repeat(column(who.eye_y), 2, axis=1), who, picture)
    temples = in_picture(sides * column(who.width), np.repeat(column(who.eye_y), 2, axis=1), who, picture)
    along = np.array([[-1.0, -0.5, 0.0, 0.5, 1.0]], np.float32)
    outwards = column(who.eye_x) + along * column(who.brow_length)
    brows = [in_picture(side * outwards, brow_line(along, who, picture, side), who, picture) for side in sides[0]]
    across = np.linspace(-1, 1, 9, dtype=np.float32)[None]
    top, _, _, bottom = lip_lines(across, who, picture)
    around_u = np.concatenate([across, across[:, -2:0:-1]], axis=1) * mouth_half_width(who, picture)
    around_v = np.concatenate([top, bottom[:, -2:0:-1]], axis=1)
    return Landmarks(
        eyes=eyes,
        temples=temples,
        brows=np.stack(brows, axis=1),
        brow_thickness=np.maximum(who.brow_thickness * picture.size * 2, np.float32(1)),
        lips=in_picture(around_u, around_v, who, picture),
    )
