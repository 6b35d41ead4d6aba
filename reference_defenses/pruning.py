"""Pruning: channels that clean images leave asleep are removed, as a backdoor may live in them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.models.contracts import BadNetView, Predictor, Progress, Validation
from harness.models.folding import without_channels
from harness.models.graph import Graph
from harness.models.repaired import RepairedNet
from reference_defenses._nets import last_convolution, load_graph
from reference_defenses._removal import Removal, activations, by_activity, check_drop, removal


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """Removes channels of one layer, the least active on clean images first, until clean accuracy has dropped.

    Source: Liu, Dolan-Gavitt, Garg, "Fine-Pruning: Defending Against Backdooring Attacks on Deep Neural Networks",
    RAID 2018, arXiv:1805.12185, sections 3.1 and 3.2.

    Differences from the paper: pruning stops at the first net whose accuracy has fallen by `accuracy_drop` or more; the
    paper leaves to the defender how much that is. A channel is removed by holding it at zero,
    so that the net keeps its shape.
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
        """Prune the BadNet; draws nothing from `rng`."""
        net = load_graph(badnet)
        layer = self.layer or last_convolution(net)
        curve = pruning_curve(
            net, validation, layer=layer, accuracy_drop=self.accuracy_drop, scale=badnet.scale, progress=progress
        )
        hold_at_zero(net, layer, curve.removed, of=len(curve.order))
        return RepairedNet(net, badnet, curve.findings())


class KeptChannels(nn.Module):
    """A layer with some of its output channels held at zero; keep: (channels,), 1 or 0."""

    keep: Tensor

    def __init__(self, layer: nn.Module, keep: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("keep", keep)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Run the layer and mask its channels."""
        values: Tensor = self.layer(*inputs)
        return values * self.keep.view(1, -1, *(1,) * (values.dim() - 2))

    def folded(self) -> nn.Module:
        """The layer with the masked channels' weights at zero; raises ModelError where that is not the same."""
        return without_channels(self.layer, self.keep)


def hold_at_zero(graph: Graph, layer: str, channels: NDArray[np.int64], *, of: int) -> None:
    """Hold some of a layer's output channels, `of` in all, at zero, for inference and for training."""
    keep = torch.ones(of)
    keep[torch.from_numpy(channels)] = 0
    graph.replace(layer, KeptChannels(graph.layers[layer], keep))


def pruning_curve(
    graph: Graph, validation: Validation, *, layer: str, accuracy_drop: float, scale: float, progress: Progress
) -> Removal:
    """Clean accuracy while the layer's output channels are removed, the least active on clean images first.

    The net runs once up to the layer; each removal then costs its remaining layers only. Raises ModelError for an
    unknown layer.
    """
    own, *others = graph.frontier(layer)
    known = activations(graph, validation, (own, *others), scale=scale, progress=progress)
    return removal(
        graph,
        known,
        graph.after(layer),
        lambda channel: known[own][:, channel].zero_(),
        of=f"channels of {layer}",
        order=by_activity(known[own]),
        labels=validation.labels,
        accuracy_drop=accuracy_drop,
        progress=progress,
    )
