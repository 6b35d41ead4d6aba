"""How numbers are spread, and the threshold beyond which they flag."""

import numpy as np
from matplotlib.figure import Figure as Canvas

from harness.models.findings import Histogram
from harness.pictures._style import BOUND, QUIET, USUAL, axes, beside, line_up, paper
from harness.track import BadNet

BARS = 50


def draw(figure: Histogram, badnet: BadNet) -> Canvas:
    """Bars that count; numbers that are none are left out."""
    canvas = paper(8, 4.5)
    values = figure.values.astype(float)
    values = values[np.isfinite(values)]
    plot = axes(canvas, figure.title, figure.x_label, "count")
    counts, edges = np.histogram(values, bins=min(BARS, max(10, int(len(values) ** 0.5))))
    plot.stairs(counts, edges, fill=True, color=USUAL, zorder=3)
    plot.margins(x=0.03)
    plot.set_ylim(0, 1.12 * max(1, counts.max()))
    if figure.threshold is not None:
        below = float((values < figure.threshold).mean()) if len(values) else 0.0
        line_up(plot, figure.threshold, f"threshold {figure.threshold:.4g}\n{100 * below:.1f} % lie below", BOUND)
    beside(plot, f"{len(values):,} values", QUIET)
    return canvas
