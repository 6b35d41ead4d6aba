"""How a model wants its images: a stated scale or channel order is held against the others on clean validation images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from harness.models.contracts import Images, Predictor, Validation
from harness.models.errors import ModelError
from harness.models.exact_tests import heads_by_chance

Channels = Literal["rgb", "bgr"]

IMAGES = 256
"""Validation images that are asked, at most."""
GAP = 0.1
"""Of clean accuracy, at least, between a choice and one that is clearly better."""
FALSE_ALARMS = 0.001
"""Chance, at most, that any of the other choices is called clearly better although none is better."""
SCALES = (255.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class InputChoice:
    """What a model is given: images / scale, with the channels in this order."""

    scale: float
    channels: Channels = "rgb"

    def differences(self, other: "InputChoice") -> tuple[str, ...]:
        """The keys that differ."""
        return tuple(key for key in ("scale", "channels") if getattr(self, key) != getattr(other, key))


class Decision(NamedTuple):
    """The choice to take, and what the competitor should be told about it; None: nothing."""

    choice: InputChoice
    words: str | None = None


class Trial(NamedTuple):
    """A choice and which of the asked images it answered rightly: bool (n,). accuracy is the mean over the classes."""

    choice: InputChoice
    right: NDArray[np.bool_]
    accuracy: float


def choose_input(
    make: Callable[[InputChoice], Predictor],
    *,
    usual: InputChoice,
    validation: Validation,
    scale: float | None = None,
    channels: Channels | None = None,
) -> Decision:
    """Settle a model's input: what is stated is kept; what is not is as usual, unless another choice is clearly better.

    make: the model as a predictor for a choice. usual: the BadNet's own input. scale, channels: as stated, or None.
    A choice that the model refuses counts as wrong everywhere. Raises ModelError where the model refuses the first one.
    """
    stated = {key for key, value in (("scale", scale), ("channels", channels)) if value is not None}
    start = InputChoice(scale=scale or usual.scale, channels=channels or usual.channels)
    chosen = spread_evenly(validation.labels, IMAGES)
    images, labels = np.array(validation.images[chosen]), validation.labels[chosen]
    first = _trial(start, make(start), images, labels)
    if 1 - first.accuracy < GAP:  # nothing can be better by the gap
        return Decision(start)
    others = [
        InputChoice(scale=divisor, channels=order)
        for divisor, order in product(dict.fromkeys((usual.scale, *SCALES, start.scale)), get_args(Channels))
    ]
    others.remove(start)
    trials = [_try(choice, make, images, labels) for choice in others]
    best = best_of(first, trials, chance=1 / len(np.unique(labels)))
    if best is first:
        return Decision(start)
    kept = not stated.isdisjoint(best.choice.differences(start))
    return Decision(start if kept else best.choice, _words(first, best, stated))


def spread_evenly(labels: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Positions of at most `limit` labels, ascending: every class has as many as another, as far as it can.

    Always the same ones for the same labels.
    """
    mixed = np.random.default_rng(0).permutation(len(labels))
    by_class = mixed[np.argsort(labels[mixed], kind="stable")]
    counts = np.unique(labels, return_counts=True)[1]
    turns = np.empty(len(labels), np.int64)
    turns[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(mixed[np.argsort(turns[mixed], kind="stable")][:limit])


def best_of(first: Trial, trials: Sequence[Trial], *, chance: float) -> Trial:
    """The first trial, unless others are clearly better; of those the one that changes least among the most accurate."""
    better = [trial for trial in trials if is_clearly_better(trial, first, chance=chance, tests=len(trials))]
    if not better:
        return first
    top = max(better, key=lambda trial: trial.accuracy)
    as_good = [trial for trial in better if _by_chance(top, trial) > FALSE_ALARMS]
    return min(as_good, key=lambda trial: (len(trial.choice.differences(first.choice)), -trial.accuracy))


def is_clearly_better(trial: Trial, first: Trial, *, chance: float, tests: int) -> bool:
    """Whether a trial is better than the first by three measures, on the same images.

    By `GAP`. By half of the way from the first one's accuracy (or from `chance`, that of guessing) to 1: a model that
    is poor in every way wants none of them. And by the exact sign test over the images that only one of the two
    answered rightly (McNemar), at `FALSE_ALARMS` / tests (Bonferroni), where `tests` trials face the first one.
    """
    halfway = (1 + max(first.accuracy, chance)) / 2
    clear = trial.accuracy - first.accuracy >= GAP and trial.accuracy > halfway
    return clear and _by_chance(trial, first) <= FALSE_ALARMS / tests


def _by_chance(trial: Trial, other: Trial) -> float:
    won = int((trial.right & ~other.right).sum())
    return heads_by_chance(won, won + int((other.right & ~trial.right).sum()))


def _try(
    choice: InputChoice, make: Callable[[InputChoice], Predictor], images: Images, labels: NDArray[np.int64]
) -> Trial:
    try:
        return _trial(choice, make(choice), images, labels)
    except ModelError:
        return Trial(choice, np.zeros(len(labels), bool), 0.0)


def _trial(choice: InputChoice, predictor: Predictor, images: Images, labels: NDArray[np.int64]) -> Trial:
    right = np.asarray(predictor(images)) == labels
    # Over classes, so that a constant answer is worth the same whichever class it is.
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return Trial(choice, right, float((np.bincount(place, right) / counts).mean()))


def _words(first: Trial, best: Trial, stated: set[str]) -> str:
    changed = best.choice.differences(first.choice)
    wanted, setting = _wants(best.choice, changed), _settings(best.choice, changed)
    figures = (
        f"clean accuracy {_percent(best)} on {len(best.right)} validation images, {_percent(first)} with "
        f"{_settings(first.choice, changed)}"
    )
    if stated.isdisjoint(changed):
        return f"inferred {setting}, as your model seems to want {wanted}: {figures}; state it to settle it"
    as_stated = " as stated" if stated.issuperset(changed) else ""
    return f"your model seems to want {wanted}: {figures}{as_stated}; set {setting}"


def _percent(trial: Trial) -> str:
    return f"{100 * trial.right.mean():.0f} %"


def _settings(choice: InputChoice, keys: Sequence[str]) -> str:
    known = {"scale": f"scale = {choice.scale:g}", "channels": f'channels = "{choice.channels}"'}
    return ", ".join(known[key] for key in keys)


def _wants(choice: InputChoice, keys: Sequence[str]) -> str:
    scale = "raw 0..255 input" if choice.scale == 1 else f"x / {choice.scale:g}"
    known = {"scale": scale, "channels": choice.channels.upper()}
    return " and ".join(known[key] for key in keys)
