"""The pair of a BadNet and a repaired net: their common answer, or the flag."""

import numpy as np
from numpy.typing import NDArray

from harness.models.contracts import Images, Predictor


class PairPredictor:
    """Answers B'(x) where B(x) == B'(x), else the flag; -1 where either gave no valid answer.

    Source: Liu, Dolan-Gavitt, Garg, RAID 2018, arXiv:1805.12185, as the CSAW-HackML-2020 labs combined the two nets.
    """

    def __init__(self, original: Predictor, repaired: Predictor, *, flag: int) -> None:
        self.original, self.repaired, self.flag = original, repaired, flag

    def __call__(self, images: Images) -> NDArray[np.int64]:
        """Answer uint8 images (n, H, W, C): int64 (n,)."""
        before, after = np.asarray(self.original(images)), np.asarray(self.repaired(images))
        answers = np.where(before == after, after, self.flag)
        # A net that fails is no witness: neither its disagreement nor its agreement may pass for an answer.
        return np.where((before < 0) | (after < 0), -1, answers).astype(np.int64)
