"""What stands in a Keras .h5 file, read by h5py alone: the architecture as JSON, and each layer's weights in order."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from harness.models.errors import ModelError, in_one_line


@contextmanager
def open_h5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file; raises ModelError where it is missing, cut short or not HDF5, also while it is being read."""
    if not path.is_file():
        raise ModelError(f"{path.name}: no such file; check the path in submission.toml")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise ModelError(
            f"{path.name}: not an HDF5 file, or cut short ({path.stat().st_size} bytes); "
            f"save it again with model.save(...) and copy it whole ({in_one_line(error, 100)})"
        ) from error


def model_config(file: h5py.File) -> dict[str, Any] | None:
    """The architecture of a whole model, None for a file of weights only; raises ModelError if damaged."""
    if "model_config" not in file.attrs:
        return None
    try:
        config = json.loads(_text(file.attrs["model_config"]))
    except ValueError as error:
        raise ModelError(
            f"{_name(file)}: its model_config is not JSON ({in_one_line(error, 80)}); save the model again"
        ) from error
    if isinstance(config.get("config"), list):  # a Sequential before Keras 2.2.3 is a bare list of layers
        config["config"] = {"name": "sequential", "layers": config["config"]}
    result: dict[str, Any] = config
    return result


def is_legacy_weights(file: h5py.File) -> bool:
    """Whether the weights lie as Keras 2 and .h5 whole models have them, not as Keras 3's .weights.h5."""
    return "layer_names" in file.attrs or "model_weights" in file


def layer_weights(file: h5py.File) -> dict[str, list[NDArray[np.float32]]]:
    """The weights of every layer by the layer's name, in Keras' order; legacy layout only."""
    group = file.get("model_weights", file)
    weights: dict[str, list[NDArray[np.float32]]] = {}
    try:
        for name in _names(group, "layer_names"):
            weights[name] = [np.asarray(group[name][key]) for key in _names(group[name], "weight_names")]
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"{_name(file)}: weights are missing from it ({in_one_line(error, 80)}); save the model again"
        ) from error
    return weights


def last_dimension(file: h5py.File) -> int | None:
    """The number of outputs, as the last layer's weights tell it; None where it is unclear."""
    if is_legacy_weights(file):
        arrays = [arrays[-1] for arrays in layer_weights(file).values() if arrays]
        return int(arrays[-1].shape[-1]) if arrays and arrays[-1].ndim else None
    found: list[int] = []

    def look(_: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 2:
            found.append(int(item.shape[-1]))

    file.visititems(look)
    return max(found) if found else None


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
