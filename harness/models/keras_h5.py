"""What stands in a Keras .h5 file, read by h5py alone: the architecture as JSON, and each layer's weights in order."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from harness.models.errors import ModelError, in_one_line
from harness.models.h5_safety import check_h5
from harness.models.keras_code import parse_config
from harness.models.keras_pruning import is_wrapped, unwrapped_weights

NamedWeights = dict[str, dict[str, NDArray[np.float32]]]
"""The weights of every layer by the layer's name, by their own names in Keras' order."""


@contextmanager
def open_h5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file that passes `check_h5`; raises ModelError, also while it is being read, where it is damaged."""
    if not path.is_file():
        raise ModelError(f"{path.name}: no such file; check the path in submission.toml")
    try:
        with h5py.File(path, "r") as file:
            check_h5(file, name=path.name, size=path.stat().st_size)
            yield file
    except OSError as error:
        raise ModelError(
            f"{path.name}: not an HDF5 file, or cut short ({path.stat().st_size} bytes); "
            f"save it again with model.save(...) and copy it whole ({in_one_line(error, 100)})"
        ) from error


def model_config(file: h5py.File) -> dict[str, Any] | None:
    """The architecture of a whole model as it was saved, None for a file of weights only; raises ModelError if damaged."""
    if "model_config" not in file.attrs:
        return None
    try:
        config = parse_config(_text(file.attrs["model_config"]))
    except ValueError as error:
        raise ModelError(
            f"{_name(file)}: its model_config is not JSON ({in_one_line(error, 80)}); save the model again"
        ) from error
    result: dict[str, Any] = config
    return result


def is_keras_2(file: h5py.File) -> bool:
    """Whether Keras 2, or an older one, wrote the file."""
    return not _text(file.attrs.get("keras_version", "")).startswith("3")


def is_legacy_weights(file: h5py.File) -> bool:
    """Whether the weights lie as Keras 2 and .h5 whole models have them, not as Keras 3's .weights.h5."""
    return "layer_names" in file.attrs or "model_weights" in file


def layer_weights(file: h5py.File) -> dict[str, list[NDArray[np.float32]]]:
    """The weights of every layer by the layer's name, in Keras' order; legacy layout only.

    A pruning wrapper's own weights are left out, and its masks applied. Raises ModelError.
    """
    return {layer: list(weights.values()) for layer, weights in named_weights(file).items()}


def named_weights(file: h5py.File) -> NamedWeights:
    """As `layer_weights`, with the names that the weights have in the file."""
    stored = _by_name(file)
    try:
        return {layer: unwrapped_weights(weights) for layer, weights in stored.items()}
    except ModelError as error:
        raise ModelError(f"{_name(file)}: {error}") from error


def is_pruned(file: h5py.File) -> bool:
    """Whether the weights are, in part, those of pruning wrappers."""
    return is_legacy_weights(file) and any(is_wrapped(weights) for weights in _by_name(file).values())


def write_plain(path: Path, copy: Path, config: dict[str, Any] | None) -> None:
    """Copy a Keras .h5 (legacy layout) with another `config`, None for weights only, and without pruning wrappers."""
    with open_h5(path) as file:
        numbered = {
            layer: {str(number): array for number, array in enumerate(arrays)}
            for layer, arrays in layer_weights(file).items()
        }
        write_h5(copy, config, numbered, like=file)


def write_h5(path: Path, config: dict[str, Any] | None, weights: NamedWeights, *, like: h5py.File) -> None:
    """Write a Keras .h5 (legacy layout) for the Keras that wrote `like`; config None: of weights only."""
    with h5py.File(path, "w") as file:
        group = file if config is None else file.create_group("model_weights")
        for key in ("keras_version", "backend"):
            if key in like.attrs:
                file.attrs[key] = group.attrs[key] = like.attrs[key]
        if config is not None:
            file.attrs["model_config"] = json.dumps(config).encode()
        group.attrs["layer_names"] = list(weights)
        for layer, arrays in weights.items():
            place = group.require_group(layer)
            place.attrs["weight_names"] = list(arrays)
            for name, array in arrays.items():
                place[name] = array


def output_lengths(file: h5py.File) -> list[int]:
    """The lengths of the layers' outputs, as their weights tell them, the model's own last as far as is known."""
    if is_legacy_weights(file):
        arrays = [arrays[-1] for arrays in layer_weights(file).values() if arrays]
        return [int(array.shape[-1]) for array in arrays if array.ndim]
    found: dict[str, int] = {}

    def look(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 2:
            found[name] = int(item.shape[-1])

    file.visititems(look)
    # Layers are called by their class and a number: dense_10 comes after dense_9.
    return [found[name] for name in sorted(found, key=lambda name: [int(n) for n in re.findall(r"\d+", name)])]


def _by_name(file: h5py.File) -> NamedWeights:
    group = file.get("model_weights", file)
    try:
        return {
            layer: {name: np.asarray(group[layer][name]) for name in _names(group[layer], "weight_names")}
            for layer in _names(group, "layer_names")
        }
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"{_name(file)}: weights are missing from it ({in_one_line(error, 80)}); save the model again"
        ) from error


def _names(group: h5py.Group, attribute: str) -> list[str]:
    # Keras cuts lists that are too long for one attribute into name0, name1, ...
    if attribute in group.attrs:
        return [_text(name) for name in group.attrs[attribute]]
    names: list[str] = []
    chunk = 0
    while f"{attribute}{chunk}" in group.attrs:
        names += [_text(name) for name in group.attrs[f"{attribute}{chunk}"]]
        chunk += 1
    if not chunk:
        raise KeyError(attribute)
    return names


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _name(file: h5py.File) -> str:
    return Path(file.filename).name
