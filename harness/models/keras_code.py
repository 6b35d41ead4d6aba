"""Code in a Keras file: what a model names is looked up in the submission, what it holds runs only where allowed."""

import json
from pathlib import Path
from typing import Any

from harness.models.entries import load_entry
from harness.models.errors import ModelError
from harness.models.settings import ModelSettings
from harness.wording import harmless

DEEPEST = 100
"""Levels of a configuration; a model in a model takes four."""
LAMBDA, FUNCTION = "Lambda", "__lambda__"
HELD = {
    FUNCTION: "holds a lambda, which is code",
    "TorchModuleWrapper": "is a TorchModuleWrapper, which holds a pickle",
    "TFSMLayer": "is a TFSMLayer, which loads another model",
}
"""Classes that run what a file holds or names, and what they do."""
KEPT = ("name", "trainable", "dtype", "arguments", "batch_shape", "batch_input_shape")
"""What is kept of a Lambda's configuration beside its function; its shape is worked out by Keras."""


def parse_config(text: str | bytes) -> Any:
    """A configuration from its JSON; raises ValueError where it is none, or so deep that walking it would fail."""
    try:
        config = json.loads(text)
    except RecursionError:
        raise ValueError(f"nested deeper than {DEEPEST} levels") from None
    level = [config]
    for _ in range(DEEPEST):
        level = [inner for value in level for inner in _children(value)]
        if not level:
            return config
    raise ValueError(f"nested deeper than {DEEPEST} levels")


def custom_objects(settings: ModelSettings) -> dict[str, Any]:
    """The classes and functions that a file may name, by those names; raises ModelError."""
    return {name: load_entry(entry, settings.root) for name, entry in settings.custom_objects.items()}


def settle_code(config: Any, settings: ModelSettings, path: Path, layer: str = "") -> Any:
    """A configuration in which a Lambda that `custom_objects` names calls that function in place of its own code.

    How models in the model were trained is left out: it is not needed, and may name code. Raises ModelError for a layer
    that holds other code, unless `unsafe_pickle` allows it, and for one whose answers depend on the batches before.
    """
    if isinstance(config, list):
        return [settle_code(value, settings, path, layer) for value in config]
    if not isinstance(config, dict):
        return config
    kind, own = str(config.get("class_name")), config.get("config")
    if isinstance(own, dict):
        layer = str(own.get("name", layer))
        if kind == LAMBDA and layer in settings.custom_objects:
            config = {**config, "config": _calling(own, layer)}
        elif kind == LAMBDA and any(_is_code(value) for value in own.values()):
            fix = f'name its function, custom_objects = {{ "{harmless(layer, 60)}" = "layers.py:function" }}, or '
            _refuse_code(layer, "is a Lambda, which holds code", settings, path, fix)
        if own.get("stateful") is True:
            raise ModelError(
                f"{path.name}: layer {harmless(layer, 60)!r} keeps a state from batch to batch (stateful); save the model "
                "with stateful=False"
            )
    if kind in HELD:
        _refuse_code(layer, HELD[kind], settings, path)
    return {key: settle_code(value, settings, path, layer) for key, value in config.items() if key != "compile_config"}


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _is_code(value: Any) -> bool:
    """Whether a setting of a Lambda is code, as Keras 3 writes it, or as Keras 2 does: [code, defaults, closure]."""
    if isinstance(value, dict):
        return value.get("class_name") == FUNCTION
    return isinstance(value, list) and len(value) > 0 and isinstance(value[0], str)


def _calling(own: dict[str, Any], name: str) -> dict[str, Any]:
    """A Lambda's configuration with a function by its name."""
    named = {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}
    return {key: own[key] for key in KEPT if key in own} | {"function": named}


def _refuse_code(layer: str, what: str, settings: ModelSettings, path: Path, fix: str = "") -> None:
    if not settings.unsafe_pickle:
        raise ModelError(
            f"{path.name}: layer {harmless(layer, 60)!r} {what} and is not run; {fix}state unsafe_pickle = true"
        )
