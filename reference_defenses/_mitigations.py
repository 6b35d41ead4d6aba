"""What Neural Cleanse does once it has found targets: four ways, by name in `MITIGATIONS`."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.models.contracts import BadNetView, Images, Predictor, Progress, Validation
from harness.models.findings import Findings
from harness.models.graph import Graph
from harness.models.repaired import RepairedNet
from reference_defenses._flagging import Flagging
from reference_defenses._label_scan import Scan
from reference_defenses._nets import accuracy, answers, as_input, last_convolution, load_graph
from reference_defenses._quarantine import Quarantine
from reference_defenses._training import Training

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
    reversed_ones = {label: case.found.stamp(images, np.full(len(images), label)) for label in labels}
    return Quarantine.fitted(
        load_graph(case.badnet), case.badnet, case.validation, reversed_ones, case.findings, case.progress,
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
    """Channels of the last convolution go, those first that a reversed trigger wakes most, until the net ignores it."""
    net, images = load_graph(case.badnet), case.validation.images
    layer = last_convolution(net)
    stamped, key = case.stamped(images), net.key_of(layer)
    order = np.argsort(-(_mean(net, stamped, key, case) - _mean(net, images, key, case)), kind="stable")
    convolution = net.layers[layer]
    assert isinstance(convolution, torch.nn.Conv2d)
    targets, before, removed = np.array(case.found.targets), None, 0
    for channel in (None, *order):
        if channel is not None:
            with torch.no_grad():
                convolution.weight[int(channel)] = 0
                if convolution.bias is not None:
                    convolution.bias[int(channel)] = 0
            removed += 1
        right = accuracy(answers(net, images, case.badnet.scale, _quiet), case.validation.labels)
        before = right if before is None else before
        reacts = np.isin(answers(net, stamped, case.badnet.scale, _quiet), targets).mean()
        case.progress("pruning by reversed triggers", removed, len(order))
        if reacts < REACTS or before - right >= case.accuracy_drop:
            break
    facts = {**case.findings.facts, "channels_removed": removed, "reacts": float(reacts)}
    return RepairedNet(net, case.badnet, Findings(facts=facts, figures=case.findings.figures))


MITIGATIONS: dict[str, Callable[[Case], Predictor]] = {
    "quarantine": quarantine, "flag": flag, "prune": prune, "unlearn": unlearn,
}  # fmt: skip


def _mean(net: Graph, images: Images, key: str, case: Case) -> NDArray[np.float32]:
    total = torch.zeros(0)
    with torch.inference_mode():
        for start in range(0, len(images), 64):
            value = net.values(as_input(images[start : start + 64], case.badnet.scale), (key,))[key].sum((0, 2, 3))
            total = total + value if len(total) else value
    mean: NDArray[np.float32] = (total / len(images)).numpy()
    return mean


def _quiet(what: str, done: int, total: int) -> None:
    """Parts of a loop that tells its own progress."""
