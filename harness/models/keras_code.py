"""Code in a Keras file: what a model names is looked up in the submission, what it holds runs only where allowed."""

from pathlib import Path
from typing import Any

from harness.models.entries import load_entry
from harness.models.errors import ModelError
from harness.models.settings import ModelSettings


def custom_objects(settings: ModelSettings) -> dict[str, Any]:
    """The classes and functions that a file may name, by those names; raises ModelError."""
    return {name: load_entry(entry, settings.root) for name, entry in settings.custom_objects.items()}


def settle_code(config: Any, settings: ModelSettings, path: Path, layer: str = "") -> Any:
    """A configuration in which a Lambda that `custom_objects` names calls that function in place of its own code.

    Raises ModelError for a layer that holds other code, unless `unsafe_pickle` allows it.
    """
    if isinstance(config, list):
        return [settle_code(value, settings, path, layer) for value in config]
    if not isinstance(config, dict):
        return config
    kind, own = config.get("class_name"), config.get("config")
    if isinstance(own, dict):
        layer = str(own.get("name", layer))
        if kind == "Lambda" and layer in settings.custom_objects:
            config = {**config, "config": _calling(own, layer)}
        elif kind == "__lambda__" or (kind == "Lambda" and isinstance(own.get("function"), list)):
            _refuse_code(layer, settings, path)
    return {key: settle_code(value, settings, path, layer) for key, value in config.items()}


def _calling(own: dict[str, Any], name: str) -> dict[str, Any]:
    """A Lambda's configuration with a function by its name; its shape is then worked out by Keras."""
    named = {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}
    return {key: value for key, value in own.items() if key != "output_shape"} | {"function": named}


def _refuse_code(layer: str, settings: ModelSettings, path: Path) -> None:
    if not settings.unsafe_pickle:
        raise ModelError(
            f"{path.name}: layer {layer!r} is a Lambda, which holds code and is not run; name its function, "
            f'custom_objects = {{ "{layer}" = "layers.py:function" }}, or state unsafe_pickle = true'
        )
