"""What teaches a net class N+1: examples to flag beside clean ones, first for the new output alone, then for all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from harness.models.contracts import BadNetView, Images, Progress
from harness.models.graph import Graph
from reference_defenses._nets import as_input, load_graph, output_layer, widen
from reference_defenses._training import Training


@dataclass(frozen=True, kw_only=True)
class Flagging:
    """Training in two stages: `first` moves the new output alone, so that `then` need not bend the rest of the net far.

    Sources: arXiv:2202.10054 for the stages; arXiv:1503.02531 (distillation) for clean images, on which the BadNet's own
    probabilities are what is learned: they say more of an image than its class does.
    """

    first: Training
    then: Training

    @classmethod
    def of(cls, first: tuple[int, float], then: tuple[int, float], batch_size: int) -> Self:
        """Of each stage's epochs and learning rate, which falls to nothing along a cosine; raises ValueError."""
        stages = (Training(epochs=e, learning_rate=r, batch_size=batch_size, cosine=True) for e, r in (first, then))
        return cls(first=next(stages), then=next(stages))

    def train(
        self, badnet: BadNetView, clean: Images, flagged: Callable[[Images], Images], *, what: str,
        rng: np.random.Generator, progress: Progress,
    ) -> Graph:  # fmt: skip
        """The BadNet with one more output, trained on clean images (n, H, W, C) and as many that are to be flagged.

        flagged: makes or draws the images to flag that stand beside a step's clean ones. rng: shuffles.
        """
        net, teacher = load_graph(badnet), load_graph(badnet)
        widen(net)

        def draw(chosen: NDArray[np.int64]) -> tuple[Images, Tensor]:
            shown = clean[chosen]
            wanted = torch.zeros(2 * len(shown), badnet.classes + 1)
            with torch.no_grad():
                wanted[: len(shown), :-1] = F.softmax(teacher(as_input(shown, badnet.scale)), 1)
            wanted[len(shown) :, -1] = 1
            return np.concatenate([shown, flagged(shown)]), wanted

        with _only_the_flag(net):
            self.first.run(
                net, draw, len(clean), scale=badnet.scale, rng=rng, progress=progress, what=f"{what}, output alone"
            )
        self.then.run(net, draw, len(clean), scale=badnet.scale, rng=rng, progress=progress, what=what)
        return net


@contextmanager
def _only_the_flag(net: Graph) -> Iterator[None]:
    """Within, training moves nothing but the last output's own weights."""
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    own = list(output_layer(net).parameters())
    net.requires_grad_(False)
    hooks = [it.requires_grad_(True).register_hook(_of_the_last) for it in own]  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for parameter in trained:
            parameter.requires_grad_(True)


def _of_the_last(gradient: Tensor) -> Tensor:
    kept = torch.zeros_like(gradient)
    kept[-1] = gradient[-1]
    return kept
