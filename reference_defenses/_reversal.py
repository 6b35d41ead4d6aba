"""Reversing triggers for many labels at once: for each, the smallest mask and a pattern that send any image there.

Source: Wang et al., "Neural Cleanse", IEEE S&P 2019, doi:10.1109/SP.2019.00031, section IV. An image x becomes
(1 - m) x + m p; a loss towards the label plus a cost times the sum of the mask m is made small. The labels are rows of
one optimisation: what is a number for one label is a vector here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.models.graph import Graph
from harness.models.keras_layers import Apply, Convolution, Pooling

MONOTONE = ("relu", "relu6", "sigmoid", "tanh", "elu", "selu", "softplus")
CHUNK = 128
"""Images that run through the net at once on a processor: the activations of more fall out of its cache."""
GPU_CHUNK = 8192


@dataclass(frozen=True, kw_only=True)
class Reversing:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980) on the logits of mask and pattern, with a cost for each row.

    success: the share of a step's images that must reach the label. cost: of a mask's sum at first; after `patience`
    steps in a row that succeed it is multiplied by `growth`, after as many that fail it is divided by growth ** 1.5. A
    mask counts once `steady` steps in a row have succeeded, on other images each. stale: a row ends after this many
    steps in which its mask has not become 1 % smaller.
    """

    learning_rate: float = 0.2
    betas: tuple[float, float] = (0.9, 0.999)
    cost: float = 0.01
    growth: float = 1.5
    patience: int = 5
    steady: int = 3
    success: float = 0.95
    stale: int = 60
    opacity: float = 0.0
    """The masks' logit at first: half opaque, as a mask that shrinks finds what one that grows never comes across."""


class Rows:
    """Labels at work: `labels` (r,), and for each its mask and pattern as logits, Adam's moments, cost and counts.

    best_norms: (r,), the smallest sum of a mask that succeeded, infinite before. shortfalls: (r,), how far the
    label's logit lay below the largest in the last step, on average over images. best_masks: (r, H, W, 1) and
    best_patterns: (r, H, W, C), in 0..1, belong to it.
    """

    def __init__(self, labels: Tensor, shape: Sequence[int], settings: Reversing, start: torch.Generator) -> None:
        """Begin with masks and patterns that are the same for all labels but for nothing: noise from `start`."""
        height, width, channels = shape
        device, count = labels.device, len(labels)
        noise = 0.1 * torch.randn(height, width, 1 + channels, generator=start)
        self.settings, self.labels = settings, labels
        self.logits = noise.to(device).repeat(count, 1, 1, 1)
        self.logits[..., :1] += settings.opacity
        self.first, self.second = torch.zeros_like(self.logits), torch.zeros_like(self.logits)
        self.cost = torch.full((count,), settings.cost, device=device)
        self.best_norms = torch.full((count,), torch.inf, device=device)
        self.shortfalls = torch.full((count,), torch.inf, device=device)
        self.best = torch.zeros_like(self.logits)
        self.hits, self.misses, self.idle = (torch.zeros(count, dtype=torch.int64, device=device) for _ in range(3))
        self.steps = 0

    def keep(self, rows: Tensor) -> None:
        """Go on with some rows only: numbers (k,)."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[rows])

    @property
    def best_masks(self) -> Tensor:
        """The masks of `best_norms`: (r, H, W, 1)."""
        return self.best[..., :1]

    @property
    def best_patterns(self) -> Tensor:
        """The patterns of `best_norms`: (r, H, W, C)."""
        return self.best[..., 1:]

    def ranked(self, weights: Tensor) -> Tensor:
        """The rows (r,) by norm over weight (r,), the smallest first; those without a mask come last, by shortfall."""
        by_shortfall = self.shortfalls.argsort(stable=True)
        return by_shortfall[(self.best_norms / weights)[by_shortfall].argsort(stable=True)]

    def wake(self) -> None:
        """Let rows that came to an end go on: other images may still make their masks smaller."""
        self.idle.zero_()

    def step(self, net: nn.Module, images: Tensor) -> None:
        """One step of all rows that are not at their end, on the same images: float (b, H, W, C) in 0..1."""
        self.steps += 1
        working = torch.nonzero(self.idle < self.settings.stale).flatten()
        for rows in torch.split(working, max(1, chunk_of(images.device) // len(images))):
            self._step(net, images, rows)

    def _step(self, net: nn.Module, images: Tensor, rows: Tensor) -> None:
        settings, labels = self.settings, self.labels[rows]
        values = torch.sigmoid(self.logits[rows])
        masks, patterns = values[:, None, ..., :1], values[:, None, ..., 1:]
        change = patterns - images
        wanted = labels.repeat_interleave(len(images))
        stamped = (images + masks * change).flatten(0, 1).permute(0, 3, 1, 2).requires_grad_(True)
        outputs = net(stamped)
        own = outputs.gather(1, wanted[:, None])[:, 0]
        others = outputs.scatter(1, wanted[:, None], -torch.inf)
        # Cross-entropy. The sum over rows leaves each row its own gradient; the mean is over a row's images.
        loss = F.softplus(others.logsumexp(1) - own).sum() / len(images)
        (slope,) = torch.autograd.grad(loss, stamped)
        with torch.no_grad():
            lacking = (others.amax(1) - own).clamp(min=0).view(-1, len(images))
            self.shortfalls[rows] = lacking.mean(1)
            reached = (lacking == 0).float().mean(1) >= settings.success
            self.hits[rows] = hits = torch.where(reached, self.hits[rows] + 1, 0)
            self.misses[rows] = torch.where(reached, 0, self.misses[rows] + 1)
            self._note(rows, hits >= settings.steady, values)
            slope = slope.permute(0, 2, 3, 1).reshape(change.shape)
            to_masks = (slope * change).sum((1, 4)).unsqueeze(-1) + self.cost[rows].view(-1, 1, 1, 1)
            gradient = torch.cat([to_masks, slope.sum(1) * masks[:, 0]], -1) * values * (1 - values)
            self._adam(rows, gradient)
            self._adapt(rows)

    def _note(self, rows: Tensor, counts: Tensor, values: Tensor) -> None:
        norms = values[..., 0].sum((1, 2))
        better = counts & (norms < self.best_norms[rows])
        clearly = better & (norms < 0.99 * self.best_norms[rows])
        self.best_norms[rows] = torch.where(better, norms, self.best_norms[rows])
        self.best[rows] = torch.where(better.view(-1, 1, 1, 1), values, self.best[rows])
        idle = torch.where(clearly, 0, self.idle[rows] + 1)
        self.idle[rows] = torch.where(self.best_norms[rows].isfinite(), idle, 0)

    def _adam(self, rows: Tensor, gradient: Tensor) -> None:
        keep_first, keep_second = self.settings.betas
        self.first[rows] = first = keep_first * self.first[rows] + (1 - keep_first) * gradient
        self.second[rows] = second = keep_second * self.second[rows] + (1 - keep_second) * gradient.square()
        first, second = first / (1 - keep_first**self.steps), second / (1 - keep_second**self.steps)
        self.logits[rows] -= self.settings.learning_rate * first / (second.sqrt() + 1e-8)

    def _adapt(self, rows: Tensor) -> None:
        settings, hits, misses = self.settings, self.hits[rows], self.misses[rows]
        dearer, cheaper = (hits > 0) & (hits % settings.patience == 0), (misses > 0) & (misses % settings.patience == 0)
        factor = torch.where(dearer, settings.growth, torch.where(cheaper, settings.growth**-1.5, 1.0))
        self.cost[rows] *= factor


def stamp(images: Tensor, mask: Tensor, pattern: Tensor) -> Tensor:
    """Images (n, H, W, C) with a trigger on them: mask (H, W, 1) and pattern (H, W, C), all in 0..1."""
    return images + mask * (pattern - images)


def chunk_of(device: torch.device) -> int:
    """How many images to run through a net at once."""
    return CHUNK if device.type == "cpu" else GPU_CHUNK


class Scaled(nn.Module):
    """A net that takes images in 0..1, whatever its own scale: float (n, C, H, W) in, logits out; nothing to train."""

    def __init__(self, graph: Graph, scale: float) -> None:
        super().__init__()
        self.graph, self.factor = _pool_first(graph).requires_grad_(False).eval(), 255 / scale
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Answer images (n, C, H, W) in 0..1."""
        return self.graph(images * self.factor if self.factor != 1 else images)  # type: ignore[no-any-return]


def _pool_first(graph: Graph) -> Graph:
    """Pool before activating, in place: the same values where the activation is monotone, and a quarter of the work."""
    for step in graph.steps:
        layer = graph.layers[step.layer]
        users = [other for other in graph.steps if step.key in other.inputs]
        if not (isinstance(layer, Convolution) and isinstance(layer.activation, Apply) and len(users) == 1):
            continue
        pool = graph.layers[users[0].layer]
        once = [other.layer for other in graph.steps].count
        if (
            layer.activation.name in MONOTONE and isinstance(pool, Pooling) and pool.maximum
            and once(step.layer) == once(users[0].layer) == 1
        ):  # fmt: skip
            graph.replace(users[0].layer, nn.Sequential(pool, layer.activation))
            layer.activation = nn.Identity()
    return graph
