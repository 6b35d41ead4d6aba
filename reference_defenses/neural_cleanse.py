"""Neural Cleanse: reverse a trigger for every label, take those that are too small for chance, and act on them."""

from dataclasses import dataclass

import numpy as np

from harness.models.contracts import BadNetView, Predictor, Progress, Validation
from harness.models.findings import ByLabel, Figure, Findings, ReversedTrigger
from harness.models.repaired import RepairedNet
from harness.wording import one_of
from reference_defenses._flagging import Flagging
from reference_defenses._label_scan import Scan, scan
from reference_defenses._mitigations import MITIGATIONS, Case
from reference_defenses._nets import load_graph
from reference_defenses._reversal import Scaled

PICTURED = 8
"""Reversed triggers that get a picture, the smallest first."""


@dataclass(frozen=True, kw_only=True)
class NeuralCleanse:
    """Finds the targets of a backdoor by the size of reversed triggers, and mitigates.

    Source: Wang, Yao, Shan, Li, Viswanath, Zheng, Zhao, "Neural Cleanse: Identifying and Mitigating Backdoor Attacks in
    Neural Networks", IEEE S&P 2019, doi:10.1109/SP.2019.00031.

    Differences from the paper: all labels are rows of one optimisation, and after each part of it the labels with the
    largest masks are left, so that 1,283 labels take minutes. Masks begin half opaque and shrink, and 95 % of images
    must reach the label rather than 99 %. A norm is divided by how readily the label answers noise (`_noise_response`)
    and how far it can be made to lead on coarse images (`_leads`), two more traces of a backdoor. Two median deviations
    would call dozens of 1,283 labels targets by chance: here the chance of any target on a clean net is set, by a
    normal Q-Q plot of the strongest labels; an answer to noise far beyond all others makes a target by itself, too; and
    each is confirmed on images that the trigger was not made on. `flag` trains an output N+1, as CSAW-HackML-2020 asks
    for; `quarantine` compares with clean images of the label, where the paper sets a threshold on activations, and also
    guards labels next in rank to the targets; `prune` removes channels of the last convolution, and stops where clean
    accuracy has fallen by `accuracy_drop`; a net in which nothing is found stays as it is.
    """

    mitigation: str = "quarantine"
    """quarantine: a filter at run time; flag: an output N+1; prune and unlearn: a net that never flags."""
    false_alarms: float = 0.05
    """The chance that a net without a backdoor gets a target at all, 0..1; `scan` says what of one that has."""
    least_success: float = 0.75
    """The share of held-out clean images that a target's reversed trigger must carry, 0..1."""
    first_epochs: int = 5
    """Of training the new output alone, for `flag`."""
    first_learning_rate: float = 1e-2
    """Adam's step for the new output alone."""
    epochs: int = 10
    """Of training the whole net then; for `unlearn` at once, which the paper does in one epoch."""
    learning_rate: float = 2e-4
    """Adam's step for the whole net. Both steps fall to nothing along a cosine."""
    batch_size: int = 32
    """Clean images a step of training."""
    accuracy_drop: float = 0.05
    """Clean validation accuracy: once as much is given up, `prune` stops, 0..1."""

    accuracy_to_spare: float = 0.02
    """The share of clean validation images that `quarantine` may flag, 0..1, to guard labels next in rank to the targets,
    which it guards whatever it costs."""

    def __post_init__(self) -> None:
        """Check the values."""
        if self.mitigation not in MITIGATIONS:
            raise ValueError(f"mitigation {self.mitigation!r}; {one_of(MITIGATIONS)}")
        for name in ("false_alarms", "least_success", "accuracy_drop", "accuracy_to_spare"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)} is not within 0..1")
        self._flagging()

    def repair(
        self, badnet: BadNetView, validation: Validation, *, rng: np.random.Generator, progress: Progress
    ) -> Predictor:
        """Scan all labels and mitigate; `rng` draws the images of each step. Raises ModelError."""
        found = scan(
            Scaled(load_graph(badnet), badnet.scale), validation.images, classes=badnet.classes, rng=rng,
            progress=progress, false_alarms=self.false_alarms, least_success=self.least_success,
        )  # fmt: skip
        if not found.targets:
            return RepairedNet(load_graph(badnet), badnet, findings_of(found))
        case = Case(
            badnet=badnet, validation=validation, found=found, findings=findings_of(found), flagging=self._flagging(),
            unlearning=self._flagging().then, accuracy_drop=self.accuracy_drop,
            accuracy_to_spare=self.accuracy_to_spare, rng=rng, progress=progress,
        )  # fmt: skip
        return MITIGATIONS[self.mitigation](case)

    def _flagging(self) -> Flagging:
        return Flagging.of(
            (self.first_epochs, self.first_learning_rate), (self.epochs, self.learning_rate), self.batch_size
        )


def findings_of(found: Scan) -> Findings:
    """Targets and norms by label as facts; the norms and the smallest triggers as figures."""
    norms = np.where(np.isfinite(found.norms), found.norms, np.nan)
    reached = dict(zip(found.finalists.tolist(), found.successes.tolist(), strict=True))
    weighted = (norms / found.weights).astype(np.float32)
    figures: dict[str, Figure] = {
        "norms": ByLabel(
            title="Sum of the smallest mask that sends any image to a label",
            values=norms.astype(np.float32),
            unit="L1 norm of the mask",
            marked=found.targets,
        ),
        "weighted-norms": ByLabel(
            title="Sum of the smallest mask over what speaks for a label besides: answers to noise, leads on coarse images",
            values=weighted,
            unit="sum of the mask / weight",
            threshold=found.threshold,
            marked=found.targets,
        ),
        "noise": ByLabel(
            title="How readily each label answers pictures of a few random colours",
            values=found.responses,
            unit="deviations from the median label",
            threshold=found.response_threshold if np.isfinite(found.response_threshold) else None,
            marked=found.targets,
        ),
    }
    for label in found.finalists[: max(1, min(PICTURED, len(found.targets)))]:
        place = int(np.flatnonzero(found.finalists == label)[0])
        figures[f"trigger-{label}"] = ReversedTrigger(
            target=int(label), mask=found.masks[place, ..., 0].numpy(), pattern=found.patterns[place].numpy(),
            success=reached[int(label)],
        )  # fmt: skip
    facts = {
        "targets": list(found.targets),
        "weighted_threshold": round(found.threshold, 2),
        "norms": [None if np.isnan(norm) else round(float(norm), 2) for norm in norms],
        "noise_responses": [round(float(response), 2) for response in found.responses],
        "noise_threshold": round(found.response_threshold, 2) if np.isfinite(found.response_threshold) else None,
        "weighted_norms": [None if np.isnan(norm) else round(float(norm), 2) for norm in weighted],
        "finalists": {str(label): round(share, 3) for label, share in reached.items()},
    }
    return Findings(facts=facts, figures=figures)
