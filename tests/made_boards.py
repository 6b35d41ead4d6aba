"""Fields with planted skill: what each submission gets right is drawn, so that the truth about every board is known."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leaderboard.boards import Board, Field, Scope, Wanted, boards
from leaderboard.contenders import Contender
from leaderboard.marks import Answers, CleanSet, Key, PoisonedSet
from leaderboard.measures import Measure, score

CLASSES = 20
TARGET = 3
BADNETS: Mapping[str, Sequence[str]] = {"hats": ["hat"], "both": ["hat", "scarf"]}


class Skill(NamedTuple):
    """The chance of a right answer on a clean image, of a flag and of the attacker's win on a poisoned one."""

    right: float = 0.95
    flags: float = 0.8
    wins: float = 0.1


def contender(name: str, **changes: object) -> Contender:
    """A submission that nothing is special about."""
    usual = {
        "authors": ("A",), "description": "d", "kind": "model", "badges": ("model",), "seconds": 1.0,
        "images_per_second": dict.fromkeys(BADNETS, 100.0),
    }  # fmt: skip
    return Contender(name=name, **(usual | changes))  # type: ignore[arg-type]


def key(
    *, each: int = 6, unknown: int = 0, classes: int = CLASSES, badnets: Mapping[str, Sequence[str]] = BADNETS
) -> Key:
    """`each` images of each class in each set, and `unknown` more poisoned ones whose class nobody knows."""
    labels = np.repeat(np.arange(classes), each)
    poisoned = np.concatenate([labels, np.full(unknown, -1)])
    return Key(
        classes=classes,
        clean={name: CleanSet(labels) for name in badnets},
        poisoned={name: {it: PoisonedSet(poisoned, TARGET, None) for it in them} for name, them in badnets.items()},
    )


def answers(
    key: Key, skill: Skill, rng: np.random.Generator, spread: float = 0.0
) -> dict[tuple[str, str | None], Answers]:
    """What one of that skill says, beside a BadNet that is nearly always right and nearly always fooled.

    spread: how much the chances differ from class to class.
    """
    shift = rng.normal(0, spread, key.classes)
    given: dict[tuple[str, str | None], Answers] = {}
    for badnet, sets in key.poisoned.items():
        labels = key.clean[badnet].labels
        own = _clean(labels, skill.right + shift[labels], key.classes, rng)
        given[badnet, None] = Answers(
            own, _clean(labels, np.full(len(labels), 0.97), key.classes, np.random.default_rng(1))
        )
        for trigger, it in sets.items():
            baseline = np.where(np.random.default_rng(2).random(len(it.labels)) < 0.99, it.target, 0)
            own = _poisoned(it, skill, shift, key.classes, rng)
            given[badnet, trigger] = Answers(own, baseline.astype(np.int32))
    return given


def field(key: Key, skills: Mapping[str, Skill], *, seed: int = 0, **changes: Mapping[str, object]) -> Field:
    """Submissions by name; changes: what is special about some."""
    packed = [
        key.pack(answers(key, skill, np.random.default_rng([seed, n]))) for n, skill in enumerate(skills.values())
    ]
    names = [contender(name, **changes.get(name.replace("-", "_"), {})) for name in skills]
    return Field(track="made", key=key, contenders=names, packed=np.stack(packed))


def board(of: Field, measure: Measure = score, scope: Scope | None = None) -> Board:
    """One board of a field."""
    wanted = Wanted(scope or Scope(of.track), measure)
    return boards(of, [wanted])[wanted]


def board_of(contenders: Sequence[Contender]) -> Board:
    """A board on which these stand, whatever they are called."""
    one = key()
    packed = [one.pack(answers(one, Skill(), np.random.default_rng(n))) for n in range(len(contenders))]
    return board(Field(track="made", key=one, contenders=contenders, packed=np.stack(packed)))


def _clean(
    labels: NDArray[np.int64], chance: NDArray[np.float64], classes: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    return np.where(rng.random(len(labels)) < chance, labels, (labels + 1) % classes).astype(np.int32)


def _poisoned(
    it: PoisonedSet, skill: Skill, shift: NDArray[np.float64], classes: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    drawn = rng.random(len(it.labels)) - shift[it.labels]
    others = np.where(drawn < skill.flags + skill.wins, it.target, (it.target + 1) % classes)
    return np.where(drawn < skill.flags, classes, others).astype(np.int32)
