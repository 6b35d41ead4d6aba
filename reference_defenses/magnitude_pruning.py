"""Magnitude pruning: small weights go while the net is trained on clean images, and with them perhaps the backdoor."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from harness.models.contracts import BadNetView, Predictor, Progress, Validation
from harness.models.findings import Findings
from harness.models.graph import Graph
from harness.models.repaired import RepairedNet
from reference_defenses._nets import clean_accuracy, load_graph
from reference_defenses._training import Training


@dataclass(frozen=True, kw_only=True)
class MagnitudePruning:
    """Trains on clean images while more and more of each layer's smallest weights are held at zero.

    Source: Zhu and Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2017,
    arXiv:1710.01878, section 3: the share of zeros after step t of n is s_f + (s_i - s_f) (1 - t / n)^3.

    Differences from the paper: it compresses nets that it trains for long, with a new mask every 100 steps or more, and
    trains on when the last is found; here a repair lasts 3 epochs, with a new mask at each step and the last one at the
    end. As a defense it was used by teams of CSAW-HackML-2020, whose 80 % and 3 epochs are the defaults.
    """

    sparsity: float = 0.8
    """The share of weights of each convolution and dense layer that are zero in the end, 0..1."""
    initial_sparsity: float = 0.0
    """The share before the first step, 0..1."""
    epochs: int = 3
    """Times that training sees every clean image."""
    learning_rate: float = 1e-3
    """Adam's step."""
    batch_size: int = 64
    """Images a step."""

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 <= self.initial_sparsity <= self.sparsity < 1:
            raise ValueError(
                f"initial_sparsity {self.initial_sparsity} and sparsity {self.sparsity} must be shares below 1, the "
                "first one not the larger"
            )
        if self.epochs < 1:
            raise ValueError(f"epochs {self.epochs} is less than 1; weights are removed while the net is trained")
        self._training()

    def _training(self) -> Training:
        return Training(epochs=self.epochs, learning_rate=self.learning_rate, batch_size=self.batch_size)

    def sparsity_after(self, share: float) -> float:
        """The share of zeros when a share of all steps, 0..1, is done."""
        return self.sparsity + (self.initial_sparsity - self.sparsity) * (1 - share) ** 3

    def repair(
        self, badnet: BadNetView, validation: Validation, *, rng: np.random.Generator, progress: Progress
    ) -> Predictor:
        """Train and prune the BadNet; `rng` shuffles the images."""
        net = load_graph(badnet)
        before = clean_accuracy(net, validation, badnet.scale, progress)
        training = self._training()
        training.on_clean(
            net, badnet, validation, rng=rng, progress=progress, what="training and pruning",
            after_step=self._pruner(net, training.steps(len(validation.labels))),
        )  # fmt: skip
        after = clean_accuracy(net, validation, badnet.scale, progress)
        kernels = [layer.weight for layer in _layers(net)]
        facts = {
            "accuracy_before": before,
            "accuracy_after": after,
            "weights": sum(kernel.numel() for kernel in kernels),
            "weights_removed": sum(int((kernel == 0).sum()) for kernel in kernels),
        }
        return RepairedNet(net, badnet, Findings(facts=facts))

    def _pruner(self, net: Graph, steps: int) -> Callable[[int], None]:
        layers = _layers(net)
        alive = [torch.ones(layer.weight.shape, dtype=torch.bool) for layer in layers]

        def prune(done: int) -> None:
            share = self.sparsity_after(done / steps)
            for layer, mask in zip(layers, alive, strict=True):
                kernel = layer.weight.detach()
                kernel.mul_(mask)  # what is gone stays gone, though training has moved it
                sizes = kernel.abs().flatten()
                mask.view(-1)[sizes.argsort(stable=True)[: round(share * len(sizes))]] = False
                kernel.mul_(mask)

        return prune


def _layers(net: Graph) -> list[nn.Conv2d | nn.Linear]:
    return [layer for layer in net.layers.values() if isinstance(layer, nn.Conv2d | nn.Linear)]
