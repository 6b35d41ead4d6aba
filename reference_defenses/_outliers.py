"""Which of many labels stand out: a line through the ranks of the strongest, and how far beyond it a clean net goes."""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FITTED = slice(1 / 8, 1 / 2)
"""The strongest labels that the line goes through: stronger ones may be targets, weaker ones unfinished."""
FEWEST_FITTED = 4
SIMULATED = 1000
SPREAD = 0.75
"""Clean nets in the simulation, and the standard deviation of their labels' logarithms of norm over weight."""
RESPONDING = 65
"""Labels, those that respond most, that the bar for noise responses is taken from; half of all at most."""


def smallest_of_chance(norms: NDArray[np.float32], classes: int, false_alarms: float) -> float:
    """The norm below which one of the smallest norms (k,) of all classes stands out; 0 where that cannot be said.

    Strengths are 1 / norm; a label that no mask reached has strength 0. Clean nets have log-normal norms.
    """
    strengths = np.sort(1 / norms.astype(float))[::-1]
    bar = _bar(strengths, np.exp(SPREAD * _clean(classes, len(norms))), classes, false_alarms)
    return 1 / bar if bar > 0 and np.isfinite(bar) else 0.0


def largest_of_chance(responses: NDArray[np.float32], false_alarms: float) -> float:
    """The noise response above which a label stands out, of all (N,); infinite where that cannot be said.

    Clean nets have normal responses.
    """
    classes = len(responses)
    count = min(RESPONDING, classes // 2)
    strongest = np.sort(responses.astype(float))[: -count - 1 : -1]
    return _bar(strongest, _clean(classes, count), classes, false_alarms)


def _bar(strengths: NDArray[np.float64], clean: NDArray[np.float64], classes: int, false_alarms: float) -> float:
    """The strength beyond which a label stands out, of the strongest (k,), the strongest first; infinite if unknown.

    A line is laid through the strengths of those in `FITTED` against the normal quantiles of their ranks among all
    classes (a normal Q-Q plot). How far beyond the line the strongest label of a clean net lies is simulated, clean
    (s, k): further out than in all but a share `false_alarms` of the nets is the bar.
    """
    if len(strengths) < FEWEST_FITTED:
        return math.inf
    line, simulated = _line(strengths[None], classes), _line(clean, classes)
    if line.slope[0] <= 0:
        return math.inf
    beyond = (clean[:, 0] - simulated.start) / simulated.slope
    return float(line.start[0] + line.slope[0] * np.quantile(beyond, 1 - false_alarms))


def _clean(classes: int, count: int) -> NDArray[np.float64]:
    """The largest of standard normal numbers, one a class, in simulated nets: (`SIMULATED`, count), falling."""
    drawn = np.random.default_rng(0).normal(size=(SIMULATED, classes))
    return np.sort(drawn)[:, : -count - 1 : -1]


class _Line(NamedTuple):
    """start + slope * quantile, for each of several nets: (s,) each."""

    start: NDArray[np.float64]
    slope: NDArray[np.float64]


def _line(strengths: NDArray[np.float64], classes: int) -> _Line:
    """Through strengths (s, k), the largest first; the slope is the median of those of all pairs.

    Source: Theil 1950; Sen 1968, doi:10.1080/01621459.1968.10480934.
    """
    count = strengths.shape[1]
    fitted = slice(max(1, round(FITTED.start * count)), math.ceil(FITTED.stop * count) + 1)
    normal = NormalDist()
    x = np.array([-normal.inv_cdf((rank + 0.5) / (classes + 1)) for rank in range(count)])[fitted]
    y = strengths[:, fitted]
    first, second = np.triu_indices(len(x), 1)
    slope = np.median((y[:, second] - y[:, first]) / (x[second] - x[first]), axis=1)
    return _Line(np.median(y - slope[:, None] * x, axis=1), slope)
