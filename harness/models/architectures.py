"""Architectures that model files may name, so that files of weights alone can be read: one entry in `NAMED` each."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.models.entries import call_with_outputs, entry_file, load_entry
from harness.models.errors import ModelError
from harness.wording import did_you_mean

if TYPE_CHECKING:
    from torch import nn

    from harness.models.graph import Graph


class Architecture(NamedTuple):
    """One architecture for both libraries; each builder takes the number of outputs and imports its library itself."""

    torch: Callable[[int], "nn.Module"]
    keras: Callable[[int], Any]


def deepid_torch(outputs: int) -> "Graph":
    """DeepID for 55x47 RGB faces: float (n, 3, 55, 47) in, logits (n, outputs) out; random weights.

    Source: Sun, Wang, Tang, CVPR 2014, doi:10.1109/CVPR.2014.244, as CSAW-HackML-2020 used it: the two dense layers
    are added, not joined.
    """
    from harness.models.graph import INPUT, Flatten, Graph, Step, Sum
    from harness.models.keras_layers import Convolution, Dense, Pooling, activation

    layers: dict[str, nn.Module] = {}
    steps: list[Step] = []

    def add(name: str, layer: "nn.Module", *inputs: str) -> str:
        layers[name] = layer
        steps.append(Step(f"{name}:0", name, inputs))
        return steps[-1].key

    x = INPUT
    for number, (channels, filters, size) in enumerate(((3, 20, 4), (20, 40, 3), (40, 60, 3)), start=1):
        x = add(f"conv_{number}", Convolution(channels, filters, size, activated="relu"), x)
        x = add(f"pool_{number}", Pooling(maximum=True), x)
    y = add("conv_4", Convolution(60, 80, 2, activated="relu"), x)
    fc_1 = add("fc_1", Dense(5 * 4 * 60, 160), add("flatten_1", Flatten(), x))
    fc_2 = add("fc_2", Dense(4 * 3 * 80, 160), add("flatten_2", Flatten(), y))
    joined = add("activation_1", activation("relu"), add("add_1", Sum(), fc_1, fc_2))
    output = add("output", Dense(160, outputs), joined)
    return Graph(layers, steps, output)


def deepid_keras(outputs: int) -> Any:
    """The same net in Keras: (n, 55, 47, 3) in, probabilities (n, outputs) out; random weights."""
    from harness.models.quiet import import_keras

    layers = import_keras().layers
    image = x = layers.Input((55, 47, 3), name="input")
    for number, (filters, size) in enumerate(((20, 4), (40, 3), (60, 3)), start=1):
        x = layers.Conv2D(filters, size, activation="relu", name=f"conv_{number}")(x)
        x = layers.MaxPooling2D(2, name=f"pool_{number}")(x)
    y = layers.Conv2D(80, 2, activation="relu", name="conv_4")(x)
    fc_1 = layers.Dense(160, name="fc_1")(layers.Flatten(name="flatten_1")(x))
    fc_2 = layers.Dense(160, name="fc_2")(layers.Flatten(name="flatten_2")(y))
    joined = layers.Activation("relu", name="activation_1")(layers.Add(name="add_1")([fc_1, fc_2]))
    output = layers.Dense(outputs, activation="softmax", name="output")(joined)
    return import_keras().Model(image, output)


NAMED = {"deepid": Architecture(torch=deepid_torch, keras=deepid_keras)}


MOST_OUTPUTS = 2**16
"""A net is never built for more, whatever its weights claim."""


def likely_outputs(lengths: Sequence[int], classes: int) -> int:
    """How many outputs weights are for, by the lengths of the layers' outputs in order: the last that is N or N+1.

    Where there is none, the last one that is possible, at most `MOST_OUTPUTS`, so that its mistake can be told.
    """
    fitting = [length for length in lengths if length in (classes, classes + 1)]
    possible = [length for length in lengths if 0 < length <= MOST_OUTPUTS]
    return (fitting or possible or [classes])[-1]


def build_torch(architecture: str, *, outputs: int, root: Path | None) -> "nn.Module":
    """A torch net by a name in `NAMED`, or by "model.py:Net" in the submission folder `root`; raises ModelError."""
    from torch import nn

    net = _build(architecture, "torch", outputs=outputs, root=root)
    if not isinstance(net, nn.Module):
        raise ModelError(f"{architecture}: gives a {type(net).__name__}, not a torch.nn.Module", stage="construct")
    return net


def build_keras(architecture: str, *, outputs: int, root: Path | None) -> Any:
    """A Keras net by a name in `NAMED`, or by "net.py:build" in the submission folder `root`; raises ModelError."""
    net = _build(architecture, "keras", outputs=outputs, root=root)
    if not hasattr(net, "load_weights"):
        raise ModelError(f"{architecture}: gives a {type(net).__name__}, not a Keras model", stage="construct")
    return net


def _build(architecture: str, library: str, *, outputs: int, root: Path | None) -> Any:
    if ":" in architecture or entry_file(architecture):
        return call_with_outputs(load_entry(architecture, root), outputs, architecture)
    if architecture not in NAMED:
        raise ModelError(
            f'no architecture {architecture!r}; {did_you_mean(architecture, NAMED)} (code is named "net.py:build")'
        )
    return getattr(NAMED[architecture], library)(outputs)
