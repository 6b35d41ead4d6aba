"""A number that changes while something is done, and the point that the defense chose."""

import numpy as np
from matplotlib.figure import Figure as Canvas

from harness.models.findings import Curve
from harness.pictures._style import STANDS_OUT, USUAL, axes, line_up, paper, whole_numbers
from harness.track import BadNet

FEW = 40
"""Points, of which each may be seen."""


def draw(figure: Curve, badnet: BadNet) -> Canvas:
    """A line over 0..n-1."""
    canvas = paper(8, 4.5)
    plot = axes(canvas, figure.title, figure.x_label, figure.y_label)
    values = figure.values.astype(float)
    plot.plot(values, color=USUAL, linewidth=2, marker="o" if len(values) <= FEW else None, markersize=4.5, zorder=3)
    plot.margins(x=0.03, y=0.1)
    whole_numbers(plot)
    if figure.stopped is not None:
        chosen = values[figure.stopped]
        told = f"chosen: {figure.stopped}" + (f" ({chosen:.4g})" if np.isfinite(chosen) else "")
        line_up(plot, figure.stopped, told, STANDS_OUT)
        plot.plot(figure.stopped, chosen, "o", color=STANDS_OUT, markersize=8, zorder=4)
    return canvas
