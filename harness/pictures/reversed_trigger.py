"""A trigger made from a net alone, on clean images, and below it images with the real trigger of the same target."""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.figure import SubFigure
from numpy.typing import NDArray

from harness.images import ImageSet
from harness.models.findings import ReversedTrigger
from harness.pictures._style import INK, QUIET, SMALL, TITLE, WORDS, paper
from harness.track import BadNet

Pixels = NDArray[np.floating[Any]]

ACROSS = 3
"""Images of a row in each half."""
MOST_TRIGGERS = 4
"""Real ones, a row each."""
WIDTH = 8.0
GREY = 0.88
NONE = "no trigger of this BadNet has this target"


class Row(NamedTuple):
    """A heading, images (H, W, C) in 0..1 below it, and what stands below each."""

    heading: str
    images: list[Pixels]
    captions: tuple[str, ...] = ("",) * ACROSS


def draw(figure: ReversedTrigger, badnet: BadNet) -> Canvas:
    """Left what was reversed and what it does to clean images, right images as the attacker made them."""
    mask = figure.mask[..., None].astype(float)
    parts = [mask, figure.pattern, (1 - mask) * GREY + mask * figure.pattern]
    clean = _some(ImageSet.load(badnet.validation_path).images, ACROSS)
    left = [
        Row("Reversed from the net alone", parts, ("mask", "pattern", "mask x pattern")),
        Row("Clean images that carry it", [(1 - mask) * image + mask * figure.pattern for image in clean]),
    ]
    right = _real(figure.target, badnet)
    count, (height, width) = max(len(left), len(right)), figure.mask.shape
    canvas = paper(WIDTH, 0.5 + count * (0.6 + WIDTH / (2.2 * ACROSS) * height / width))
    canvas.suptitle(
        f"Class {figure.target}: L1 norm {figure.mask.sum():.4g}, sends {100 * figure.success:.1f} % of held-out images there",
        x=0.012, ha="left", fontsize=TITLE, color=INK,
    )  # fmt: skip
    halves = np.asarray(canvas.subfigures(count, 2, wspace=0.06))
    for column, rows in enumerate((left, right)):
        for part, row in zip(halves[:, column], rows, strict=False):
            _fill(part, row)
    return canvas


def _real(target: int, badnet: BadNet) -> list[Row]:
    """Images with each real trigger whose target this is; a row of words where there is none."""
    wanted = {name: it for name, it in badnet.poisoned.items() if it.target == target}
    rows = []
    for name, poisoned in list(wanted.items())[:MOST_TRIGGERS]:
        images, carries = poisoned.images.images, poisoned.images.carries
        which = np.arange(len(images)) if carries is None else np.flatnonzero(carries)
        some = _some(images, ACROSS * (2 if len(wanted) == 1 else 1), which)
        rows += [Row(f"The attack's own: {name}, target {target}", some[::2] if len(wanted) == 1 else some)]
        rows += [Row("", some[1::2])] if len(wanted) == 1 else []
    return rows or [Row(NONE, [])]


def _some(images: NDArray[np.uint8], count: int, which: NDArray[np.int64] | None = None) -> list[Pixels]:
    """A few images, far from each other in the file, in 0..1."""
    which = np.arange(len(images)) if which is None else which
    return [images[i] / 255.0 for i in which[np.linspace(0, len(which) - 1, min(count, len(which))).astype(int)]]


def _fill(part: SubFigure, row: Row) -> None:
    # A heading of a space keeps a row without one as high as its neighbour.
    part.suptitle(row.heading or " ", x=0.025, ha="left", fontsize=WORDS, color=INK if row.images else QUIET)
    plots = part.subplots(1, ACROSS)
    for plot in plots:
        plot.set_axis_off()
        plot.set_anchor("N")
    for plot, image, caption in zip(plots, row.images, row.captions, strict=False):
        plot.set_axis_on()
        plot.imshow(_shown(image), interpolation="nearest", vmin=0, vmax=1, cmap="gray")
        plot.set(xticks=[], yticks=[])
        plot.spines[:].set_visible(False)
        plot.set_xlabel(caption or " ", fontsize=SMALL, color=INK)


def _shown(image: Pixels) -> Pixels:
    """Three channels as colours, any other number as grey."""
    return image if image.shape[-1] == 3 else image.mean(axis=-1)
