"""Fine-tuning: train all layers on clean images, in the hope that the net forgets what they do not need."""

from dataclasses import dataclass

import numpy as np

from harness.models.contracts import BadNetView, Predictor, Progress, Validation
from harness.models.findings import Findings
from harness.models.repaired import RepairedNet
from reference_defenses._nets import clean_accuracy, load_graph
from reference_defenses._training import Training


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """Trains all layers of the BadNet on clean images.

    Source: Liu, Dolan-Gavitt, Garg, "Fine-Pruning: Defending Against Backdooring Attacks on Deep Neural Networks",
    RAID 2018, arXiv:1805.12185, section 3.3, where it is what fine-pruning is compared with.

    Differences from the paper: it trains until the accuracy settles, with the settings of the net's first training;
    here it is a fixed number of epochs with Adam.
    """

    epochs: int = 10
    """Times that training sees every clean image."""
    learning_rate: float = 1e-3
    """Adam's step."""
    batch_size: int = 64
    """Images a step."""

    def __post_init__(self) -> None:
        """Check the values."""
        self._training()

    def _training(self) -> Training:
        return Training(epochs=self.epochs, learning_rate=self.learning_rate, batch_size=self.batch_size)

    def repair(
        self, badnet: BadNetView, validation: Validation, *, rng: np.random.Generator, progress: Progress
    ) -> Predictor:
        """Train the BadNet; `rng` shuffles the images."""
        net = load_graph(badnet)
        before = clean_accuracy(net, validation, badnet.scale, progress)
        self._training().on_clean(net, badnet, validation, rng=rng, progress=progress, what="fine-tuning")
        after = clean_accuracy(net, validation, badnet.scale, progress)
        return RepairedNet(net, badnet, Findings(facts={"accuracy_before": before, "accuracy_after": after}))
