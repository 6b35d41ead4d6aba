"""What defenses that remove channels share: a ranking, and clean accuracy while one after the other goes."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.models.contracts import Progress, Validation
from harness.models.errors import ModelError
from harness.models.findings import Curve, Findings
from harness.models.graph import Graph, Step
from reference_defenses._nets import accuracy, as_input, batches

TAIL_BATCH = 2048
"""Cached activations that the rest of the net is run on at once."""
ROUNDING = 1e-9
"""A drop of 4 % of 100 images is 4 images, whatever binary fractions make of it."""


class Removal(NamedTuple):
    """Clean accuracy while channels are removed.

    of: what they are channels of. order: int64 (channels,), the first to go first. accuracies: 0..1, entry k with the
    first k removed, down to the last. stopped: how many of them the defense removes.
    """

    of: str
    order: NDArray[np.int64]
    accuracies: list[float]
    stopped: int

    @property
    def removed(self) -> NDArray[np.int64]:
        """The channels that the defense removes."""
        return self.order[: self.stopped]

    def findings(self, **facts: float) -> Findings:
        """How much was removed at what cost, more facts, and the curve as a figure."""
        figure = Curve(
            title=f"Clean accuracy while {self.of} are removed",
            values=np.array(self.accuracies, np.float32),
            x_label=f"{self.of} removed",
            y_label="clean validation accuracy",
            stopped=self.stopped,
        )
        found = {
            "channels_removed": self.stopped,
            "channels": len(self.order),
            "accuracy_before": self.accuracies[0],
            "accuracy_pruned": self.accuracies[self.stopped],
        }
        return Findings(facts=found | facts, figures={"pruning": figure})


def check_drop(accuracy_drop: float) -> None:
    """Raise ValueError unless the drop is a share of the images."""
    if not 0 < accuracy_drop <= 1:
        raise ValueError(f"accuracy_drop {accuracy_drop} is not within 0..1")


def by_activity(values: Tensor) -> NDArray[np.int64]:
    """The channels of activations (n, channels, ...), that with the lowest mean first: (channels,)."""
    return np.argsort(mean_activity(values), kind="stable")


def mean_activity(values: Tensor) -> NDArray[np.float32]:
    """The mean of each channel's activations (n, channels, ...): (channels,)."""
    mean: NDArray[np.float32] = values.transpose(0, 1).flatten(1).mean(1).numpy()
    return mean


@torch.inference_mode()
def answers_from(graph: Graph, known: dict[str, Tensor], steps: tuple[Step, ...]) -> NDArray[np.int64]:
    """The classes (n,) that `steps`, the rest of the net, make of activations of n images."""
    count = len(next(iter(known.values())))
    parts = ({key: values[part] for key, values in known.items()} for part in batches(count, TAIL_BATCH))
    return torch.cat([graph.resume(part, steps).argmax(1) for part in parts]).numpy()


@torch.inference_mode()
def activations(
    graph: Graph, validation: Validation, keys: Iterable[str], *, scale: float, progress: Progress
) -> dict[str, Tensor]:
    """The values of `keys` for the clean images; raises ModelError where there are none."""
    count = len(validation.labels)
    if not count:
        raise ModelError("there are no clean validation images to rank channels by", stage="repair")
    parts: dict[str, list[Tensor]] = {key: [] for key in keys}
    for part in batches(count):
        for key, value in graph.values(as_input(validation.images[part], scale), parts).items():
            parts[key].append(value)
        progress("activations on clean images", part.stop, count)
    return {key: torch.cat(values) for key, values in parts.items()}


@torch.inference_mode()
def removal(
    graph: Graph,
    known: dict[str, Tensor],
    steps: tuple[Step, ...],
    remove: Callable[[int], object],
    *,
    of: str,
    order: NDArray[np.int64],
    labels: NDArray[np.int64],
    accuracy_drop: float,
    progress: Progress,
) -> Removal:
    """Remove channels in `order` down to the last and watch the accuracy.

    known: activations of all images that `steps`, the rest of the net, begins with. remove: takes one channel out, of
    `known` or of a layer. Stops at the first accuracy that lies `accuracy_drop` or more below the whole net's, else
    at the last channel.
    """
    accuracies = []
    for done in range(len(order) + 1):
        if done:
            remove(int(order[done - 1]))
        accuracies.append(accuracy(answers_from(graph, known, steps), labels))
        progress(f"removing {of}", done, len(order))
    enough = (done for done, left in enumerate(accuracies) if accuracies[0] - left >= accuracy_drop - ROUNDING)
    return Removal(of, order, accuracies, next(enough, len(order)))
