"""What several defenses do with a net: read it into torch, find its last convolution, count its right answers."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.models.any_model import is_torch
from harness.models.contracts import BadNetView, Images
from harness.models.errors import ModelError
from harness.models.graph import Graph
from harness.models.keras_to_torch import convert
from harness.models.settings import ModelSettings
from harness.models.torch_classifier import TorchClassifier
from harness.models.torch_files import load_torch

BATCH = 64
"""Images at a time: more fall out of the processor's cache."""


def load_graph(badnet: BadNetView) -> Graph:
    """The BadNet with its layers by name, giving logits: a Keras .h5, or torch weights of DeepID. Raises ModelError."""
    if not is_torch(badnet.model_path):
        return convert(badnet.model_path)
    net = load_torch(badnet.model_path, architecture="deepid", root=None, classes=badnet.classes)
    if not isinstance(net, Graph):
        raise ModelError(f"{badnet.model_path.name}: its layers cannot be found by name", stage="repair")
    return net


def classifier(net: nn.Module, badnet: BadNetView) -> TorchClassifier:
    """The net as a predictor with the BadNet's own scale."""
    settings = ModelSettings(classes=badnet.classes, scale=badnet.scale)
    return TorchClassifier(net, settings, name=badnet.name)


def last_convolution(graph: Graph) -> str:
    """The name of the last convolution in the order of computation; raises ModelError where there is none."""
    names = [step.layer for step in graph.steps if isinstance(graph.layers[step.layer], nn.Conv2d)]
    if not names:
        raise ModelError(f"the net has no convolution; state layer = one of {', '.join(graph.layers)}", stage="repair")
    return names[-1]


def as_input(images: Images, scale: float) -> Tensor:
    """Images uint8 (n, H, W, C) as the net takes them: float32 (n, C, H, W), divided by scale."""
    return (torch.from_numpy(np.ascontiguousarray(images)).to(torch.float32) / scale).permute(0, 3, 1, 2)


def batches(count: int, size: int = BATCH) -> Iterator[slice]:
    """The slices that cut `count` images into batches."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def accuracy(predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """The share of right answers, 0..1."""
    return float(np.mean(predicted == labels))
