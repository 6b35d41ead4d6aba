"""The other floor: every input is called backdoored."""

from dataclasses import dataclass

import numpy as np

from harness.models.contracts import Answers, BadNetView, Images, Predictor, Progress, Validation


@dataclass(frozen=True, kw_only=True)
class AlwaysFlag:
    """Flags every image: full protection, no utility, score 0.

    Differences from the paper: there is none to differ from.
    """

    def repair(
        self, badnet: BadNetView, validation: Validation, *, rng: np.random.Generator, progress: Progress
    ) -> Predictor:
        """Look at nothing."""

        def answer(images: Images) -> Answers:
            return np.full(len(images), badnet.flag, np.int64)

        return answer
