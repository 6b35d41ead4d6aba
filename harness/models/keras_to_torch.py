"""Reads a Keras whole-model .h5 into torch without importing TensorFlow, so that defenses can look into its layers."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harness.models.errors import ModelError, in_one_line
from harness.models.graph import INPUT, Graph, Step
from harness.models.keras_h5 import is_keras_2, layer_weights, model_config, open_h5
from harness.models.keras_layers import BUILDERS, Softmax, UnsupportedError, activation
from harness.models.keras_legacy import as_keras_3
from harness.models.keras_pruning import unwrapped_config

Weights = dict[str, list[NDArray[np.float32]]]


def convert(path: Path, *, probabilities: bool = False) -> Graph:
    """The net of a Keras whole-model .h5 (Keras 2 or 3) as a `Graph`, in eval mode.

    The graph takes float (n, C, H, W), divided by the net's scale, and gives (n, outputs): logits, that is without a
    final softmax, unless `probabilities`. Layers keep their Keras names. Raises ModelError for a damaged file, a
    file of weights only, and a layer or setting that has no counterpart here.
    """
    if path.suffix not in (".h5", ".hdf5"):
        raise ModelError(f"{path.name}: only a Keras .h5 can be read into torch; save it with model.save('net.h5')")
    with open_h5(path) as file:
        config = model_config(file)
        if config is None:
            raise ModelError(
                f"{path.name}: holds weights only, no architecture; save the whole model with model.save(...)"
            )
        config = as_keras_3(unwrapped_config(config)) if is_keras_2(file) else config
        weights = layer_weights(file)
    try:
        specs = config["config"]["layers"]
        steps, output = _sequential(specs) if config["class_name"] == "Sequential" else _functional(config["config"])
        names = {step.layer for step in steps}
        layers = {s["config"]["name"]: _layer(s, weights, path) for s in specs if s["config"]["name"] in names}
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ModelError(f"{path.name}: its architecture cannot be understood ({in_one_line(error, 80)})") from error
    graph = Graph(layers, steps, output)
    if not probabilities:
        _strip_softmax(graph)
    _try_out(graph, specs[0], path)
    return graph.eval()


def _sequential(specs: list[dict[str, Any]]) -> tuple[list[Step], str]:
    steps: list[Step] = []
    key = INPUT
    for spec in specs:
        if spec["class_name"] != "InputLayer":
            name = spec["config"]["name"]
            steps.append(Step(f"{name}:0", name, (key,)))
            key = steps[-1].key
    return steps, key


def _functional(config: dict[str, Any]) -> tuple[list[Step], str]:
    inputs, outputs = _ends(config["input_layers"]), _ends(config["output_layers"])
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(f"the net has {len(inputs)} inputs and {len(outputs)} outputs; one of each is expected")
    # A layer that is called several times has several nodes; the file lists layers, not calls, in order.
    waiting = [
        Step(f"{spec['config']['name']}:{node}", spec["config"]["name"], tuple(_references(call)))
        for spec in config["layers"]
        for node, call in enumerate(spec["inbound_nodes"])
    ]
    known, steps = {inputs[0]}, []
    while ready := [step for step in waiting if known.issuperset(step.inputs)]:
        steps += ready
        known.update(step.key for step in ready)
        waiting = [step for step in waiting if step.key not in known]
    renamed = [step._replace(inputs=tuple(INPUT if key == inputs[0] else key for key in step.inputs)) for step in steps]
    if outputs[0] not in known:
        raise ModelError(f"the output {outputs[0]} does not depend on the input {inputs[0]}")
    return _only_needed(renamed, outputs[0]), outputs[0]


def _only_needed(steps: list[Step], output: str) -> list[Step]:
    needed, kept = {output}, []
    for step in reversed(steps):
        if step.key in needed:
            needed.update(step.inputs)
            kept.append(step)
    return kept[::-1]


def _ends(layers: list[Any]) -> list[str]:
    # [["output", 0, 0]] in Keras 2, ["output", 0, 0] for a single one in Keras 3
    ends = [layers] if layers and isinstance(layers[0], str) else layers
    return [f"{name}:{node}" for name, node, *_ in ends]


def _references(call: Any) -> list[str]:
    """The keys of the tensors that a call is made with, in order; Keras 2 lists them, Keras 3 nests them in "args"."""
    if isinstance(call, dict):
        if call.get("class_name") == "__keras_tensor__":
            name, node, _ = call["config"]["keras_history"]
            return [f"{name}:{node}"]
        return [key for value in call.values() for key in _references(value)]
    if isinstance(call, list):
        if len(call) in (3, 4) and isinstance(call[0], str) and isinstance(call[1], int):
            return [f"{call[0]}:{call[1]}", *(_references(call[3]) if len(call) == 4 else [])]
        return [key for value in call for key in _references(value)]
    return []


def _layer(spec: dict[str, Any], weights: Weights, path: Path) -> nn.Module:
    kind, config = spec["class_name"], spec["config"]
    name = config["name"]
    if kind not in BUILDERS:
        raise ModelError(
            f"{path.name}: layer {name!r} is a {kind}, which cannot be read into torch; known are {', '.join(BUILDERS)}"
        )
    try:
        return BUILDERS[kind](config, weights.get(name, []))
    except (UnsupportedError, KeyError, IndexError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{path.name}: layer {name!r} ({kind}) cannot be read into torch ({in_one_line(error, 120)})"
        ) from error


def _strip_softmax(graph: Graph) -> None:
    name = next(step.layer for step in graph.steps if step.key == graph.output_key)
    layer = graph.layers[name]
    if isinstance(layer, Softmax):
        graph.replace(name, nn.Identity())
    elif isinstance(getattr(layer, "activation", None), Softmax):
        layer.activation = activation("linear")


def _try_out(graph: Graph, first: dict[str, Any], path: Path) -> None:
    """Run one black image through, so that weights that do not fit are found at load time, not in the exam."""
    config = first["config"]
    shape = config.get("batch_input_shape") or config.get("batch_shape")
    if shape is None or len(shape) != 4 or None in shape[1:]:
        return
    try:
        with torch.inference_mode():
            graph.eval()(torch.zeros(1, shape[3], shape[1], shape[2]))
    except RuntimeError as error:
        raise ModelError(f"{path.name}: its layers do not fit together ({in_one_line(error, 150)})") from error
