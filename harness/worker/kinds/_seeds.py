"""One seed for all the generators that a submission's code may draw from."""

import random
import sys

import numpy as np


def seed_everything(seed: int) -> None:
    """Seed Python, numpy, and torch and Keras where they are loaded already: importing one to seed it costs seconds."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(seed % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # strangers' code may still draw from the global generator
