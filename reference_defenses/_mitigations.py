"""What Neural Cleanse does once it has found targets: four ways, by name in `MITIGATIONS`."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.models.contracts import BadNetView, Images, Predictor, Progress, Validation
from harness.models.findings import Findings
from harness.models.repaired import RepairedNet
from reference_defenses._flagging import Flagging
from reference_defenses._label_scan import Scan
from reference_defenses._nets import accuracy, last_convolution, load_graph
from reference_defenses._quarantine import Quarantine
from reference_defenses._removal import activations, answers_from, mean_activity
from reference_defenses._training import Training
from reference_defenses.pruning import hold_at_zero

REACTS = 0.05
"""Of reverse-triggered images: below this share the net no longer reacts to the trigger."""
STAMPED = 500
"""Images that show what activations a reversed trigger brings about."""
STAMPED_SHARE = 0.2
"""Of the images that the paper unlearns on (section VI-C) carry a reversed trigger."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A BadNet, clean images, what the scan found, and how to train and prune."""

    badnet: BadNetView
    validation: Validation
    found: Scan
    findings: Findings
    flagging: Flagging
    unlearning: Training
    accuracy_drop: float
    accuracy_to_spare: float
    rng: np.random.Generator
    progress: Progress

    def stamped(self, images: Images) -> Images:
        """Images (n, H, W, C), each with the reversed trigger of a target drawn by chance."""
        return self.found.stamp(images, self.rng.choice(self.found.targets, len(images)))


def quarantine(case: Case) -> Predictor:
    """A filter in front of the BadNet: what gets a guarded label is flagged, unless it resembles clean images of it.

    Guarded are the targets and, as a net with one backdoor may well have more, the labels next in rank as far as
    `accuracy_to_spare` goes: to doubt one of many labels costs little.
    """
    chosen = case.rng.choice(len(case.validation.images), min(STAMPED, len(case.validation.images)), replace=False)
    images = case.validation.images[np.sort(chosen)]
    labels = [*case.found.targets, *(int(it) for it in case.found.finalists if it not in case.found.targets)]
    return Quarantine.fitted(
        load_graph(case.badnet), case.badnet, case.validation, labels,
        lambda label: case.found.stamp(images, np.full(len(images), label)), case.findings, case.progress,
        certain=len(case.found.targets), spare=case.accuracy_to_spare,
    )  # fmt: skip


def flag(case: Case) -> Predictor:
    """One more output, trained on reverse-triggered images; clean images keep the BadNet's own probabilities."""
    net = case.flagging.train(
        case.badnet, case.validation.images, case.stamped, what="training the flag", rng=case.rng,
        progress=case.progress,
    )  # fmt: skip
    return RepairedNet(net, case.badnet, case.findings)


def unlearn(case: Case) -> Predictor:
    """Trained on clean images under their labels, a fifth of them with a reversed trigger."""
    labels, net = torch.from_numpy(case.validation.labels.astype(np.int64)), load_graph(case.badnet)

    def draw(chosen: NDArray[np.int64]) -> tuple[Images, Tensor]:
        images = case.validation.images[chosen].copy()
        some = case.rng.random(len(images)) < STAMPED_SHARE
        images[some] = case.stamped(images[some])
        return images, labels[torch.from_numpy(chosen)]

    case.unlearning.run(
        net, draw, len(labels), scale=case.badnet.scale, rng=case.rng, progress=case.progress, what="unlearning"
    )
    return RepairedNet(net, case.badnet, case.findings)


def prune(case: Case) -> Predictor:
    """Channels of the last convolution go, those first that a reversed trigger wakes most.

    It ends once the net ignores the trigger, or `accuracy_drop` of clean validation accuracy is given up.
    """
    net = load_graph(case.badnet)
    layer = last_convolution(net)
    own, after, keys = net.key_of(layer), net.after(layer), net.frontier(layer)
    stamped = replace(case.validation, images=case.stamped(case.validation.images))
    woken, clean = (
        activations(net, images, keys, scale=case.badnet.scale, progress=case.progress)
        for images in (stamped, case.validation)
    )
    order = np.argsort(mean_activity(clean[own]) - mean_activity(woken[own]), kind="stable")
    before = reacts = 1.0
    for removed in range(len(order) + 1):
        if removed:
            for known in (woken, clean):
                known[own] = known[own].index_fill(1, torch.tensor(order[removed - 1]), 0)
        right = accuracy(answers_from(net, clean, after), case.validation.labels)
        before = before if removed else right
        reacts = float(np.isin(answers_from(net, woken, after), case.found.targets).mean())
        case.progress("pruning by reversed triggers", removed, len(order))
        if reacts < REACTS or before - right >= case.accuracy_drop:
            break
    hold_at_zero(net, layer, order[:removed], of=len(order))
    facts = {**case.findings.facts, "channels_removed": removed, "reacts": reacts}
    return RepairedNet(net, case.badnet, Findings(facts=facts, figures=case.findings.figures))


MITIGATIONS: dict[str, Callable[[Case], Predictor]] = {
    "quarantine": quarantine, "flag": flag, "prune": prune, "unlearn": unlearn,
}  # fmt: skip
