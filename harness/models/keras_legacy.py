"""Says what Keras 2 wrote of a model in Keras 3's words, where Keras 3 refuses it or, worse, takes it for another."""

from collections.abc import Iterator
from typing import Any

NEUTRAL: dict[str, dict[str, Any]] = {
    "DepthwiseConv2D": {"groups": 1},
    "SeparableConv2D": {"groups": 1},
    "SeparableConv1D": {"groups": 1},
    "Conv2DTranspose": {"groups": 1},
    "LSTM": {"time_major": False},
    "GRU": {"time_major": False},
}
"""Settings that Keras 3 refuses, at the value which changes nothing."""
TRAINING: dict[str, tuple[str, ...]] = {
    "SeparableConv2D": ("kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "SeparableConv1D": ("kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "SpatialDropout2D": ("noise_shape", "trainable"),
    "RandomFlip": ("rng_type",),
    "RandomRotation": ("rng_type",),
    "RandomZoom": ("rng_type",),
    "RandomTranslation": ("rng_type",),
}
"""Settings that Keras 3 refuses and that matter in training only."""
HARD_SIGMOID = "hard_sigmoid_of_keras_2"
"""The name for Keras 2's hard sigmoid: Keras 3 has another function of the same name."""
ACTIVATIONS = ("activation", "recurrent_activation")
FUNCTIONAL = (".engine.functional", "keras.src.models.functional")
"""How the module of functional models ends in Keras 2's .keras, and what it is now."""


def as_keras_3(config: Any) -> Any:
    """The configuration of a Keras 2 model, changed where Keras 3 would not read it or not read it alike."""
    if isinstance(config, list):
        return [as_keras_3(value) for value in config]
    if not isinstance(config, dict):
        return config
    if str(config.get("module")).endswith(FUNCTIONAL[0]):
        config = {**config, "module": FUNCTIONAL[1]}
    kind, own = config.get("class_name"), config.get("config")
    if kind == "Sequential" and isinstance(own, list):  # before Keras 2.2.3 it was a bare list of layers
        own = {"name": "sequential", "layers": own}
    if isinstance(own, dict):
        neutral, training = NEUTRAL.get(str(kind), {}), TRAINING.get(str(kind), ())
        own = {key: own[key] for key in own if key not in training and (key not in neutral or own[key] != neutral[key])}
        own |= {key: HARD_SIGMOID for key in ACTIVATIONS if own.get(key) == "hard_sigmoid"}
        config = {**config, "config": _calls_from_zero(own)}
    return {key: as_keras_3(value) for key, value in config.items()}


def keras_2_objects() -> dict[str, Any]:
    """The functions that `as_keras_3` names; imports TensorFlow."""
    from harness.models.quiet import import_keras

    ops = import_keras().ops
    return {HARD_SIGMOID: lambda x: ops.clip(0.2 * x + 0.5, 0.0, 1.0)}


def _calls_from_zero(own: dict[str, Any]) -> dict[str, Any]:
    """Count the calls of a Sequential in a larger model from 0: in Keras 2 its own input was the first one."""
    layers = own.get("layers")
    if not isinstance(layers, list):
        return own
    names = {layer.get("name") for layer in layers if layer.get("class_name") == "Sequential"}
    places = [own.get("output_layers"), *(layer.get("inbound_nodes") for layer in layers)]
    shifted = {name for name in names if min((c[1] for p in places for c in _calls(p) if c[0] == name), default=0) > 0}
    if not shifted:
        return own

    def shift(value: Any) -> Any:
        if isinstance(value, list):
            return [value[0], value[1] - 1, *value[2:]] if _is_call(value, shifted) else [shift(v) for v in value]
        return {key: shift(v) for key, v in value.items()} if isinstance(value, dict) else value

    moved = [{**layer, "inbound_nodes": shift(layer.get("inbound_nodes"))} for layer in layers]
    return {**own, "layers": moved, "output_layers": shift(own.get("output_layers"))}


def _calls(value: Any) -> Iterator[list[Any]]:
    """The [layer, call, tensor, ...] below a value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        if _is_call(value):
            yield value
        for inner in value:
            yield from _calls(inner)


def _is_call(value: list[Any], names: set[Any] | None = None) -> bool:
    found = len(value) >= 3 and isinstance(value[0], str) and all(isinstance(number, int) for number in value[1:3])
    return found and (names is None or value[0] in names)
