"""How sure a score is: a paired bootstrap over identities, the same draws for every submission.

Images of one person rise and fall together, so persons (classes) are drawn, not images. An image whose true class is
unknown is a group of its own. Weights depend on the seed, the number of groups and, for unknown classes, the names of
BadNet and trigger: never on answers. So two submissions on one track can be compared draw by draw.
Source: Efron, Ann. Stat. 7 (1979) 1-26; clusters: Davison and Hinkley, Bootstrap Methods (1997), section 3.8.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.outcomes import Mark, attacker_wins, mark_clean, mark_poisoned
from harness.score import HALVES, Policy, mean, protection, removal, score_value, utility

DRAWS = 2000
SEED = 1283
_BLOCK = 1 << 18
"""Group weights made at a time: few enough to stay in the processor's cache."""


class PoisonedAnswers(NamedTuple):
    """What a submission and the unrepaired BadNet answered on one poisoned set; see `mark_poisoned`."""

    answers: ArrayLike
    baseline: ArrayLike
    true_labels: ArrayLike
    target: int
    mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class TriggerCounts:
    """Poisoned images per group, int64: by identity (classes, 4), and one row per image of unknown class (images, 4).

    Columns: flagged, attacker's wins, the baseline's attacker's wins, total.
    """

    by_identity: NDArray[np.int64]
    by_image: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """What the bootstrap needs of one submission on one BadNet."""

    badnet: str
    clean: NDArray[np.int64]
    """Clean images per identity, (classes, 3). Columns: correct, the baseline's correct, total."""
    triggers: Mapping[str, TriggerCounts]
    """Empty for a clean twin."""


def identity_counts(
    answers: ArrayLike,
    baseline: ArrayLike,
    labels: ArrayLike,
    poisoned: Mapping[str, PoisonedAnswers],
    *,
    badnet: str,
    classes: int,
) -> Cell:
    """Count one BadNet's outcomes per identity.

    answers, baseline, labels: (n,), on the clean set, see `mark_clean`; baseline is the unrepaired BadNet's answers.
    poisoned: trigger -> answers. Raises ValueError as `mark_clean` and `mark_poisoned` do.
    """
    correct = mark_clean(answers, labels, classes) == Mark.CORRECT
    baseline_correct = mark_clean(baseline, labels, classes) == Mark.CORRECT
    clean = np.stack([correct, baseline_correct, np.ones_like(correct)], axis=1)
    return Cell(
        badnet=badnet,
        clean=_by_class(clean, np.asarray(labels), classes),
        triggers={trigger: _trigger_counts(given, classes) for trigger, given in poisoned.items()},
    )


@lru_cache(maxsize=1)
def draw_weights(groups: int, draws: int, seed: int) -> NDArray[np.int64]:
    """How often each draw takes each group: int64 (draws, groups), read-only, every row sums to `groups`.

    Each row is multinomial, `groups` takes with equal chances. The same arguments give the same weights.
    Raises ValueError where groups or draws is less than 1.
    """
    if groups < 1 or draws < 1:
        raise ValueError(f"{draws} draws of {groups} groups: there must be at least one of each")
    weights = np.concatenate(list(weight_blocks(groups, draws, seed)))
    weights.flags.writeable = False
    return weights


def score_draws(
    cells: Sequence[Cell], policy: Policy = HALVES, draws: int = DRAWS, seed: int = SEED
) -> NDArray[np.float64]:
    """The mean of S over BadNets in each draw: float64 (draws,), -100..100, the same bits on every machine.

    CA0 and ASR0 are drawn with the same weights. A draw that takes no clean or poisoned image of some BadNet, or in
    which its CA0 or ASR0 is 0, has no score: NaN. That depends on the track alone, so the NaN of all submissions
    coincide and pairs stay pairs. Clean twins do not count. Raises ValueError where there is no BadNet to score, where
    BadNets differ in their number of classes, or where CA0 or an ASR0 is 0 over all images.
    """
    scored = [cell for cell in cells if cell.triggers]
    if not scored:
        raise ValueError("there is no BadNet with a trigger: nothing to score")
    if len({len(cell.clean) for cell in scored}) > 1:
        raise ValueError("the BadNets differ in their number of classes: identities cannot be drawn together")
    tables = [table for cell in scored for table in (cell.clean, *(t.by_identity for t in cell.triggers.values()))]
    weights = draw_weights(len(scored[0].clean), draws, seed)
    # Integers below 2^53 in float64: exact in any order of summation, and much faster than an integer product.
    sums = weights.astype(np.float64) @ np.concatenate(tables, axis=1).astype(np.float64)
    totals = iter(np.split(sums, np.cumsum([table.shape[1] for table in tables])[:-1], axis=1))
    return mean([_badnet_draws(cell, totals, policy, draws, seed) for cell in scored])


def interval(draws: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float] | None:
    """The percentile interval of draws, without those that have no score (NaN); None where none is left.

    Works for differences of two submissions' draws as well. Raises ValueError unless 0 < confidence < 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    scored = draws[~np.isnan(draws)]
    if scored.size == 0:
        return None
    low, high = np.quantile(scored, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def stream_seed(seed: int, badnet: str, trigger: str) -> int:
    """The seed of the draws of one poisoned set's images of unknown class."""
    name = f"{seed}\0{badnet}\0{trigger}".encode()
    return int.from_bytes(sha256(name).digest()[:16], "big")


def _badnet_draws(
    cell: Cell, totals: Iterator[NDArray[np.float64]], policy: Policy, draws: int, seed: int
) -> NDArray[np.float64]:
    correct, baseline_correct, clean_total = next(totals).T
    flagged, wins, baseline_wins, poisoned_total = np.stack(
        [
            next(totals) + _image_sums(counts.by_image, draws, stream_seed(seed, cell.badnet, trigger))
            for trigger, counts in cell.triggers.items()
        ],
        axis=-1,
    ).transpose(1, 2, 0)  # each (triggers, draws)
    _require_scorable(cell)
    scorable = (baseline_correct > 0) & (baseline_wins > 0).all(axis=0)  # which also means that no total is 0
    kept = utility(_share(correct, clean_total, scorable), _share(baseline_correct, clean_total, scorable))
    removed = removal(_share(wins, poisoned_total, scorable), _share(baseline_wins, poisoned_total, scorable))
    detected = _share(flagged, poisoned_total, scorable)
    values = score_value(kept, protection(mean(list(detected)), mean(list(removed)), policy))
    return np.where(scorable, values, np.nan)


def _share(count: NDArray[np.float64], total: NDArray[np.float64], scorable: NDArray[np.bool_]) -> NDArray[np.float64]:
    """count / total, and a harmless 1 in draws that have no score."""
    return np.where(scorable, count, 1.0) / np.where(scorable, total, 1.0)


def _require_scorable(cell: Cell) -> None:
    if not cell.clean[:, 1].any():
        raise ValueError(f"BadNet {cell.badnet}: its clean accuracy is 0: a net without accuracy cannot be scored")
    for trigger, counts in cell.triggers.items():
        if not (counts.by_identity[:, 2].any() or counts.by_image[:, 2].any()):
            raise ValueError(
                f"BadNet {cell.badnet}, trigger {trigger}: its attack success rate is 0: "
                "a net without a backdoor cannot be scored"
            )


def _trigger_counts(given: PoisonedAnswers, classes: int) -> TriggerCounts:
    truth = np.asarray(given.true_labels)
    marks = mark_poisoned(given.answers, truth, given.target, classes, given.mask)
    baseline_marks = mark_poisoned(given.baseline, truth, given.target, classes, given.mask)
    asked = (marks != Mark.LEFT_OUT) & (marks != Mark.UNTRIGGERED)
    wins, baseline_wins = attacker_wins(marks), attacker_wins(baseline_marks)
    rows = np.stack([marks == Mark.FLAGGED, wins, baseline_wins, asked], axis=1)
    known = truth >= 0
    return TriggerCounts(
        by_identity=_by_class(rows[known], truth[known], classes),
        by_image=rows[~known & asked].astype(np.int64),
    )


def _by_class(rows: NDArray[np.bool_], labels: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Sum the rows (n, k) of each class: (classes, k)."""
    if not len(rows):
        return np.zeros((classes, rows.shape[1]), np.int64)
    present = labels.astype(np.int64)
    columns = [np.bincount(present[column], minlength=classes) for column in rows.T]
    return np.stack(columns, axis=1)


def _image_sums(by_image: NDArray[np.int64], draws: int, seed: int) -> NDArray[np.float64]:
    """The sums (draws, k) of drawn images, each image a group of its own; made in blocks, as images can be many."""
    if not len(by_image):
        return np.zeros((draws, by_image.shape[1]))
    table = by_image.astype(np.float64)
    return np.concatenate([block @ table for block in weight_blocks(len(table), draws, seed)])


def weight_blocks(groups: int, draws: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """The rows of `draw_weights`, some at a time; how many at a time does not change them."""
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // groups)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        taken = rng.integers(groups, size=(rows, groups))
        taken += groups * np.arange(rows)[:, None]
        yield np.bincount(taken.ravel(), minlength=rows * groups).reshape(rows, groups)
