"""Which differences are real: simultaneous intervals, the ranks they leave open, and McNemar's exact test. Pure.

Sources: simultaneous rank intervals from differences, Mogstad, Romano, Shaikh and Wilhelm, Rev. Econ. Stud. 91 (2024)
476-518; the greatest studentised deviation, Romano and Wolf, J. Am. Stat. Assoc. 100 (2005) 94-108; McNemar,
Psychometrika 12 (1947) 153-157, in its exact form.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from math import exp, lgamma, log

import numpy as np
from numpy.typing import NDArray

from leaderboard.measures import Figures

CONFIDENCE = 0.95
SAME = 1e-9
"""Figures no further apart are the same: what sums differ by in their last bits."""
_ROWS = 64
"""Submissions compared with one other at a time: their draws stay in the processor's cache."""
_MOST_THREADS = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Differences:
    """Every submission against every other: (m, m) each, row minus column, in the measure's own unit."""

    value: Figures
    reach: Figures
    """Half of the interval's width: with 95 % chance all true differences are within theirs at once."""

    @property
    def real(self) -> NDArray[np.bool_]:
        """Whether the row's figure is the larger one for certain, as far as 95 % are."""
        return self.value > np.maximum(self.reach, SAME)


def differences(figures: Figures, confidence: float = CONFIDENCE) -> Differences:
    """Compare all pairs. figures: float64 (m, 1 + draws), the measured figure first; draws that are NaN for one are left out.

    Where none is left, nothing is certain: the reach is infinite. Raises ValueError unless 0 < confidence < 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    measured, draws = figures[:, 0], figures[:, 1:]
    draws = draws[:, ~np.isnan(draws).any(axis=0)]
    if not draws.shape[1]:
        return Differences(value=measured[:, None] - measured[None, :], reach=np.full((len(figures),) * 2, np.inf))
    away = (draws - measured[:, None]).astype(np.float32)
    spread = _spread(draws)
    reach = _greatest(away, spread, confidence) * spread
    return Differences(value=measured[:, None] - measured[None, :], reach=reach)


def rank_intervals(found: Differences, *, higher_is_better: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The best and the worst rank, 1..m, that the simultaneous intervals leave each submission: int64 (m,) each."""
    above = found.real if higher_is_better else found.real.T
    """[i, j]: i is really better than j."""
    return 1 + above.sum(axis=0), len(above) - above.sum(axis=1)


@lru_cache
def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided chance, 0..1, of so uneven a split of the images on which two submissions differ, were they alike."""
    differing, more = only_first + only_second, max(only_first, only_second)
    log_ways = lgamma(differing + 1) - lgamma(more + 1) - lgamma(differing - more + 1)
    term = together = exp(log_ways - differing * log(2))
    for k in range(more, differing):
        term *= (differing - k) / (k + 1)
        together += term
        if term < together * 1e-17:
            break
    return min(1.0, 2 * together)


def _spread(draws: Figures) -> Figures:
    """The standard deviation of every difference over the draws, (m, m); 0 where two rise and fall together."""
    centred = draws - draws.mean(axis=1, keepdims=True)
    products = centred @ centred.T / draws.shape[1]
    variances = np.diag(products)
    squares = variances[:, None] + variances[None, :] - 2 * products
    floor = SAME**2 + 1e-12 * (variances[:, None] + variances[None, :])  # what rounding leaves of two that are the same
    return np.sqrt(np.where(squares > floor, squares, 0.0))


def _greatest(away: NDArray[np.float32], spread: Figures, confidence: float) -> float:
    """The quantile over draws of the greatest studentised deviation of any pair; 0 where nothing varies."""
    with np.errstate(divide="ignore"):
        scale = np.where(spread > 0, 1 / spread, 0.0).astype(np.float32)

    def of_some(which: range) -> NDArray[np.float32]:
        greatest = np.zeros(away.shape[1], np.float32)
        between = np.empty((_ROWS, away.shape[1]), np.float32)
        for i in which:
            for start in range(0, i, _ROWS):
                part = between[: min(_ROWS, i - start)]
                np.subtract(away[start : start + len(part)], away[i], out=part)
                np.abs(part, out=part)
                part *= scale[start : start + len(part), i, None]
                np.maximum(greatest, part.max(axis=0), out=greatest)
        return greatest

    cores = min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    with ThreadPoolExecutor(cores) as pool:
        greatest = np.max(list(pool.map(of_some, (range(start, len(away), cores) for start in range(cores)))), axis=0)
    return float(np.quantile(greatest, confidence))
