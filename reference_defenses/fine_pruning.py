"""Fine-pruning: prune first, then train on clean images, so that what pruning left of a backdoor is overwritten."""

from dataclasses import dataclass

import numpy as np

from harness.models.contracts import BadNetView, Predictor, Progress, Validation
from harness.models.repaired import RepairedNet
from reference_defenses._nets import clean_accuracy, last_convolution, load_graph
from reference_defenses._removal import check_drop
from reference_defenses._training import Training
from reference_defenses.pruning import hold_at_zero, pruning_curve


@dataclass(frozen=True, kw_only=True)
class FinePruning:
    """Prunes the last convolution, then trains all layers on clean images; what was pruned stays pruned.

    Source: Liu, Dolan-Gavitt, Garg, "Fine-Pruning: Defending Against Backdooring Attacks on Deep Neural Networks",
    RAID 2018, arXiv:1805.12185, section 3.3.

    Differences from the paper: it trains until the accuracy settles, with the settings of the net's first training;
    here it is a fixed number of epochs with Adam.
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
        self._training()

    def _training(self) -> Training:
        return Training(epochs=self.epochs, learning_rate=self.learning_rate, batch_size=self.batch_size)

    def repair(
        self, badnet: BadNetView, validation: Validation, *, rng: np.random.Generator, progress: Progress
    ) -> Predictor:
        """Prune and train the BadNet; `rng` shuffles the images."""
        net = load_graph(badnet)
        layer = self.layer or last_convolution(net)
        curve = pruning_curve(
            net, validation, layer=layer, accuracy_drop=self.accuracy_drop, scale=badnet.scale, progress=progress
        )
        hold_at_zero(net, layer, curve.removed, of=len(curve.order))
        self._training().on_clean(net, badnet, validation, rng=rng, progress=progress, what="fine-tuning")
        after = clean_accuracy(net, validation, badnet.scale, progress)
        return RepairedNet(net, badnet, curve.findings(accuracy_after=after))
