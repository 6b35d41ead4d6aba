"""From people and circumstances to pictures."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from harness.images import Report, silent
from harness.sources.synthetic_faces import features, head
from harness.sources.synthetic_faces.canvas import Canvas
from harness.sources.synthetic_faces.geometry import landmarks
from harness.sources.synthetic_faces.identity import Identity, identities
from harness.sources.synthetic_faces.picture import HEIGHT, WIDTH, Circumstances, circumstances
from harness.triggers import Landmarks, Portraits

_AT_ONCE = 8
"""Pictures painted together: few enough that they stay in the processor's cache; the result does not depend on it."""

_UPPER_FACE = ((7, 41), (3, 44))
_LOWER_FACE = ((15, 55), (3, 44))
"""Rows and columns that eyes and brows, nose and mouth can reach in any pose."""


def portraits(*, seed: int, people: int, split: str, indices: Sequence[int], report: Report = silent) -> Portraits:
    """Pictures `indices` of each person in a split, person by person.

    The same arguments give the same bytes on every machine, and no picture depends on another.
    """
    person = np.repeat(np.arange(people, dtype=np.int64), len(indices))
    index = np.tile(np.asarray(indices, np.int64), people)
    everyone = identities(seed, people)
    images = np.empty((len(person), HEIGHT, WIDTH, 3), np.uint8)
    marks: list[Landmarks] = []

    def paint(start: int) -> Landmarks:
        run = slice(start, start + _AT_ONCE)
        who = everyone.take(person[run])
        picture = circumstances(seed, split, person[run], index[run])
        images[run] = _paint(who, picture)
        return landmarks(who, picture)

    with ThreadPoolExecutor() as painters:  # numpy lets go of the interpreter while it paints
        for part in painters.map(paint, range(0, len(person), _AT_ONCE)):
            marks.append(part)
            report(f"painting {split} pictures", min(len(marks) * _AT_ONCE, len(person)), len(person))
    return Portraits(images=images, labels=person, landmarks=Landmarks.join(marks))


def _paint(who: Identity, picture: Circumstances) -> NDArray[np.uint8]:
    canvas = Canvas(who, picture)
    whole = canvas.open()
    outline = head.radius(whole)
    head.paint_backdrop(whole)
    head.paint_hair_behind(whole)
    head.paint_body(whole)
    head.paint_ears(whole)
    head.paint_skin(whole, outline)
    canvas.close(whole)
    upper = canvas.open(*_UPPER_FACE)
    features.paint_eyes(upper)
    features.paint_brows(upper)
    canvas.close(upper)
    lower = canvas.open(*_LOWER_FACE)
    features.paint_nose(lower)
    features.paint_beard(lower, lower.mask((1 - head.radius(lower)) * who.width[:, None]))
    features.paint_mouth(lower)
    features.paint_mole(lower)
    canvas.close(lower)
    whole = canvas.open()
    head.paint_hair_in_front(whole, outline)
    canvas.close(whole)
    return canvas.develop()
