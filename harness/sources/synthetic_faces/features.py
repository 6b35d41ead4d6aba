"""What makes a face one's own: eyes, brows, nose, mouth, beard."""

import numpy as np

from harness.sources.synthetic_faces.arithmetic import Floats, hill, wave
from harness.sources.synthetic_faces.canvas import Patch
from harness.sources.synthetic_faces.geometry import brow_line, column, lip_lines, mouth_half_width

_WHITE = np.array([[0.90, 0.88, 0.86]], np.float32)
_TEETH = np.array([[0.90, 0.87, 0.82]], np.float32)
_DARK = np.array([[0.06, 0.035, 0.03]], np.float32)
_MOUTH = np.array([[0.28, 0.09, 0.09]], np.float32)


def paint_eyes(patch: Patch) -> None:
    """Both eyes at once: the face is symmetric, the look is not."""
    who, picture = patch.who, patch.picture
    side = np.sign(patch.face_u)
    across = np.abs(patch.face_u) - column(who.eye_x)
    along = across / column(who.eye_width)
    down = patch.face_v - column(who.eye_y) + column(who.eye_slant) * along
    round_ = 1 - along * along
    height = column(who.eye_height * picture.open_eyes)
    upper, lower = down + height * round_, height * np.float32(0.62) * round_ - down
    inside = np.minimum(upper, lower)
    opening = patch.mask(inside)
    patch.paint(opening, _WHITE * np.float32(0.92))
    look_u = across - side * column(picture.gaze_x) * column(who.eye_width) * np.float32(0.42)
    look_v = down + height * np.float32(0.15) - column(picture.gaze_y) * height
    from_pupil = np.sqrt(look_u * look_u + look_v * look_v)
    patch.paint(opening * patch.mask(np.float32(0.082) - from_pupil), who.iris)
    patch.paint(opening * patch.mask(np.float32(0.042) - from_pupil), np.broadcast_to(_DARK, who.iris.shape))
    shine_u, shine_v = look_u - side * np.float32(0.025), look_v + np.float32(0.028)
    shine = patch.mask(np.float32(0.02) - np.sqrt(shine_u * shine_u + shine_v * shine_v))
    patch.paint(opening * shine, _WHITE)
    # Lashes and the lid's fold: dark lines along the upper edge, softened at the corners.
    near = np.maximum(np.float32(1.25) - along * along, np.float32(0))
    lash = patch.mask(np.float32(0.021) - np.abs(upper - np.float32(0.002))) * np.minimum(near * 2, np.float32(1))
    patch.paint(lash * np.float32(0.88), who.brow_colour * np.float32(0.35))
    rim = patch.mask(np.float32(0.012) - np.abs(lower)) * np.minimum(near, np.float32(1))
    crease = patch.mask(np.float32(0.014) - np.abs(upper - np.float32(0.055))) * np.minimum(near, np.float32(1))
    patch.lighten(1 - np.float32(0.30) * rim - np.float32(0.42) * column(who.lid) * crease)


def paint_brows(patch: Patch) -> None:
    """Brows thin out towards the temples."""
    who, picture = patch.who, patch.picture
    along = (np.abs(patch.face_u) - column(who.eye_x)) / column(who.brow_length)
    off = np.abs(patch.face_v - brow_line(along, who, picture, np.sign(patch.face_u)))
    thickness = column(who.brow_thickness) * (1 - np.float32(0.38) * np.maximum(along, np.float32(0)))
    inside = np.minimum(thickness - off, (1 - np.abs(along)) * column(who.brow_length))
    patch.paint(patch.mask(inside) * np.float32(0.9), who.brow_colour)


def paint_nose(patch: Patch) -> None:
    """Mostly light and shade: the bridge, the tip, the wings, and two nostrils."""
    who, picture = patch.who, patch.picture
    # The nose stands out of the face, so it turns further than the face does.
    u = patch.face_u - column(picture.yaw) * np.float32(0.10)
    down = (patch.face_v - column(who.eye_y)) / column(who.nose_y - who.eye_y)
    wide = column(who.nose_width) * (np.float32(0.42) + np.float32(0.58) * np.maximum(down, np.float32(0)))
    on_nose = np.minimum(
        np.maximum((1 - down) * 4, np.float32(0)), np.maximum((down + np.float32(0.35)) * 2, np.float32(0))
    )
    on_nose = np.minimum(on_nose, np.float32(1))
    across = u / wide
    square = across * across
    flank = across / (np.float32(0.4) + square * square) * hill(square * np.float32(0.22))
    lit = column(picture.light_x) * np.float32(0.55) + np.float32(0.0)
    ridge = hill(square * np.float32(2.5)) * np.float32(0.07)
    shade = hill((np.abs(across) - 1) * (np.abs(across) - 1) * np.float32(3)) * np.float32(0.13)
    patch.lighten(1 + on_nose * column(who.nose_bridge) * (lit * flank * np.float32(0.22) + ridge - shade))
    tip_v = patch.face_v - column(who.nose_y)
    aside = np.abs(u)
    tip_u = u / (column(who.nose_width) * np.float32(0.75))
    tip_up = (tip_v + np.float32(0.07)) / np.float32(0.07)
    below = (tip_v - np.float32(0.055)) / np.float32(0.06)
    below_u = u / (column(who.nose_width) * np.float32(1.25))
    wing_u = (aside - column(who.nose_width)) / np.float32(0.032)
    wing_v = (tip_v + np.float32(0.035)) / np.float32(0.075)
    patch.lighten(
        1
        + np.float32(0.16) * hill(tip_u * tip_u + tip_up * tip_up)
        - np.float32(0.30) * hill(below * below + below_u * below_u)
        - np.float32(0.34) * hill(wing_u * wing_u + wing_v * wing_v)
    )
    hole_u = (aside - column(who.nose_width) * np.float32(0.48)) / np.float32(0.052)
    hole_v = (tip_v - np.float32(0.01)) / np.float32(0.032)
    patch.lighten(1 - np.float32(0.62) * hill((hole_u * hole_u + hole_v * hole_v) * np.float32(0.6)))


def paint_mouth(patch: Patch) -> None:
    """Two lips; between them a dark line, or teeth when the mouth is open."""
    who, picture = patch.who, patch.picture
    half = mouth_half_width(who, picture)
    along = patch.face_u / half
    top, upper, lower, bottom = lip_lines(along, who, picture)
    ends = (1 - np.abs(along)) * half
    v = patch.face_v
    patch.paint(patch.mask(np.minimum(np.minimum(v - top, upper - v), ends)), who.lip * np.float32(0.86))
    patch.paint(patch.mask(np.minimum(np.minimum(v - lower, bottom - v), ends)), who.lip)
    gloss_v = (v - lower - column(who.lower_lip) * np.float32(0.5)) / column(who.lower_lip)
    patch.lighten(1 + np.float32(0.12) * hill(gloss_v * gloss_v * 3 + along * along * 3))
    open_ = patch.mask(np.minimum(np.minimum(v - upper, lower - v), ends))
    patch.paint(open_, np.broadcast_to(_MOUTH, who.lip.shape))
    teeth = patch.mask(
        np.minimum(np.minimum(v - upper, (upper + lower) * np.float32(0.5) + np.float32(0.01) - v), ends)
    )
    patch.paint(teeth * open_, np.broadcast_to(_TEETH, who.lip.shape))
    line = patch.mask(np.float32(0.015) - np.abs(v - upper)) * hill(along * along * np.float32(0.7))
    patch.lighten(1 - np.float32(0.55) * line)


def paint_beard(patch: Patch, skin: Floats) -> None:
    """Beard, moustache and goatee, on the skin only; the mouth is painted over them."""
    who, picture = patch.who, patch.picture
    u, v = patch.face_u, patch.face_v
    across = u / column(who.width)
    beard_edge = v - column(who.beard_top) - np.float32(0.32) * hill(across * across)
    beard = np.minimum(np.maximum(beard_edge * np.float32(12), np.float32(0)), np.float32(1)) * column(who.has_beard)
    lip_u = u / (mouth_half_width(who, picture) * np.float32(1.18))
    droop = (
        v
        - (column(who.nose_y) + column(who.mouth_y)) * np.float32(0.5)
        - np.float32(0.035)
        - lip_u * lip_u * np.float32(0.10)
    )
    moustache = hill(lip_u * lip_u * lip_u * lip_u + droop * droop * np.float32(170))  # type: ignore[arg-type]
    moustache = np.minimum(moustache * np.float32(2.4), np.float32(1)) * column(who.has_moustache)
    chin_u = u / np.float32(0.27)
    chin_v = (v - column(who.mouth_y) - np.float32(0.27)) / np.float32(0.24)
    goatee = np.minimum(hill(chin_u * chin_u + chin_v * chin_v) * 3, np.float32(1)) * column(who.has_goatee)
    hairs = np.float32(1) + np.float32(0.14) * wave(u * np.float32(5) + v * np.float32(2))
    cover_ = np.maximum(np.maximum(beard, moustache), goatee) * skin
    patch.paint(cover_, who.hair.T[:, :, None] * np.float32(0.72) * hairs)


def paint_mole(patch: Patch) -> None:
    """One dark spot, for some."""
    who = patch.who
    u, v = patch.face_u - column(who.mole_x), patch.face_v - column(who.mole_y)
    patch.lighten(1 - np.float32(0.6) * column(who.has_mole) * patch.mask(np.float32(0.045) - np.sqrt(u * u + v * v)))
