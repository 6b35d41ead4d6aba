"""The boards that one set of records gives: overall, by track, by BadNet, by trigger, each by any measure. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from harness.images import Report, silent
from harness.score import HALVES, Policy, mean
from leaderboard.contenders import DIVISIONS, FAILED, FAILED_ON_SOME, Contender
from leaderboard.marks import Key, Packed
from leaderboard.measures import BadNetFigures, Figures, Measure, score
from leaderboard.ranking import Results, Row, rank
from leaderboard.resampling import badnet_figures

OVERALL = "overall"


class Scope(NamedTuple):
    """What a board is over: a whole track, one of its BadNets, or one trigger of that."""

    track: str
    badnet: str | None = None
    trigger: str | None = None

    @property
    def title(self) -> str:
        """As words, such as "faces / lipstick"."""
        return " / ".join(part for part in self if part)


class Wanted(NamedTuple):
    """A board to make."""

    scope: Scope
    measure: Measure = score


@dataclass(frozen=True, kw_only=True)
class Board:
    """Submissions in order, by one measure over one scope; each division is ranked by itself."""

    scope: Scope
    measure: Measure
    rows: tuple[Row, ...]

    @cached_property
    def by_name(self) -> dict[str, Row]:
        """Each submission's row."""
        return {row.submission: row for row in self.rows}

    def division(self, name: str) -> tuple[Row, ...]:
        """The rows of a division."""
        return tuple(row for row in self.rows if row.division == name)


@dataclass(frozen=True, kw_only=True, eq=False)
class Field:
    """All submissions on one track: who they are, and what became of every image."""

    track: str
    key: Key
    contenders: Sequence[Contender]
    packed: Packed
    """uint8 (m, key.packed_bytes)."""

    def scopes(self) -> list[Scope]:
        """The track, its BadNets, and the triggers of those that have several."""
        found = [Scope(self.track)]
        for badnet, triggers in self.key.poisoned.items():
            found.append(Scope(self.track, badnet))
            found += [Scope(self.track, badnet, trigger) for trigger in triggers if len(triggers) > 1]
        return found


def boards(
    field: Field, wanted: Iterable[Wanted], policy: Policy = HALVES, report: Report = silent
) -> dict[Wanted, Board]:  # fmt: skip
    """The boards that are wanted of one track, in that order; raises KeyError for a scope that is not in the track."""
    asked = list(dict.fromkeys(wanted))
    whole = [it for it in asked if it.scope.badnet is None]
    of_track = Tally()
    made: dict[Wanted, Board] = {}

    def finish(it: Wanted, tally: Tally) -> None:
        report("boards", len(made), len(asked))
        made[it] = Board(scope=it.scope, measure=it.measure, rows=_ranked(_results(field, it, tally), it.measure))

    for badnet in field.key.clean if whole else dict.fromkeys(it.scope.badnet for it in asked):
        assert badnet is not None
        found = badnet_figures(field.key, field.packed, badnet)
        for it in (it for it in asked if it.scope.badnet == badnet):
            tally = Tally()
            tally.add(badnet, found.of_trigger(it.scope.trigger) if it.scope.trigger else found, [it.measure], policy)
            finish(it, tally)
        if whole:
            of_track.add(badnet, found, [it.measure for it in whole], policy)
    for it in whole:
        finish(it, of_track)
    return {it: made[it] for it in asked}


def overall(fields: Sequence[Field], measure: Measure = score, policy: Policy = HALVES) -> Board:
    """The mean over tracks, for submissions that are in all of them; the others are not shown.

    Identities of tracks with equally many classes are drawn alike, those of others apart.
    """
    names = [name for name in _names(fields[0]) if all(name in _names(it) for it in fields[1:])]
    aligned = []
    for field in fields:
        tally = Tally()
        for badnet in field.key.clean:
            tally.add(badnet, badnet_figures(field.key, field.packed, badnet), [measure], policy)
        places = [_names(field).index(name) for name in names]
        aligned.append(_taken(_results(field, Wanted(Scope(field.track), measure), tally), places))
    joined = Results(
        contenders=[_joined([it.contenders[n] for it in aligned]) for n in range(len(names))],
        figures=mean([it.figures for it in aligned]),
        by_badnet={f"{field.track} / {name}": figures
                   for field, it in zip(fields, aligned, strict=True) for name, figures in it.by_badnet.items()},
        utility=mean([it.utility for it in aligned]),
        protection=mean([it.protection for it in aligned]),
    )  # fmt: skip
    return Board(scope=Scope(OVERALL), measure=measure, rows=_ranked(joined, measure))


class Tally:
    """Adds BadNets up to what a board needs; of a thousand submissions' draws only the sums are kept."""

    def __init__(self) -> None:
        self.sums: dict[str, Figures] = {}
        """By measure: the sum over BadNets, (m, 1 + draws)."""
        self.measured: dict[str, dict[str, Figures]] = {}
        """By measure and BadNet: the measured figure, (m,)."""
        self.utility: dict[str, Figures] = {}
        self.protection: dict[str, Figures] = {}

    def add(self, badnet: str, found: BadNetFigures, measures: Sequence[Measure], policy: Policy) -> None:
        """One more BadNet."""
        for it in dict.fromkeys(it for it in measures if it.of):
            figures = it.figures(found, policy)
            self.sums[it.name] = self.sums[it.name] + figures if it.name in self.sums else figures
            self.measured.setdefault(it.name, {})[badnet] = figures[:, 0].copy()
        alone = found.measured_alone()
        self.utility[badnet], self.protection[badnet] = alone.utility()[:, 0], alone.protection(policy)[:, 0]


def _names(field: Field) -> list[str]:
    return [it.name for it in field.contenders]


def _joined(same: Sequence[Contender]) -> Contender:
    badges = dict.fromkeys(badge for it in same for badge in it.badges)
    if FAILED in badges and not all(FAILED in it.badges for it in same):
        badges = dict.fromkeys(FAILED_ON_SOME if badge == FAILED else badge for badge in badges)
    seconds = [it.seconds for it in same if it.seconds is not None]
    return replace(
        same[0], badges=tuple(badges), seconds=sum(seconds) / len(seconds) if len(seconds) == len(same) else None
    )


def _results(field: Field, wanted: Wanted, tally: Tally) -> Results:
    scope, measure = wanted
    if measure.of is None:
        by_badnet = {badnet: _speeds(field, badnet) for badnet in tally.utility}
        figures = mean(list(by_badnet.values()))[:, None]
    else:
        by_badnet = tally.measured[measure.name]
        figures = tally.sums[measure.name] / len(by_badnet)
    triggers = [
        (badnet, name) for badnet in by_badnet for name in field.key.poisoned[badnet] if scope.trigger in (None, name)
    ]
    return Results(
        contenders=field.contenders,
        figures=figures,
        by_badnet=by_badnet,
        utility=mean(list(tally.utility.values())),
        protection=mean(list(tally.protection.values())),
        right=[field.key.unpack(field.packed, badnet)[0] for badnet in by_badnet],
        flagged=[field.key.unpack(field.packed, *it)[0] for it in triggers],
    )


def _speeds(field: Field, badnet: str) -> Figures:
    """Images a second; 0, the worst case, for what did not answer, or not here."""
    return np.array([it.images_per_second.get(badnet) or 0.0 for it in field.contenders])


def _ranked(results: Results, measure: Measure) -> tuple[Row, ...]:
    rows: list[Row] = []
    for division in DIVISIONS:
        here = [n for n, it in enumerate(results.contenders) if it.division == division]
        rows += rank(_taken(results, here), measure)
    return tuple(rows)


def _taken(results: Results, which: Sequence[int]) -> Results:
    chosen = list(which)
    return Results(
        contenders=[results.contenders[n] for n in chosen],
        figures=results.figures[chosen],
        by_badnet={name: figures[chosen] for name, figures in results.by_badnet.items()},
        utility=results.utility[chosen],
        protection=results.protection[chosen],
        right=[bits[chosen] for bits in results.right],
        flagged=[bits[chosen] for bits in results.flagged],
    )
