"""What several defenses do with a net: read it into torch, find layers, add the flag's output, count right answers."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.models.any_model import is_torch
from harness.models.contracts import BadNetView, Images, Progress, Validation
from harness.models.errors import ModelError
from harness.models.graph import Graph, Step
from harness.models.keras_layers import Dense
from harness.models.keras_to_torch import convert
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


def last_convolution(graph: Graph) -> str:
    """The name of the last convolution in the order of computation; raises ModelError where there is none."""
    names = [step.layer for step in graph.steps if isinstance(graph.layers[step.layer], nn.Conv2d)]
    if not names:
        raise ModelError(f"the net has no convolution; state layer = one of {', '.join(graph.layers)}", stage="repair")
    return names[-1]


def output_step(graph: Graph) -> Step:
    """The step that gives the net's logits; what follows it, if anything, leaves them as they are."""
    made = {step.key: step for step in graph.steps}
    step = made[graph.output_key]
    while isinstance(graph.layers[step.layer], nn.Identity) and step.inputs[0] in made:  # where a softmax was
        step = made[step.inputs[0]]
    return step


def output_layer(graph: Graph) -> Dense:
    """The dense layer that gives the net's logits; raises ModelError where the net does not end in one."""
    step = output_step(graph)
    layer = graph.layers[step.layer]
    if not isinstance(layer, Dense):
        raise ModelError(
            f"the net ends in {step.layer!r}, a {type(layer).__name__}; only a dense layer can get one more output",
            stage="repair",
        )
    return layer


def widen(graph: Graph) -> None:
    """Give a net of N outputs one more, the flag's, which no input gets at first; in place.

    The new output is the mean of the others: as long as nothing is trained it is never the largest, and its
    probability is at most 1/N. Raises ModelError where the net does not end in a dense layer.
    """
    layer = output_layer(graph)
    for name, values in list(layer.named_parameters(recurse=False)):
        setattr(layer, name, nn.Parameter(torch.cat([values.detach(), values.detach().mean(0, keepdim=True)])))
    layer.out_features += 1


def as_input(images: Images, scale: float) -> Tensor:
    """Images uint8 (n, H, W, C) as the net takes them: float32 (n, C, H, W), divided by scale."""
    return (torch.from_numpy(np.ascontiguousarray(images)).to(torch.float32) / scale).permute(0, 3, 1, 2)


def batches(count: int, size: int = BATCH) -> Iterator[slice]:
    """The slices that cut `count` images into batches."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def answers(graph: Graph, images: Images, scale: float, progress: Progress) -> NDArray[np.int64]:
    """The classes that a net gives images uint8 (n, H, W, C): int64 (n,)."""
    given = np.zeros(len(images), np.int64)
    with torch.inference_mode():
        for part in batches(len(images)):
            given[part] = graph(as_input(images[part], scale)).argmax(1).numpy()
            progress("answering", part.stop, len(images))
    return given


def clean_accuracy(graph: Graph, validation: Validation, scale: float, progress: Progress) -> float:
    """The share of clean images that a net gets right, 0..1; raises ModelError where there are none."""
    if not len(validation.labels):
        raise ModelError("there are no clean validation images", stage="repair")
    return accuracy(answers(graph, validation.images, scale, progress), validation.labels)


def accuracy(predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """The share of right answers, 0..1."""
    return float(np.mean(predicted == labels))
