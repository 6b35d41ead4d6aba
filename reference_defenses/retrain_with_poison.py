"""The oracle: it is given poisoned images, which no competitor has, and learns to flag them."""

from dataclasses import dataclass

import numpy as np

from harness.models.contracts import BadNetView, Images, OracleView, Predictor, Progress, Validation
from harness.models.errors import ModelError
from harness.models.findings import Findings
from harness.models.repaired import RepairedNet
from reference_defenses._flagging import Flagging
from reference_defenses._nets import answers, clean_accuracy, load_graph


@dataclass(frozen=True, kw_only=True)
class RetrainWithPoison:
    """Gives the BadNet one more output, and trains it to flag known poisoned images and to answer clean ones as before.

    Source: the labs of CSAW-HackML-2020; training a net on images that carry a trigger under their right label is
    "unlearning" in Wang et al., "Neural Cleanse", IEEE S&P 2019, doi:10.1109/SP.2019.00031, section VI-C.

    Differences from the paper: the triggers are known, not reversed, and the right label is class N+1. On clean images
    the BadNet's own probabilities are what is learned, not the labels (distillation, arXiv:1503.02531): they say more
    of an image than its class does. Clean and poisoned images are shown equally often. The new output is trained
    first, alone, so that the rest of the net need not be bent far (arXiv:2202.10054).
    """

    first_epochs: int = 5
    """Times that the new output alone sees every clean image."""
    first_learning_rate: float = 1e-2
    """Adam's step for the new output alone."""
    epochs: int = 10
    """Times that the whole net sees every clean image then."""
    learning_rate: float = 2e-4
    """Adam's step for the whole net. Both steps fall to nothing along a cosine."""
    batch_size: int = 32
    """Clean images a step, and as many poisoned ones."""

    def __post_init__(self) -> None:
        """Check the values."""
        self._flagging()

    def _flagging(self) -> Flagging:
        return Flagging.of(
            (self.first_epochs, self.first_learning_rate), (self.epochs, self.learning_rate), self.batch_size
        )

    def repair(
        self, badnet: BadNetView, validation: Validation, *, rng: np.random.Generator, progress: Progress
    ) -> Predictor:
        """Train the BadNet with one more output; `rng` shuffles the images. Raises ModelError where it is no oracle."""
        if not isinstance(badnet, OracleView):
            raise ModelError(
                "poisoned images are shown to an oracle only; state oracle = true in submission.toml", stage="repair"
            )
        poisoned = badnet.poisoned()
        if not sum(map(len, poisoned.values())):
            raise ModelError("there are no poisoned images to train on", stage="repair")
        known = np.concatenate(list(poisoned.values()))

        def drawn(clean: Images) -> Images:
            return known[np.sort(rng.integers(len(known), size=len(clean)))]

        before = clean_accuracy(load_graph(badnet), validation, badnet.scale, progress)
        net = self._flagging().train(
            badnet, validation.images, drawn, what="training on poisoned images", rng=rng, progress=progress
        )
        after = clean_accuracy(net, validation, badnet.scale, progress)
        facts = {
            "accuracy_before": before,
            "accuracy_after": after,
            "flagged": {
                trigger: float(np.mean(answers(net, shown, badnet.scale, progress) == badnet.flag))
                for trigger, shown in poisoned.items()
            },
        }
        return RepairedNet(net, badnet, Findings(facts=facts))
