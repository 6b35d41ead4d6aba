"""Ranks submissions by a measure, with what is sure about it: pure, no input or output.

Points come from each submission's answers, never from the figures that its record states. Intervals are those of a
paired bootstrap over identities, ranks are what simultaneous intervals on all differences leave open.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.bootstrap import interval
from leaderboard.comparing import SAME, Differences, differences, mcnemar, rank_intervals
from leaderboard.contenders import Contender
from leaderboard.marks import Bits
from leaderboard.measures import Figures, Measure


class Lead(NamedTuple):
    """How far a submission is ahead of the next in its division, and whether that is real."""

    over: str
    value: float
    low: float | None
    high: float | None
    """The simultaneous 95 % interval; None for a measure without draws."""
    ca_p: float | None
    dr_p: float | None
    """McNemar's exact test on the clean images, and on the flags of poisoned ones; None where not asked."""


class Row(NamedTuple):
    """One line of a board; the ranks are None for what is shown but not ranked."""

    rank: int | None
    rank_best: int | None
    rank_worst: int | None
    submission: str
    division: str
    value: float
    low: float | None
    high: float | None
    weakest: str
    weakest_value: float
    utility: float
    protection: float
    seconds: float | None
    lead: Lead | None
    badges: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """What was measured of m submissions, in the order of `contenders`; all arrays begin with m."""

    contenders: Sequence[Contender]
    figures: Figures
    """(m, 1 + draws): the measured figure first."""
    by_badnet: Mapping[str, Figures]
    """The measured figure on each BadNet, (m,)."""
    utility: Figures
    protection: Figures
    """(m,), means over the BadNets."""
    right: Sequence[Bits] = ()
    flagged: Sequence[Bits] = ()
    """One (m, images) a BadNet, and a trigger: for McNemar's test; may be empty."""


def rank(results: Results, measure: Measure) -> list[Row]:
    """The rows of one division, best first, and then those that are not ranked; equal figures share a rank.

    Ties stand in the order of their weakest BadNet, then of their time, then of their names; time decides no rank.
    """
    order = sorted(range(len(results.contenders)), key=lambda i: _place(results, measure, i))
    ranked = [i for i in order if results.contenders[i].ranked]
    found = differences(results.figures[ranked]) if len(ranked) > 1 and results.figures.shape[1] > 1 else None
    ranks = _ranks(results, measure, ranked, found)
    leads = _leads(results, measure, ranked, found)
    return [_row(results, measure, i, ranks.get(i), leads.get(i)) for i in order]


def _place(results: Results, measure: Measure, i: int) -> tuple[bool, float, float, float, str]:
    sign = -1 if measure.higher_is_better else 1
    seconds = results.contenders[i].seconds
    return (
        not results.contenders[i].ranked,
        sign * round(float(results.figures[i, 0]), 9),  # the last bits of a sum must not decide before the weakest does
        sign * round(_weakest(results, measure, i)[1], 9),
        np.inf if seconds is None else seconds,
        results.contenders[i].name,
    )


def _weakest(results: Results, measure: Measure, i: int) -> tuple[str, float]:
    worst = min if measure.higher_is_better else max
    name = worst(results.by_badnet, key=lambda badnet: results.by_badnet[badnet][i])
    return name, float(results.by_badnet[name][i])


def _ranks(
    results: Results, measure: Measure, ranked: list[int], found: Differences | None
) -> dict[int, tuple[int, int, int]]:
    values = results.figures[ranked, 0] * (1 if measure.higher_is_better else -1)
    ranks = 1 + (values[None, :] > values[:, None] + SAME).sum(axis=1)
    best, worst = ranks, ranks + (abs(values[None, :] - values[:, None]) <= SAME).sum(axis=1) - 1
    if found is not None:
        best, worst = rank_intervals(found, higher_is_better=measure.higher_is_better)
    return {i: (int(ranks[n]), int(best[n]), int(worst[n])) for n, i in enumerate(ranked)}


def _leads(results: Results, measure: Measure, ranked: list[int], found: Differences | None) -> dict[int, Lead]:
    sign = 1 if measure.higher_is_better else -1
    ca_p, dr_p = (_neighbours([bits[ranked] for bits in sets]) for sets in (results.right, results.flagged))
    leads = {}
    for n, (i, following) in enumerate(itertools.pairwise(ranked)):
        value = sign * float(results.figures[i, 0] - results.figures[following, 0])
        reach = None if found is None else float(found.reach[n, n + 1])
        leads[i] = Lead(
            over=results.contenders[following].name,
            value=value,
            low=None if reach is None else value - reach,
            high=None if reach is None else value + reach,
            ca_p=ca_p[n] if ca_p else None,
            dr_p=dr_p[n] if dr_p else None,
        )
    return leads


def _neighbours(sets: Sequence[Bits]) -> list[float]:
    """McNemar's chance for each row and the one below it, over the images of all sets."""
    if not sets:
        return []
    first: NDArray[np.int64] = np.sum([(bits[:-1] & ~bits[1:]).sum(axis=1) for bits in sets], axis=0)
    second: NDArray[np.int64] = np.sum([(~bits[:-1] & bits[1:]).sum(axis=1) for bits in sets], axis=0)
    return [mcnemar(int(a), int(b)) for a, b in zip(first, second, strict=True)]


def _row(
    results: Results, measure: Measure, i: int, ranks: tuple[int, int, int] | None, lead: Lead | None
) -> Row:  # fmt: skip
    contender = results.contenders[i]
    bounds = interval(results.figures[i, 1:]) if results.figures.shape[1] > 1 else None
    weakest, weakest_value = _weakest(results, measure, i)
    rank, best, worst = ranks or (None, None, None)
    return Row(
        rank=rank, rank_best=best, rank_worst=worst, submission=contender.name, division=contender.division,
        value=float(results.figures[i, 0]), low=bounds[0] if bounds else None, high=bounds[1] if bounds else None,
        weakest=weakest, weakest_value=weakest_value, utility=float(results.utility[i]),
        protection=float(results.protection[i]), seconds=contender.seconds, lead=lead, badges=contender.badges,
    )  # fmt: skip
