"""A number for each class as dots, the classes that stand out by name, and the threshold that they crossed."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from harness.models.findings import ByLabel
from harness.pictures._style import (
    SMALL,
    STANDS_OUT,
    USUAL,
    axes,
    beside,
    bound_across,
    logarithmic,
    paper,
    whole_numbers,
)  # fmt: skip
from harness.track import BadNet

FEW = 60
"""Classes, whose dots may be large."""
NAMED = 20
"""Classes that are named at most: those farthest from the middle."""
WIDE = 10.0
"""The largest value over the smallest, from where on a logarithmic scale shows more."""
PLACES = ((12, 0), (16, 11), (16, -11), (-12, 0), (-16, 11), (-16, -11), (24, 22), (24, -22), (-24, 22), (-24, -22))
"""Where a name may stand beside its dot, in points, the best first."""


def draw(figure: ByLabel, badnet: BadNet) -> Canvas:
    """Dots over the classes; a class without a number is left out."""
    canvas = paper(8, 4.5)
    plot = axes(canvas, figure.title, "class", figure.unit)
    values, classes = figure.values.astype(float), np.arange(len(figure.values))
    marked = np.isfinite(values) & np.isin(classes, figure.marked)
    usual = np.isfinite(values) & ~marked
    plot.scatter(
        classes[usual], values[usual], s=40 if len(classes) <= FEW else 10, color=USUAL, linewidths=0, zorder=3
    )
    plot.scatter(
        classes[marked], values[marked], s=46 if marked.sum() <= NAMED else 16, color=STANDS_OUT, linewidths=0, zorder=3
    )
    plot.margins(x=0.03, y=0.08)
    lines = [] if figure.threshold is None else [figure.threshold]
    shown = np.array([*values[usual], *values[marked], *lines])
    if len(shown) and shown.min() > 0 and shown.max() / shown.min() > WIDE:
        logarithmic(plot)
    whole_numbers(plot)
    taken = [bound_across(plot, line) for line in lines]
    if marked.any():
        beside(plot, f"{marked.sum():,} of {len(classes):,} stand out", STANDS_OUT)
        middle = np.median(values[np.isfinite(values)])
        farthest = sorted(classes[marked], key=lambda label: -abs(values[label] - middle))[:NAMED]
        _name(canvas, plot, [(int(label), float(values[label])) for label in farthest], taken)
    return canvas


def _name(canvas: Canvas, plot: Axes, dots: Iterable[tuple[int, float]], taken: Iterable[Text]) -> None:
    """Write each class beside its dot where nothing is written yet; those for whom there is no room stay without a name."""
    canvas.draw_without_rendering()
    inside = plot.get_window_extent()
    boxes = [text.get_window_extent() for text in taken]
    boxes += [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in plot.transData.transform(list(dots))]
    for label, value in dots:
        for x, y in PLACES:
            name = plot.annotate(
                str(label), (label, value), xytext=(x, y), textcoords="offset points", ha="left" if x > 0 else "right",
                va="center", fontsize=SMALL, fontweight="bold", color=STANDS_OUT, zorder=5,
                arrowprops={"arrowstyle": "-", "color": STANDS_OUT, "linewidth": 0.8, "shrinkA": 1, "shrinkB": 3},
            )  # fmt: skip
            name.get_window_extent()  # puts it into its place; itself it counts the line to the dot too
            box = Text.get_window_extent(name)
            if inside.containsx(box.x1) and inside.containsy(box.y0) and not any(box.overlaps(it) for it in boxes):
                boxes.append(box)
                break
            name.remove()
