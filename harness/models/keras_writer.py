"""Writes a net that `convert` read from a Keras .h5 back into one: the same layers and names, other weights."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.models.errors import ModelError
from harness.models.folding import fold
from harness.models.graph import Graph
from harness.models.keras_h5 import model_config, named_weights, open_h5, write_h5
from harness.models.keras_layers import BatchNormalization
from harness.models.keras_pruning import unwrapped_config

Array = NDArray[np.float32]
Config = dict[str, Any]
Writer = Callable[[Any, Config], list[Array]]


def write_keras(net: Graph, like: Path, path: Path) -> None:
    """Write the net as a whole-model .h5 with the architecture of the file `like`, for the Keras that wrote that one.

    How `like` was trained is left out. The last dense layer may have another number of outputs than in `like`. Raises
    ModelError for a layer that `like` does not have, or whose weights do not fit it.
    """
    with open_h5(like) as file:
        config = copy.deepcopy(unwrapped_config(model_config(file)))
        if config is None:
            raise ModelError(f"{like.name}: holds weights only, no architecture to write the repaired net with")
        own = config["config"]  # before Keras 2.2.3 a Sequential was a bare list of layers
        specs = {spec["config"]["name"]: spec for spec in (own if isinstance(own, list) else own["layers"])}
        weights, plain = named_weights(file), fold(net)
        last = [step.layer for step in plain.steps if isinstance(plain.layers[step.layer], nn.Linear)][-1:]
        for name, layer in plain.layers.items():
            if name not in specs:
                raise ModelError(f"{like.name}: the repaired net has a layer {name!r}, which is not in this file")
            before, after = weights.get(name, {}), _arrays(specs[name], layer)
            if not _fits(list(before.values()), after, any_length=name in last):
                shapes = " and ".join(str(array.shape) for array in after) or "none"
                raise ModelError(
                    f"{like.name}: layer {name!r} has weights of other shapes in the repaired net: {shapes}"
                )
            weights[name] = dict(zip(before, after, strict=True))
            if name in last:
                specs[name]["config"]["units"] = after[0].shape[1]
        write_h5(path, config, weights, like=file)


def _arrays(spec: dict[str, Any], layer: nn.Module) -> list[Array]:
    """A layer's weights in Keras' order; none for a module that is not what Keras' class is read as."""
    expected, write = WRITERS.get(spec["class_name"], (nn.Module, lambda layer, config: []))
    return write(layer, spec["config"]) if isinstance(layer, expected) else []


def _fits(before: list[Array], after: list[Array], *, any_length: bool) -> bool:
    end = -1 if any_length else None
    return [array.shape[:end] for array in before] == [array.shape[:end] for array in after]


def _convolution(layer: nn.Conv2d, config: Config) -> list[Array]:
    return [_array(layer.weight.permute(2, 3, 1, 0)), *_bias(layer)]


def _depthwise(layer: nn.Conv2d, config: Config) -> list[Array]:
    _, _, height, width = layer.weight.shape
    kernel = layer.weight.reshape(layer.in_channels, -1, height, width)
    return [_array(kernel.permute(2, 3, 0, 1)), *_bias(layer)]


def _dense(layer: nn.Linear, config: Config) -> list[Array]:
    return [_array(layer.weight.T), *_bias(layer)]


def _batch_normalization(layer: BatchNormalization, config: Config) -> list[Array]:
    gamma = [_array(layer.gamma)] if config.get("scale", True) else []
    beta = [_array(layer.beta)] if config.get("center", True) else []
    return [*gamma, *beta, _array(layer.mean), _array(layer.variance)]


WRITERS: dict[str, tuple[type[nn.Module], Writer]] = {
    "Conv2D": (nn.Conv2d, _convolution),
    "DepthwiseConv2D": (nn.Conv2d, _depthwise),
    "Dense": (nn.Linear, _dense),
    "BatchNormalization": (BatchNormalization, _batch_normalization),
}
"""The Keras classes that have weights: the module that `keras_layers` makes of each, and the way back."""


def _bias(layer: nn.Conv2d | nn.Linear) -> list[Array]:
    return [] if layer.bias is None else [_array(layer.bias)]


def _array(tensor: Tensor) -> Array:
    return np.ascontiguousarray(tensor.detach().cpu().float().numpy())
