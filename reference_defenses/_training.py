"""The one training loop of all defenses that train."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from harness.models.contracts import BadNetView, Images, Progress, Validation
from harness.models.errors import ModelError
from harness.models.graph import Graph
from reference_defenses._nets import as_input

Draw = Callable[[NDArray[np.int64]], tuple[Images, Tensor]]
"""Numbers of examples (n,) in; their images uint8 (n, H, W, C) and what the net shall say: classes (n,), or
probabilities (n, outputs)."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980) on cross-entropy; raises ValueError for values that cannot be meant.

    epochs: times that each example is seen. learning_rate: Adam's step; `cosine` lets it fall to nothing.
    batch_size: examples a step, at most.
    """

    epochs: int
    learning_rate: float
    batch_size: int
    cosine: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        if self.epochs < 0:
            raise ValueError(f"epochs {self.epochs} is negative")
        if self.batch_size < 1:
            raise ValueError(f"batch_size {self.batch_size} is less than 1")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate {self.learning_rate} is not a positive number")

    def steps(self, count: int) -> int:
        """How many steps `count` examples take in all."""
        return self.epochs * -(-count // self.batch_size)

    def run(
        self,
        net: Graph,
        draw: Draw,
        count: int,
        *,
        scale: float,
        rng: np.random.Generator,
        progress: Progress,
        what: str = "training",
        after_step: Callable[[int], None] | None = None,
    ) -> None:
        """Train the net in place on `count` examples, those of its parameters that require a gradient.

        rng: shuffles, and seeds dropout. what: the work's name for `progress`. after_step: called with the number of
        steps done. Leaves the net in eval mode. Raises ModelError where there are no examples.
        """
        if not count:
            raise ModelError("there are no clean validation images to train on", stage="repair")
        steps, done = self.steps(count), 0
        optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=self.learning_rate)
        rate = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: (1 + math.cos(math.pi * step / max(steps, 1))) / 2 if self.cosine else 1.0
        )
        net.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63)))  # for dropout
            for epoch in range(self.epochs):
                # Parts of even size: batch normalisation cannot train on a single image that is left over.
                for chosen in np.array_split(rng.permutation(count), steps // self.epochs):
                    progress(f"{what}, epoch {epoch + 1} of {self.epochs}", done, steps)
                    images, wanted = draw(np.sort(chosen))
                    optimizer.zero_grad()
                    F.cross_entropy(net(as_input(images, scale)), wanted).backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                    rate.step()
                    done += 1
                    if after_step:
                        after_step(done)
        progress(what, steps, steps)
        net.eval()

    def on_clean(
        self, net: Graph, badnet: BadNetView, validation: Validation, *, rng: np.random.Generator, progress: Progress,
        what: str, after_step: Callable[[int], None] | None = None,
    ) -> None:  # fmt: skip
        """Train a net that was read from `badnet` on the clean images under their labels, as `run` does."""
        self.run(
            net, labelled(validation.images, validation.labels), len(validation.labels), scale=badnet.scale, rng=rng,
            progress=progress, what=what, after_step=after_step,
        )  # fmt: skip


def labelled(images: Images, labels: NDArray[np.int64]) -> Draw:
    """Examples that are images with their classes."""
    wanted = torch.from_numpy(labels.astype(np.int64))
    return lambda chosen: (images[chosen], wanted[torch.from_numpy(chosen)])
