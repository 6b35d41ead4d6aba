"""A coin in front of the BadNet: half of all inputs are called backdoored."""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from harness.models.any_model import load_badnet
from harness.models.contracts import Answers, BadNetView, Images, Predictor, Progress, Validation


@dataclass(frozen=True, kw_only=True)
class RandomFlag:
    """Flags each image with a probability, independent of its neighbours; its score is 0 on average.

    Differences from the paper: there is none to differ from. The coin is a keyed hash of the image, so that an image
    gets the same answer in any order and any batch.
    """

    probability: float = 0.5
    """Of a flag, 0..1."""

    def __post_init__(self) -> None:
        """Check the probability."""
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability {self.probability} is not within 0..1")

    def repair(
        self, badnet: BadNetView, validation: Validation, *, rng: np.random.Generator, progress: Progress
    ) -> Predictor:
        """Load the BadNet and draw the key of the coin."""
        original, key = load_badnet(badnet), rng.bytes(32)

        def answer(images: Images) -> Answers:
            coins = [blake2b(image.tobytes(), key=key, digest_size=8).digest() for image in images]
            uniform = np.frombuffer(b"".join(coins), "<u8") / 2.0**64
            return np.where(uniform < self.probability, badnet.flag, original(images))

        return answer
