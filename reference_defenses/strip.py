"""STRIP: a trigger decides whatever lies over it, so predictions that stay sure under blending give it away."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.models.contracts import BadNetView, Images, Progress, Validation
from harness.models.errors import ModelError
from harness.models.findings import Findings, Histogram
from harness.models.graph import INPUT, Graph
from harness.models.keras_layers import Convolution
from reference_defenses._filters import Filter, State
from reference_defenses._nets import as_input, load_graph

BLOCK = 10
"""Blends that the net is given at once, all of one image: no answer then depends on an image's neighbours."""
FEWEST = 20
"""Clean images beside the overlays; a normal distribution fitted to fewer is a guess."""


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Flags images whose predictions have a low mean entropy when they are blended with clean images.

    Source: Gao, Xu, Wang, Chen, Ranasinghe, Nepal, "STRIP: A Defence Against Trojan Attacks on Deep Neural Networks",
    ACSAC 2019, arXiv:1902.06531, sections 4 and 5. As there, a normal distribution is fitted to the clean images'
    entropies, and the threshold is its percentile at the false rejection rate.

    Differences from the paper: the overlays are drawn once and kept, not drawn anew for each image, so that an answer
    depends on the image alone. The weights of the two images add up to 1, and none of their sums is cut off. An image
    is decided before the last overlay where no clean image's mean entropy has moved by as much as would change the
    answer; the report says how many answers on held-out images that changes. `stop_early = false` blends with all.
    """

    overlays: int = 100
    """Clean images that each image is blended with."""
    false_rejection_rate: float = 0.05
    """Clean images that may be flagged, above 0 and below 0.5."""
    image_weight: float = 0.5
    """Of the image in a blend, above 0 and below 1; the overlay has the rest."""
    clean_images: int = 1000
    """Validation images beside the overlays that are looked at: half set the threshold, half measure what it flags."""
    stop_early: bool = True
    """Whether an image is decided as soon as further overlays are not expected to change its answer."""

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 < self.false_rejection_rate < 0.5:
            raise ValueError(f"false_rejection_rate {self.false_rejection_rate} is not between 0 and 0.5")
        if not 0 < self.image_weight < 1:
            raise ValueError(f"image_weight {self.image_weight} is not between 0 and 1")
        if self.overlays < 1 or self.clean_images < FEWEST:
            raise ValueError(
                f"overlays {self.overlays} must be at least 1 and clean_images {self.clean_images} at least {FEWEST}"
            )

    def repair(
        self, badnet: BadNetView, validation: Validation, *, rng: np.random.Generator, progress: Progress
    ) -> "StripFilter":
        """Set the threshold on clean images; `rng` draws the overlays, none of which is among them."""
        if len(validation.images) < self.overlays + FEWEST:
            raise ModelError(
                f"{len(validation.images)} validation images are too few for {self.overlays} overlays and {FEWEST} "
                "images to set the threshold by; state fewer overlays",
                stage="repair",
            )
        order = rng.permutation(len(validation.images))[: self.overlays + self.clean_images]
        overlays = validation.images[order[: self.overlays]]
        blends = Blends(load_graph(badnet), overlays, scale=badnet.scale, image_weight=self.image_weight)
        means = []
        for done, one in enumerate(order[self.overlays :]):
            progress("entropies of clean images", done, len(order) - self.overlays)
            means.append(list(blends.mean_entropies(validation.images[one])))
        progress("entropies of clean images", len(means), len(means))
        fitted, held_out = np.array(means[::2]), np.array(means[1::2])
        normal = NormalDist.from_samples(fitted[:, -1].tolist())
        threshold = normal.mean + normal.stdev * NormalDist().inv_cdf(self.false_rejection_rate)
        changes = np.abs(fitted[:, -1:] - fitted).max(0)
        if not self.stop_early:
            changes[:-1] = np.inf
        bounds = Bounds(threshold, changes)
        state: State = {
            "overlays": overlays, "image_weight": np.array(self.image_weight),
            "threshold": np.array(threshold), "changes": changes,
        }  # fmt: skip
        return StripFilter(badnet, state, _findings(fitted, held_out, bounds))


class Bounds(NamedTuple):
    """When an image's mean entropy, in bits, is decided: low means that it is flagged.

    changes: float64 (blocks,), by how much the mean may change from each block of overlays to the last one.
    """

    threshold: float
    changes: NDArray[np.float64]

    def decide(self, means: Iterable[float]) -> tuple[bool, int]:
        """Whether an image is flagged, and after how many blocks; means: after each block, worked out as needed."""
        blocks = 0
        for mean, change in zip(means, self.changes, strict=True):
            blocks += 1
            if mean + change < self.threshold:
                return True, blocks
            if mean - change >= self.threshold:
                break
        return False, blocks


class Blends:
    """A net's answers to blends of one image with each overlay.

    A first convolution is linear up to its activation, so it runs once for each overlay and once for the image.
    """

    def __init__(self, graph: Graph, overlays: Images, *, scale: float, image_weight: float) -> None:
        graph.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._scale, self._weight = scale, image_weight
        self._linear, self._rest = _split(graph)
        with torch.inference_mode():
            self._overlays = (self._linear(as_input(overlays, scale)) * (1 - image_weight)).split(BLOCK)

    @torch.inference_mode()
    def mean_entropies(self, image: Images) -> Iterator[float]:
        """The mean entropy in bits over the first overlays, after each block of them; image: uint8 (H, W, C)."""
        own = self._linear(as_input(image[None], self._scale)) * self._weight
        total, seen = 0.0, 0
        for block in self._overlays:
            probabilities = self._rest(own + block).softmax(1)
            total -= float(torch.xlogy(probabilities, probabilities).sum()) / math.log(2)
            seen += len(block)
            yield total / seen


class StripFilter(Filter):
    """STRIP: flags images whose predictions stay sure when they are blended with clean images."""

    def __init__(self, badnet: BadNetView, state: State, findings: Findings | None = None) -> None:
        super().__init__(badnet, state, findings)
        self._bounds = Bounds(float(state["threshold"]), state["changes"])
        self._blends = Blends(
            load_graph(badnet), state["overlays"], scale=badnet.scale, image_weight=float(state["image_weight"])
        )

    def suspicious(self, images: Images) -> NDArray[np.bool_]:
        """Which images keep their predictions under blending: (n,)."""
        return np.array([self._bounds.decide(self._blends.mean_entropies(image))[0] for image in images], np.bool_)


def _split(graph: Graph) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    first = graph.steps[0]
    layer = graph.layers[first.layer]
    alone = [step for step in graph.steps if INPUT in step.inputs or step.layer == first.layer] == [first]
    if not (alone and isinstance(layer, Convolution)):
        return nn.Identity(), graph
    linear = copy.deepcopy(layer)
    linear.activation = nn.Identity()
    return linear, lambda values: graph.resume({first.key: layer.activation(values)}, graph.after(first.layer))


def _findings(fitted: NDArray[np.float64], held_out: NDArray[np.float64], bounds: Bounds) -> Findings:
    decided = [bounds.decide(means) for means in held_out]
    early, blocks = np.array([flag for flag, _ in decided]), np.array([count for _, count in decided])
    facts = {
        "threshold": bounds.threshold,
        "false_rejection_rate": float(early.mean()),
        "held_out_images": len(held_out),
        "changed_by_stopping_early": int((early != (held_out[:, -1] < bounds.threshold)).sum()),
        "share_of_overlays_used": float(blocks.mean() / held_out.shape[1]),
    }
    values = np.concatenate([fitted, held_out])[:, -1].astype(np.float32)
    title = "Mean entropy of clean images under blending"
    figure = Histogram(title=title, values=values, x_label="mean entropy, bits", threshold=bounds.threshold)
    return Findings(facts=facts, figures={"entropies": figure})
