"""Pruning: channels that clean images leave asleep are removed, as a backdoor may live in them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.models.contracts import BadNetView, Predictor, Progress, Validation
from harness.models.errors import ModelError
from harness.models.graph import Graph
from harness.models.pair import PairPredictor
from reference_defenses._nets import accuracy, as_input, batches, classifier, last_convolution, load_graph

TAIL_BATCH = 2048
"""Cached activations that the rest of the net is run on at once."""


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """Removes channels of one layer, the least active on clean images first, and answers as the pair (B, B').

    Source: Liu, Dolan-Gavitt, Garg, "Fine-Pruning: Defending Against Backdooring Attacks on Deep Neural Networks",
    RAID 2018, arXiv:1805.12185, sections 3.1 and 3.2.

    Differences from the paper: the repaired net does not answer alone; an input on which it disagrees with the BadNet
    is flagged, as in CSAW-HackML-2020. Pruning stops at the first net whose accuracy has fallen by `accuracy_drop`,
    which the paper leaves to the defender. A channel is removed by masking it, so that the net keeps its shape.
    """

    accuracy_drop: float = 0.04
    """Clean validation accuracy that is given up, 0..1."""
    layer: str | None = None
    """Whose channels are removed; None: the last convolution's."""

    def __post_init__(self) -> None:
        """Check the drop."""
        check_drop(self.accuracy_drop)

    def repair(
        self, badnet: BadNetView, validation: Validation, *, rng: np.random.Generator, progress: Progress
    ) -> Predictor:
        """Prune a copy of the BadNet; draws nothing from `rng`."""
        pruned = pruned_copy(badnet, validation, layer=self.layer, accuracy_drop=self.accuracy_drop, progress=progress)
        return PairPredictor(classifier(load_graph(badnet), badnet), classifier(pruned, badnet), flag=badnet.flag)


class Curve(NamedTuple):
    """Clean accuracy while channels are removed.

    order: int64 (channels,), the least active first. accuracies: 0..1, entry k with the first k channels removed.
    """

    order: NDArray[np.int64]
    accuracies: list[float]


class KeptChannels(nn.Module):
    """A layer with some of its output channels held at zero; keep: (channels,), 1 or 0."""

    keep: Tensor

    def __init__(self, layer: nn.Module, keep: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("keep", keep)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Run the layer and mask its channels."""
        return masked(self.layer(*inputs), self.keep)


def masked(values: Tensor, keep: Tensor) -> Tensor:
    """Values (n, channels, ...) with the channels at which `keep` is 0 set to zero."""
    return values * keep.view(1, -1, *(1,) * (values.dim() - 2))


def prune(graph: Graph, layer: str, curve: Curve) -> None:
    """Hold the channels that the curve's last point has removed at zero, for inference and for training."""
    keep = torch.ones(len(curve.order))
    keep[torch.from_numpy(curve.order[: len(curve.accuracies) - 1])] = 0
    graph.replace(layer, KeptChannels(graph.layers[layer], keep))


def check_drop(accuracy_drop: float) -> None:
    """Raise ValueError unless the drop is a share of the images."""
    if not 0 < accuracy_drop <= 1:
        raise ValueError(f"accuracy_drop {accuracy_drop} is not within 0..1")


def pruned_copy(
    badnet: BadNetView, validation: Validation, *, layer: str | None, accuracy_drop: float, progress: Progress
) -> Graph:
    """The BadNet, pruned until its accuracy has fallen by the drop; layer None: the last convolution's channels."""
    pruned = load_graph(badnet)
    layer = layer or last_convolution(pruned)
    curve = pruning_curve(
        pruned, validation, layer=layer, scale=badnet.scale, stop_after_drop=accuracy_drop, progress=progress
    )
    prune(pruned, layer, curve)
    return pruned


@torch.inference_mode()
def pruning_curve(
    graph: Graph,
    validation: Validation,
    *,
    layer: str,
    scale: float,
    progress: Progress,
    stop_after_drop: float | None = None,
) -> Curve:
    """Remove the layer's channels one by one, the least active on clean images first, and watch the accuracy.

    Stops at the first accuracy that lies `stop_after_drop` or more below the whole net's; None: goes to the last
    channel. The net runs once up to the layer; each removal then costs its remaining layers only.
    Raises ModelError for an unknown layer.
    """
    own, *others = graph.frontier(layer)
    later = graph.after(layer)
    cached = _cache(graph, validation, (own, *others), scale, progress)
    values = cached[own]
    activity = values.flatten(2).mean((0, 2)) if values.dim() > 2 else values.mean(0)
    order = np.argsort(activity.numpy(), kind="stable")
    keep = torch.ones(len(order))
    accuracies: list[float] = []
    for removed in range(len(order) + 1):
        if removed:
            keep[order[removed - 1]] = 0
        predicted = [
            graph.resume({own: masked(values[part], keep), **{key: cached[key][part] for key in others}}, later).argmax(
                1
            )
            for part in batches(len(values), TAIL_BATCH)
        ]
        accuracies.append(accuracy(torch.cat(predicted).numpy(), validation.labels))
        progress(f"pruning {layer}", removed, len(order))
        if stop_after_drop is not None and accuracies[0] - accuracies[-1] >= stop_after_drop:
            break
    return Curve(order=order, accuracies=accuracies)


def _cache(
    graph: Graph, validation: Validation, keys: tuple[str, ...], scale: float, progress: Progress
) -> dict[str, Tensor]:
    count = len(validation.labels)
    if not count:
        raise ModelError("there are no clean validation images to rank channels by", stage="repair")
    parts: dict[str, list[Tensor]] = {key: [] for key in keys}
    for part in batches(count):
        for key, value in graph.values(as_input(validation.images[part], scale), keys).items():
            parts[key].append(value)
        progress("activations on clean images", part.stop, count)
    return {key: torch.cat(values) for key, values in parts.items()}
