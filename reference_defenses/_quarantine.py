"""A filter for known targets: what a BadNet sends there is flagged, unless it resembles clean images of that class."""

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from harness.models.contracts import BadNetView, Images, Progress, Validation
from harness.models.findings import Findings
from harness.models.graph import INPUT, Graph
from reference_defenses._filters import Filter, State
from reference_defenses._nets import as_input, batches, load_graph, output_step

DOUBTED = 0.25
"""The share of a label's own clean validation images up to which they are flagged, those most like reverse-triggered
ones first; of fewer than four images the most alike, at least."""


class Quarantine(Filter):
    """The filter of Neural Cleanse in front of a BadNet.

    state: targets int64 (t,), all labels that are guarded, and for each the mean direction of the last hidden layer's
    activations on clean images of that class, `clean` (t, d), and on reverse-triggered images, `reversed` (t, d), of
    length 1, or 0 where there are none; and `bars` (t,): an image passes whose cosine with the first exceeds that with
    the second by more than this. Infinite where the BadNet gives no clean image of the class this answer, so that all
    that gets it is flagged.
    """

    def __init__(self, badnet: BadNetView, state: State, findings: Findings | None = None) -> None:
        super().__init__(badnet, state, findings)
        self._net = load_graph(badnet)
        self._targets, self._clean, self._reversed, self._bars = (
            torch.from_numpy(np.asarray(state[name])) for name in ("targets", "clean", "reversed", "bars")
        )

    @classmethod
    def fitted(
        cls, net: Graph, badnet: BadNetView, validation: Validation,
        labels: Sequence[int], stamped_for: Callable[[int], Images],
        findings: Findings, progress: Progress, *, certain: int, spare: float,
    ) -> Self:  # fmt: skip
        """Learn from clean images, and for each label in turn from images that carry its reversed trigger.

        stamped_for: makes these images (n, H, W, C) of a label. The first `certain` labels are guarded whatever it
        costs, the others as long as no more than a share `spare` of clean images, 0..1, would be flagged in all, by the
        first ones too; one that would cost more than is left, as it is the answer to many of them, is passed over. The
        findings say which, as `guarded`.
        """
        answers, hidden = _hidden(net, validation.images, badnet.scale, progress)
        right = answers.numpy() == validation.labels
        guarded: list[tuple[int, Tensor, Tensor, float]] = []
        flagged = 0.0
        for done, label in enumerate(labels):
            progress("learning which labels to guard", done, len(labels))
            own = hidden[torch.from_numpy((validation.labels == label) & right)]
            mean = _direction(own)
            given, activations = _hidden(net, stamped_for(label), badnet.scale)
            stamped = _direction(activations[given == label])
            bar = float((F.normalize(own, dim=1) @ (mean - stamped)).quantile(DOUBTED)) if len(own) else np.inf
            others = hidden[(answers == label) & torch.from_numpy(~right)]
            astray = F.normalize(others, dim=1) @ (mean - stamped) <= bar
            cost = int(_flagged_unseen(own, stamped).sum() + astray.sum()) / len(hidden)
            if len(guarded) >= certain and flagged + cost > spare:
                continue
            flagged += cost
            guarded.append((label, mean, stamped, bar))
        progress("learning which labels to guard", len(labels), len(labels))
        kept, clean, reversed_directions, bars = zip(*guarded, strict=True)
        state = {
            "targets": np.array(kept, np.int64),
            "clean": torch.stack(clean).numpy(),
            "reversed": torch.stack(reversed_directions).numpy(),
            "bars": np.array(bars, np.float32),
        }
        found = Findings(facts={**findings.facts, "guarded": sorted(kept)}, figures=findings.figures)
        return cls(badnet, state, found)

    def suspicious(self, images: Images) -> NDArray[np.bool_]:
        """Flag what gets a target and is not clearly nearer, by angle, to clean than to reverse-triggered images: (n,)."""
        answers, hidden = _hidden(self._net, images, self.badnet.scale)
        directions = F.normalize(hidden, dim=1)
        doubtful = directions @ (self._clean - self._reversed).T <= self._bars
        flagged: NDArray[np.bool_] = ((answers[:, None] == self._targets) & doubtful).any(1).numpy()
        return flagged


def _flagged_unseen(own: Tensor, stamped: Tensor) -> Tensor:
    """Which clean images of a label, by activations (n, d), would be flagged had they not been learned from: (n,).

    A few images define their own mean: images that were not among them lie farther from it, and more are flagged. So
    each is asked of what the others teach; one without others is flagged.
    """
    if len(own) < 2:
        return torch.ones(len(own), dtype=torch.bool)
    directions = F.normalize(own, dim=1)
    means = F.normalize(directions.sum(0) - directions, dim=1)
    nearer = directions @ (means - stamped).T
    bars = nearer.masked_fill(torch.eye(len(own), dtype=torch.bool), torch.nan).nanquantile(DOUBTED, dim=0)
    return nearer.diagonal() <= bars


def _direction(activations: Tensor) -> Tensor:
    """The mean direction of activations (n, d): (d,), of length 1; 0 where there are none."""
    if not len(activations):
        return torch.zeros(activations.shape[1])
    return F.normalize(F.normalize(activations, dim=1).mean(0), dim=0)


@torch.inference_mode()
def _hidden(
    net: Graph, images: Images, scale: float, progress: Progress = lambda what, done, total: None
) -> tuple[Tensor, Tensor]:
    """The answers (n,) and the activations that the layer of the logits is given (n, d)."""
    last = output_step(net)
    key, rest = last.inputs[0], (last, *net.after(last.layer))
    answers, hidden = [], []
    for part in batches(len(images)):
        x = as_input(images[part], scale)
        values = x if key == INPUT else net.values(x, (key,))[key]
        answers.append(net.resume({key: values}, rest).argmax(1))
        hidden.append(values.flatten(1))
        progress("activations", part.stop, len(images))
    return torch.cat(answers), torch.cat(hidden)
