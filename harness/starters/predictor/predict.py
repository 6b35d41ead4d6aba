"""Answers as the BadNet does: the place to begin from."""

from harness.models.any_model import load_badnet
from harness.models.contracts import Answers, BadNetView, Images


class Predictor:
    """Built once for each BadNet, in the sandbox."""

    def __init__(self, badnet: BadNetView) -> None:
        """Load what is needed; `badnet.validation()` gives clean images with their labels."""
        self.answer = load_badnet(badnet)
        self.flag = badnet.flag

    def __call__(self, images: Images) -> Answers:
        """Images uint8 (n, height, width, 3), RGB -> n integers: the class 0..N-1, or `self.flag` where backdoored."""
        return self.answer(images)
