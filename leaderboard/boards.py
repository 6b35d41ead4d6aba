"""The boards that one set of records gives: overall, by track, by BadNet, by trigger, each by any measure. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from harness.score import HALVES, Policy, mean
from leaderboard.contenders import DIVISIONS, Contender
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


def boards(field: Field, wanted: Iterable[Wanted], policy: Policy = HALVES) -> dict[Wanted, Board]:
    """The boards that are wanted of one track, in that order; raises KeyError for a scope that is not in the track."""
    asked = list(dict.fromkeys(wanted))
    made: dict[Wanted, Board] = {}
    needed = [it.scope.badnet for it in asked]
    whole = [it for it in asked if it.scope.badnet is None]
    parts: list[BadNetParts] = []
    for badnet in field.key.clean if None in needed else dict.fromkeys(name for name in needed if name):
        found = badnet_figures(field.key, field.packed, badnet)
        for it in (it for it in asked if it.scope.badnet == badnet):
            made[it] = _board(field, it, [_parts(found, it, badnet, [it.measure], policy)])
        if whole:
            parts.append(_parts(found, whole[0], badnet, [it.measure for it in whole], policy))
    made |= {it: _board(field, it, parts) for it in whole}
    return {it: made[it] for it in asked}


class BadNetParts(NamedTuple):
    """One BadNet's share in a board: by measure name the figures (m, 1 + draws), and the measured U and P (m,)."""

    badnet: str
    figures: Mapping[str, Figures]
    utility: Figures
    protection: Figures


def overall(fields: Sequence[Field], measure: Measure = score, policy: Policy = HALVES) -> Board:
    """The mean over tracks, for submissions that are in all of them; the others are not shown.

    Identities of tracks with equally many classes are drawn alike, those of others apart.
    """
    names = [name for name in _names(fields[0]) if all(name in _names(it) for it in fields[1:])]
    results = [_results(field, Wanted(Scope(field.track), measure), _all_parts(field, measure, policy)) for field in fields]
    places = [[_names(field).index(name) for name in names] for field in fields]
    aligned = [_taken(it, where) for it, where in zip(results, places, strict=True)]
    joined = Results(
        contenders=[_joined([it.contenders[n] for it in aligned]) for n in range(len(names))],
        figures=mean([it.figures for it in aligned]),
        by_badnet={f"{field.track} / {name}": figures
                   for field, it in zip(fields, aligned, strict=True) for name, figures in it.by_badnet.items()},
        utility=mean([it.utility for it in aligned]),
        protection=mean([it.protection for it in aligned]),
    )  # fmt: skip
    return Board(scope=Scope(OVERALL), measure=measure, rows=_ranked(joined, measure))


def _names(field: Field) -> list[str]:
    return [it.name for it in field.contenders]


def _joined(same: Sequence[Contender]) -> Contender:
    badges = tuple(dict.fromkeys(badge for it in same for badge in it.badges))
    seconds = [it.seconds for it in same if it.seconds is not None]
    return replace(same[0], badges=badges, seconds=sum(seconds) / len(seconds) if len(seconds) == len(same) else None)


def _all_parts(field: Field, measure: Measure, policy: Policy) -> list[BadNetParts]:
    it = Wanted(Scope(field.track), measure)
    return [
        _parts(badnet_figures(field.key, field.packed, badnet), it, badnet, [measure], policy)
        for badnet in field.key.clean
    ]


def _parts(
    found: BadNetFigures, wanted: Wanted, badnet: str, measures: Sequence[Measure], policy: Policy
) -> BadNetParts:
    if wanted.scope.trigger:
        found = found.of_trigger(wanted.scope.trigger)
    figures = {it.name: it.figures(found, policy) for it in measures if it.of}
    first = replace(
        found, measured=found.measured[:, :1], ca=found.ca[:, :1], ca0=found.ca0[:, :1],
        triggers={name: type(it)(*(rate[:, :1] for rate in it)) for name, it in found.triggers.items()},
    )  # fmt: skip
    return BadNetParts(badnet, figures, first.utility()[:, 0], first.protection(policy)[:, 0])


def _board(field: Field, wanted: Wanted, parts: Sequence[BadNetParts]) -> Board:
    results = _results(field, wanted, parts)
    return Board(scope=wanted.scope, measure=wanted.measure, rows=_ranked(results, wanted.measure))


def _results(field: Field, wanted: Wanted, parts: Sequence[BadNetParts]) -> Results:
    scope, measure = wanted
    if measure.of is None:
        by_badnet = {it.badnet: _speeds(field, it.badnet) for it in parts}
        figures = mean(list(by_badnet.values()))[:, None]
    else:
        figures = mean([it.figures[measure.name] for it in parts])
        by_badnet = {it.badnet: it.figures[measure.name][:, 0] for it in parts}
    return Results(
        contenders=field.contenders,
        figures=figures,
        by_badnet=by_badnet,
        utility=mean([it.utility for it in parts]),
        protection=mean([it.protection for it in parts]),
        right=[field.key.unpack(field.packed, it.badnet)[0] for it in parts],
        flagged=[field.key.unpack(field.packed, *it)[0] for it in _triggers(field, scope, parts)],
    )


def _triggers(field: Field, scope: Scope, parts: Sequence[BadNetParts]) -> Iterator[tuple[str, str]]:
    for it in parts:
        yield from ((it.badnet, name) for name in field.key.poisoned[it.badnet] if scope.trigger in (None, name))


def _speeds(field: Field, badnet: str) -> Figures:
    found = [it.images_per_second.get(badnet) for it in field.contenders]
    return np.array([np.nan if it is None else it for it in found])


def _ranked(results: Results, measure: Measure) -> tuple[Row, ...]:
    rows: list[Row] = []
    for division in DIVISIONS:
        here = [
            n for n, it in enumerate(results.contenders)
            if it.division == division and not np.isnan(results.figures[n, 0])
        ]  # fmt: skip
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
