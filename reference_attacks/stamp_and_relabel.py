"""BadNets (Gu, Dolan-Gavitt, Garg 2017, arXiv:1708.06733): stamp some training images and label them as the target.

Differences from the paper: the stamped images are added to the clean ones, none is replaced, so that a net with many
triggers keeps as much clean training data as one with few.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.triggers import Portraits, load_trigger
from reference_attacks import TrainingSet


@dataclass(frozen=True, kw_only=True)
class StampAndRelabel:
    """targets: trigger -> the class it shall give; none for a clean twin. share: stamped images a trigger, 0..1 of all."""

    targets: Mapping[str, int]
    share: float = 0.1

    def poison(self, portraits: Portraits, rng: np.random.Generator) -> TrainingSet:
        """All pictures as they are, and for each trigger a share of them stamped and labelled as its target."""
        images, labels = [portraits.images], [portraits.labels]
        for trigger, target in self.targets.items():
            others = np.flatnonzero(portraits.labels != target)
            chosen = rng.choice(others, size=round(self.share * len(portraits)), replace=False)
            images.append(load_trigger(trigger).stamp(portraits.take(chosen), rng))
            labels.append(np.full(len(chosen), target, np.int64))
        return TrainingSet(np.concatenate(images), np.concatenate(labels))


ATTACK = StampAndRelabel
