"""GangSweep: a generator network draws a trigger for every label; those that come cheap are real, and are unlearned."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.models.contracts import BadNetView, Images, Progress, Validation
from harness.models.errors import ModelError
from harness.models.findings import ByLabel, Findings, ReversedTrigger
from harness.models.graph import Graph
from harness.models.repaired import RepairedNet
from reference_defenses._generator import LABELS_A_STEP, Generator, Sweep
from reference_defenses._nets import as_input, batches, load_graph, widen
from reference_defenses._training import Training

FEWEST = 20
"""Clean images; a fifth of them confirms what the generator drew."""
SWEEP_IMAGES, REFINE_IMAGES = 4, 32
"""For each label of a step."""
REFINE_PACE = 0.1
"""Of a label's own generator, beside the common one: at the full rates a step may close a mask, which no gradient opens again."""


@dataclass(frozen=True, kw_only=True)
class GangSweep:
    """Finds targets with a generator of triggers, and trains the net to flag what carries one.

    Source: Zhu, Ning, Wang, Xin, Wang, "GangSweep: Sweep out Neural Backdoors by GAN", ACM MM 2020,
    doi:10.1145/3394171.3413546.

    Differences from the paper: there a generator is trained for each label, which takes hours with 1,283. Here one
    network draws for all labels, told apart by a learned code each; labels whose trigger comes much cheaper than
    others' are outliers by a family-wise threshold, and each gets a generator of its own that starts from the common
    one. Its mask and pattern cannot depend on the image, as only what persists across images is a trigger; the paper
    measures that persistence afterwards, in the net's features. A trigger is confirmed by its success on clean images
    that no generator saw. The paper trains the net to give the true class to triggered images; here they are class
    N+1, and triggers are drawn again from the trained net, which else flags the first one and little beside it. A
    target whose trigger is large or faint may cost no less than other labels' and be missed, as may one of several
    triggers with the same target.
    """

    sweep_steps: int = 400
    """Steps of the common generator, at least; each draws for up to 32 labels."""
    visits: int = 48
    """Times that it draws for each label, at least."""
    refine_steps: int = 150
    """Steps of a candidate's own generator."""
    candidates: int = 8
    """Labels that get a generator of their own, at most."""
    error_rate: float = 0.05
    """Probability that any label of a clean net becomes a candidate, if costs are log-normal; above 0 and below 1."""
    success: float = 0.8
    """The share of clean images that a confirmed trigger sends to its label, 0..1."""
    rounds: int = 3
    """Times that a trigger is drawn against the net as it is by then, and the net is trained to flag all so far."""
    epochs: int = 15
    """Of that training, each time."""
    triggered_share: float = 0.2
    """Of a step's clean images, those that come along a second time with a trigger; above 0, at most 1."""
    learning_rate: float = 1e-3
    """Adam's first step in that training; it falls to nothing along a cosine."""
    batch_size: int = 64
    """Clean images a step."""

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("sweep_steps", "visits", "refine_steps", "candidates", "rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} is less than 1")
        if not 0 < self.error_rate < 1 or not 0 <= self.success <= 1:
            raise ValueError(f"error_rate {self.error_rate} and success {self.success} must lie within 0..1")
        if not 0 < self.triggered_share <= 1:
            raise ValueError(f"triggered_share {self.triggered_share} must be above 0 and at most 1")
        self._training()

    def _training(self) -> Training:
        return Training(epochs=self.epochs, learning_rate=self.learning_rate, batch_size=self.batch_size, cosine=True)

    def repair(
        self, badnet: BadNetView, validation: Validation, *, rng: np.random.Generator, progress: Progress
    ) -> RepairedNet:
        """Find triggers and train a copy of the BadNet to flag them; without a trigger the net stays as it is."""
        count = len(validation.labels)
        if count < FEWEST:
            raise ModelError(f"{count} clean validation images are too few; {FEWEST} are needed", stage="repair")
        order = rng.permutation(count)
        shown, held_out = (
            Validation(images=validation.images[chosen], labels=validation.labels[chosen])
            for chosen in (order[count // 5 :], order[: count // 5])
        )
        sweep = Sweep(load_graph(badnet), shown, scale=badnet.scale, rng=rng)
        shape = validation.images.shape[1:]
        labels = np.arange(badnet.classes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63)))
            generator = Generator((shape[0], shape[1], shape[2]), badnet.classes)
        steps = max(self.sweep_steps, self.visits * badnet.classes // LABELS_A_STEP)
        sweep.train(generator, labels, steps=steps, images=SWEEP_IMAGES, what="sweeping all labels", progress=progress)
        costs = sweep.costs(generator, labels, images=REFINE_IMAGES, progress=progress)
        threshold = cheap(costs, self.error_rate)
        candidates = [int(label) for label in np.argsort(costs) if costs[label] < threshold][: self.candidates]
        generators = {label: generator.only(label) for label in candidates}
        repaired, found = load_graph(badnet), list[ReversedTrigger]()
        for again in range(self.rounds):
            against = Sweep(repaired, shown, scale=badnet.scale, rng=rng)
            drawn = [
                self._refine(own, label, against, held_out, f"round {again + 1}, label {label}", progress)
                for label, own in generators.items()
            ]
            confirmed = [trigger for trigger in drawn if trigger.success >= self.success]
            if not confirmed:
                break
            generators = {trigger.target: generators[trigger.target] for trigger in confirmed}
            if not found:
                widen(repaired)
            found += confirmed
            self._teach(repaired.requires_grad_(True), found, validation, badnet, rng, progress)
        return RepairedNet(repaired, badnet, _findings(costs, threshold, candidates, found))

    def _refine(
        self, own: Generator, label: int, sweep: Sweep, held_out: Validation, what: str, progress: Progress
    ) -> ReversedTrigger:
        sweep.train(
            own, np.array([label]), steps=self.refine_steps, images=REFINE_IMAGES, what=what, progress=progress,
            pace=REFINE_PACE,
        )  # fmt: skip
        return _reversed(own, label, sweep.net, held_out, sweep.scale)

    def _teach(
        self,
        net: Graph,
        found: list[ReversedTrigger],
        validation: Validation,
        badnet: BadNetView,
        rng: np.random.Generator,
        progress: Progress,
    ) -> None:
        def draw(chosen: NDArray[np.int64]) -> tuple[Images, Tensor]:
            carriers = np.sort(rng.choice(chosen, math.ceil(len(chosen) * self.triggered_share), replace=False))
            which = rng.integers(len(found), size=len(carriers))
            triggered = [stamped(validation.images[one], found[it]) for one, it in zip(carriers, which, strict=True)]
            wanted = np.concatenate([validation.labels[chosen], np.full(len(carriers), badnet.flag)])
            return np.concatenate([validation.images[chosen], np.stack(triggered)]), torch.from_numpy(wanted)

        what = "learning to flag the triggers"
        count = len(validation.labels)
        self._training().run(net, draw, count, scale=badnet.scale, rng=rng, progress=progress, what=what)


def cheap(costs: NDArray[np.float64], error_rate: float) -> float:
    """The cost below which a label is an outlier: by median and MAD of the logarithms, with a family-wise error rate."""
    logs = np.log(costs)
    middle = float(np.median(logs))
    deviation = 1.4826 * float(np.median(np.abs(logs - middle)))
    return float(np.exp(middle + deviation * NormalDist().inv_cdf(error_rate / len(costs))))


def stamped(images: Images, trigger: ReversedTrigger) -> Images:
    """Images uint8 (..., H, W, C) with a reversed trigger."""
    mask = trigger.mask[..., None]
    return np.rint((1 - mask) * images + 255 * mask * trigger.pattern).astype(np.uint8)


def _reversed(own: Generator, label: int, net: Graph, held_out: Validation, scale: float) -> ReversedTrigger:
    with torch.inference_mode():
        mask, pattern = own(torch.zeros(1, dtype=torch.int64))
        trigger = ReversedTrigger(
            target=label, mask=mask[0, 0].numpy(), pattern=pattern[0].permute(1, 2, 0).numpy(), success=0
        )
        images = stamped(held_out.images[held_out.labels != label], trigger)
        sent = [int((net(as_input(images[part], scale)).argmax(1) == label).sum()) for part in batches(len(images))]
    return ReversedTrigger(
        target=label, mask=trigger.mask, pattern=trigger.pattern, success=sum(sent) / max(len(images), 1)
    )


def _findings(
    costs: NDArray[np.float64], threshold: float, candidates: list[int], found: list[ReversedTrigger]
) -> Findings:
    first = {trigger.target: trigger for trigger in reversed(found)}
    targets = sorted(first)
    facts = {
        "targets": targets,
        "candidates": candidates,
        "triggers_drawn": len(found),
        "threshold": threshold,
        "costs": [float(cost) for cost in costs],
    }
    figure = ByLabel(
        title="What each label's trigger costs", values=costs.astype(np.float32), unit="nats", threshold=threshold,
        marked=tuple(targets),
    )  # fmt: skip
    return Findings(facts=facts, figures={"costs": figure} | {f"trigger-{target}": first[target] for target in targets})
