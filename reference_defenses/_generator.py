"""A generator network that draws a trigger for any label of a net, all labels at once or one of them further."""

import copy
import math
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.models.contracts import Progress, Validation
from harness.models.graph import Graph
from reference_defenses._nets import as_input, batches

CODE, CHANNELS = 64, (16, 32, 32)
LABELS_A_STEP = 32
PIXEL_COST = 0.01
"""Nats that a pixel of a mask costs."""
RATE, CODE_RATE = 3e-3, 3e-2
"""Adam's first steps, for the network and for the labels' codes."""


class Generator(nn.Module):
    """Draws a mask and a pattern for labels (k,): (k, 1, H, W) and (k, C, H, W), both in 0..1."""

    def __init__(self, shape: tuple[int, int, int], labels: int) -> None:
        """Set up random weights; shape: (H, W, C)."""
        super().__init__()
        height, width, colours = shape
        self._sizes, layers, before = [(height, width)], [], 1 + colours
        for channels in CHANNELS:
            layers.append(nn.Conv2d(channels, before, 3, padding=1))
            height, width, before = math.ceil(height / 2), math.ceil(width / 2), channels
            self._sizes.append((height, width))
        self.codes = nn.Embedding(labels, CODE)
        self.first = nn.Linear(CODE, before * height * width)
        self.layers = nn.ModuleList(layers[::-1])

    def forward(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the labels' triggers."""
        x = self.first(self.codes(labels)).view(len(labels), CHANNELS[-1], *self._sizes[-1])
        for place, layer in enumerate(self.layers, start=2):
            x = layer(F.interpolate(F.elu(x), size=self._sizes[-place]))
        return (x[:, :1] - 1).sigmoid(), x[:, 1:].sigmoid()

    def only(self, label: int) -> Self:
        """A copy that draws the trigger of one label alone, as its label 0."""
        own = copy.deepcopy(self)
        own.codes = nn.Embedding(1, CODE)
        own.codes.weight = nn.Parameter(self.codes.weight[label : label + 1].detach().clone())
        return own


def stamp(images: Tensor, mask: Tensor, pattern: Tensor) -> Tensor:
    """The images with a trigger; shapes are broadcast."""
    return (1 - mask) * images + mask * pattern


class Sweep:
    """Trains generators against one net, on images that are divided by `scale` as the net takes them."""

    def __init__(self, net: Graph, validation: Validation, *, scale: float, rng: np.random.Generator) -> None:
        self.net = net.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.validation, self.scale, self.rng = validation, scale, rng

    def train(
        self, generator: Generator, labels: NDArray[np.int64], *, steps: int, images: int, what: str, progress: Progress,
        pace: float = 1.0,
    ) -> None:  # fmt: skip
        """Train in place.

        labels (n,): the net's label for each code; images: for each label of a step; pace: of both rates, above 0.
        """
        optimizer = torch.optim.Adam(
            [
                {"params": generator.codes.parameters(), "lr": pace * CODE_RATE},
                {"params": [*generator.first.parameters(), *generator.layers.parameters()], "lr": pace * RATE},
            ]
        )
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
        order = np.zeros(0, np.int64)
        for step in range(steps):
            progress(what, step, steps)
            while len(order) < min(LABELS_A_STEP, len(labels)):
                order = np.concatenate([order, self.rng.permutation(len(labels))])
            chosen, order = order[:LABELS_A_STEP], order[LABELS_A_STEP:]
            optimizer.zero_grad()
            self._costs(generator, chosen, labels[chosen], images).mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            rate.step()
        progress(what, steps, steps)

    @torch.no_grad()
    def costs(
        self, generator: Generator, labels: NDArray[np.int64], *, images: int, progress: Progress
    ) -> NDArray[np.float64]:
        """What each label's trigger costs, in nats: (n,)."""
        parts = []
        for part in batches(len(labels), LABELS_A_STEP):
            parts.append(self._costs(generator, np.arange(part.start, part.stop), labels[part], images))
            progress("what each label's trigger costs", part.stop, len(labels))
        return torch.cat(parts).double().numpy()

    def _costs(self, generator: Generator, codes: NDArray[np.int64], labels: NDArray[np.int64], images: int) -> Tensor:
        drawn = self.rng.integers(len(self.validation.labels), size=(len(codes), images))
        others = torch.from_numpy(self.validation.labels[drawn] != labels[:, None])
        x = as_input(self.validation.images[drawn.ravel()], self.scale)
        mask, pattern = generator(torch.from_numpy(codes))
        repeated = stamp(
            x, mask.repeat_interleave(images, 0), pattern.repeat_interleave(images, 0) * (255 / self.scale)
        )
        wanted = torch.from_numpy(labels).repeat_interleave(images)
        losses = F.cross_entropy(self.net(repeated), wanted, reduction="none").view(len(codes), images)
        missed = (losses * others).sum(1) / others.sum(1).clamp(min=1)
        costs: Tensor = missed + PIXEL_COST * mask.flatten(1).sum(1)
        return costs
