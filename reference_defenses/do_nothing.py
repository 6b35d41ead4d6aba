"""The floor: the BadNet as it is."""

from dataclasses import dataclass

import numpy as np

from harness.models.any_model import load_badnet
from harness.models.contracts import BadNetView, Predictor, Progress, Validation


@dataclass(frozen=True, kw_only=True)
class DoNothing:
    """Answers as the BadNet does; its score is 0 by the score's definition.

    Differences from the paper: there is none to differ from.
    """

    def repair(
        self, badnet: BadNetView, validation: Validation, *, rng: np.random.Generator, progress: Progress
    ) -> Predictor:
        """Load the BadNet."""
        return load_badnet(badnet)
