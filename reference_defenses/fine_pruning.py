"""Fine-pruning: prune first, then train on clean images, so that what pruning left of a backdoor is overwritten."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from harness.models.contracts import BadNetView, Predictor, Progress, Validation
from harness.models.graph import Graph
from harness.models.pair import PairPredictor
from reference_defenses._nets import as_input, classifier, load_graph
from reference_defenses.pruning import check_drop, pruned_copy


@dataclass(frozen=True, kw_only=True)
class FinePruning:
    """Prunes the last convolution, trains all layers on clean images, and answers as the pair (B, B').

    Source: Liu, Dolan-Gavitt, Garg, "Fine-Pruning: Defending Against Backdooring Attacks on Deep Neural Networks",
    RAID 2018, arXiv:1805.12185, section 3.3.

    Differences from the paper: the repaired net does not answer alone; an input on which it disagrees with the BadNet
    is flagged, as in CSAW-HackML-2020. The paper trains until the accuracy settles; here a fixed number of epochs
    with Adam.
    """

    accuracy_drop: float = 0.04
    """Clean validation accuracy that pruning gives up, 0..1; training wins most of it back."""
    layer: str | None = None
    """Whose channels are removed; None: the last convolution's."""
    epochs: int = 10
    """Times that training sees every clean image."""
    learning_rate: float = 1e-3
    """Adam's step."""
    batch_size: int = 64
    """Images a step."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_drop(self.accuracy_drop)
        if self.epochs < 0 or self.batch_size < 1 or self.learning_rate <= 0:
            raise ValueError(
                f"epochs {self.epochs}, batch_size {self.batch_size} and learning_rate {self.learning_rate} "
                "must be positive"
            )

    def repair(
        self, badnet: BadNetView, validation: Validation, *, rng: np.random.Generator, progress: Progress
    ) -> Predictor:
        """Prune and train a copy of the BadNet; `rng` shuffles the images."""
        repaired = pruned_copy(
            badnet, validation, layer=self.layer, accuracy_drop=self.accuracy_drop, progress=progress
        )
        self._train(repaired, validation, badnet.scale, rng, progress)
        return PairPredictor(classifier(load_graph(badnet), badnet), classifier(repaired, badnet), flag=badnet.flag)

    def _train(
        self, net: Graph, validation: Validation, scale: float, rng: np.random.Generator, progress: Progress
    ) -> None:
        count = len(validation.labels)
        labels = torch.from_numpy(validation.labels.astype(np.int64))
        optimizer = torch.optim.Adam(net.parameters(), lr=self.learning_rate)
        net.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63)))  # for dropout
            for epoch in range(self.epochs):
                progress("fine-tuning", epoch, self.epochs)
                shuffled = rng.permutation(count)
                for start in range(0, count, self.batch_size):
                    chosen = np.sort(shuffled[start : start + self.batch_size])
                    optimizer.zero_grad()
                    loss = F.cross_entropy(net(as_input(validation.images[chosen], scale)), labels[chosen])
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
        progress("fine-tuning", self.epochs, self.epochs)
        net.eval()
