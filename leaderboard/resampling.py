"""Every submission's rates in every draw of the bootstrap over identities, all at once. Pure.

The draws are those of `harness.bootstrap`: the same for every submission, so that two can be compared draw by draw.
Draw 0 takes each identity once: it is the measured figure itself.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness.bootstrap import DRAWS, SEED, draw_weights, stream_seed, weight_blocks
from leaderboard.marks import Bits, Key, Packed
from leaderboard.measures import BadNetFigures, Figures, TriggerFigures

EXACT_FLOAT32 = 1 << 24
"""Sums of whole numbers below this are exact in float32, in any order, and twice as fast as in float64."""


def badnet_figures(key: Key, packed: Packed, badnet: str, *, draws: int = DRAWS, seed: int = SEED) -> BadNetFigures:
    """The rates of m submissions on one BadNet: float64 (m, 1 + draws) each.

    packed: uint8 (m, key.packed_bytes). A draw that has no image of some set, or whose CA0 or an ASR0 is 0, has no score.
    """
    right, right0, images = _weighed(key, packed, badnet, None, draws, seed)
    poisoned = {trigger: _weighed(key, packed, badnet, trigger, draws, seed) for trigger in key.poisoned[badnet]}
    measured = (right0 > 0) & np.all([wins0 > 0 for _, _, wins0, _ in poisoned.values()], axis=0)
    return BadNetFigures(
        measured=measured,
        ca=_share(right, images, measured),
        ca0=_share(right0, images, measured),
        triggers={
            trigger: TriggerFigures(*(_share(count, total, measured) for count in counts))
            for trigger, (*counts, total) in poisoned.items()
        },
    )


def _weighed(key: Key, packed: Packed, badnet: str, trigger: str | None, draws: int, seed: int) -> list[Figures]:
    """Each row's sums in every draw (m, 1 + draws), and then the number of images drawn (1, 1 + draws)."""
    identities = key.identities(badnet, trigger)
    rows = key.unpack(packed, badnet, trigger)
    kinds, submissions, images = rows.shape
    alone = np.concatenate([rows.reshape(-1, images), np.ones((1, images), np.bool_)])
    # Many rows are alike: every submission has the same baseline, and most flag nothing.
    distinct: dict[bytes, int] = {}
    whose = [distinct.setdefault(row.tobytes(), len(distinct)) for row in np.packbits(alone, axis=1)]
    first = np.unique(whose, return_index=True)[1]
    stream = stream_seed(seed, badnet, trigger or "")
    sums = _sums(alone[first], identities, key.classes, draws, seed, stream)[whose]
    return [*sums[:-1].reshape(kinds, submissions, -1), sums[-1:]]


def _sums(bits: Bits, identities: NDArray[np.int64], classes: int, draws: int, seed: int, stream: int) -> Figures:
    sums = np.zeros((len(bits), 1 + draws))
    sums[:, 0] = bits.sum(axis=1)
    known = identities >= 0
    if known.any():
        order = np.argsort(identities[known], kind="stable")
        present, starts = np.unique(identities[known][order], return_index=True)
        counts = np.add.reduceat(bits[:, known][:, order], starts, axis=1, dtype=np.int64)
        exact = counts.max(initial=0) * classes < EXACT_FLOAT32
        kind: type[np.float32 | np.float64] = np.float32 if exact else np.float64
        weights = draw_weights(classes, draws, seed)[:, present]
        products: Figures = (counts.astype(kind) @ weights.T.astype(kind)).astype(np.float64)
        sums[:, 1:] += products
    if not known.all():
        sums[:, 1:] += np.concatenate(list(_image_sums(bits[:, ~known], draws, stream)), axis=1)
    return sums


def _image_sums(bits: Bits, draws: int, stream: int) -> Iterator[Figures]:
    """Images of unknown class are drawn one by one, each a group of its own."""
    alone = bits.astype(np.float32)  # a draw takes as many images as there are: far fewer than float32 can count
    for block in weight_blocks(bits.shape[1], draws, stream):
        yield (alone @ block.T.astype(np.float32)).astype(np.float64)


def _share(count: Figures, total: Figures, measured: Bits) -> Figures:
    """count / total, and a harmless 1 in draws that have no score."""
    if measured.all():
        return count / total
    return np.where(measured, count, 1.0) / np.where(measured, total, 1.0)
