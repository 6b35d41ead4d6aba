"""The exam and its key: clean and poisoned images in one secret order; the labels stay with the host."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.images import ImageSet
from harness.track import BadNet

PUBLIC_SEED = 1283
"""Of the order that is published, for answers that were computed elsewhere."""


class Section(NamedTuple):
    """One image set of the exam: `trigger` is None for the clean test images."""

    trigger: str | None
    images: ImageSet


class Exam:
    """The blinded, shuffled images that one submission answers for one BadNet.

    Only `images_at` reaches a sandbox: pixels, without names, labels or the order of any file. `unblind` is the key.
    """

    def __init__(self, badnet: BadNet, seed: int) -> None:
        """Shuffle the BadNet's clean and poisoned test images; whoever does not know `seed` cannot tell them apart."""
        self.sections = [Section(None, badnet.test)]
        self.sections += [Section(name, poisoned.images) for name, poisoned in badnet.poisoned.items()]
        self._starts = np.cumsum([0, *(len(section.images) for section in self.sections)])
        rng = np.random.default_rng(seed)
        self._order = rng.permutation(int(self._starts[-1]))
        self.draws = rng
        """For whatever the audits draw."""

    def __len__(self) -> int:
        return len(self._order)

    def images_at(self, positions: NDArray[np.integer]) -> NDArray[np.uint8]:
        """The images at these positions of the secret order: uint8 (n, H, W, C)."""
        where = self._order[positions]
        out = np.empty((len(where), *self.sections[0].images.images.shape[1:]), np.uint8)
        for section, start, stop in zip(self.sections, self._starts, self._starts[1:], strict=False):
            mine = np.flatnonzero((where >= start) & (where < stop))
            # Reading a memory-mapped file in its own order is several times faster than in a random one.
            mine = mine[np.argsort(where[mine], kind="stable")]
            out[mine] = section.images.images[where[mine] - start]
        return out

    def sample(self, count: int) -> NDArray[np.int64]:
        """Positions of `count` images, drawn without repetition, for the audits."""
        return self.draws.choice(len(self), size=min(count, len(self)), replace=False)

    def clean(self) -> NDArray[np.bool_]:
        """Which images of the secret order are clean test images: bool (n,), for the audits."""
        marks = [np.full(len(section.images), section.trigger is None) for section in self.sections]
        return np.concatenate(marks)[self._order]

    def poisoned(self) -> NDArray[np.bool_]:
        """Which images of the secret order carry a trigger: bool (n,), for the audits."""
        marks = [
            section.images.carries
            if section.trigger and section.images.carries is not None
            else np.full(len(section.images), section.trigger is not None)
            for section in self.sections
        ]
        return np.concatenate(marks)[self._order]

    def unblind(self, answers: NDArray[np.int32]) -> dict[str | None, NDArray[np.int32]]:
        """Answers in the secret order -> answers in each set's own order; None is the clean set."""
        ordered = np.empty_like(answers)
        ordered[self._order] = answers
        return {
            section.trigger: ordered[start:stop]
            for section, start, stop in zip(self.sections, self._starts, self._starts[1:], strict=False)
        }
