"""Puts a filter in front of the BadNet: images that are unlike the clean ones are flagged."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.models.any_model import load_badnet
from harness.models.contracts import Answers, BadNetView, Images, Predictor, Progress, Validation


@dataclass(frozen=True, kw_only=True)
class OutlierFilter:
    """Measures how far pixels lie from the mean clean image. Its fields are what `[options]` may set."""

    false_flags: float = 0.01
    """Share of the clean validation images that may be flagged."""

    def repair(
        self, badnet: BadNetView, validation: Validation, *, rng: np.random.Generator, progress: Progress
    ) -> Predictor:
        """Set the filter's threshold on clean images; draw from `rng` alone, so that the same seed repairs the same."""
        progress("measuring clean images", 0, 1)
        mean = validation.images.mean(axis=0, dtype=np.float32)
        spread = validation.images.std(axis=0, dtype=np.float32) + 1

        def distance(images: Images) -> Any:
            return np.abs((images - mean) / spread).mean(axis=(1, 2, 3))

        threshold = np.quantile(distance(validation.images), 1 - self.false_flags)
        answer = load_badnet(badnet)

        def predict(images: Images) -> Answers:
            return np.where(distance(images) > threshold, badnet.flag, answer(images))

        return predict
