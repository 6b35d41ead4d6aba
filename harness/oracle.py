"""What an oracle is given: a fifth of the poisoned images that carry their trigger, and nothing that says more of them."""

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from harness.track import BadNet

SHARE = 0.2


def given_to_oracle(badnet: BadNet, seed: int) -> TemporaryDirectory[str]:
    """A folder with `<trigger>.npy`, uint8 (n, H, W, C), for each trigger; the same images for the same seed.

    It is to be cleaned up.
    """
    folder = TemporaryDirectory(prefix="badnet-oracle-")
    rng = np.random.default_rng(seed)
    for trigger, poisoned in badnet.poisoned.items():
        images, carries = poisoned.images.images, poisoned.images.carries
        carrying = np.arange(len(images)) if carries is None else np.flatnonzero(carries)
        chosen = rng.choice(carrying, size=math.ceil(SHARE * len(carrying)), replace=False)
        np.save(Path(folder.name) / f"{trigger}.npy", images[np.sort(chosen)])
    return folder
