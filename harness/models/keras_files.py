"""Keras model files: whole models (.h5 of Keras 2 and 3, .keras) and weights with an architecture."""

import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from harness.models.architectures import build_keras
from harness.models.errors import ModelError, in_one_line
from harness.models.keras_h5 import is_legacy_weights, last_dimension, model_config, open_h5
from harness.models.quiet import import_keras

UNSAFE = ("Lambda", "TFOpLambda", "SlicingOpLambda")
"""Layers that carry code instead of naming it; Keras 3 cannot or must not read them from a stranger's file."""


def load_keras(
    path: Path, *, architecture: str | None = None, root: Path | None = None, classes: int | None = None
) -> Any:
    """A Keras model from a file, not compiled, in safe mode.

    A whole model (.h5, .hdf5, .keras) needs no `architecture`; a file of weights needs one: a name such as "deepid", or
    "net.py:build" in the submission folder `root`. `classes` is the number of outputs to build where the weights do not
    tell it. Raises ModelError.
    """
    if path.suffix == ".keras":
        return _load_archive(path)
    with open_h5(path) as file:
        config = model_config(file)
        legacy, outputs = is_legacy_weights(file), last_dimension(file) if config is None else None
    if config is not None:
        _refuse_code(config, path)
        return _load_whole(path)
    if architecture is None:
        raise ModelError(
            f'{path.name}: holds weights only, no architecture; state architecture = "deepid" or "net.py:build" '
            "beside it, or save the whole model with model.save(...)"
        )
    outputs = outputs or classes
    if outputs is None:
        raise ModelError(f"{path.name}: its number of outputs is unclear; save the whole model with model.save(...)")
    model = build_keras(architecture, outputs=outputs, root=root)
    _load_weights(model, path, legacy=legacy, architecture=architecture)
    return model


def _load_archive(path: Path) -> Any:
    if not path.is_file():
        raise ModelError(f"{path.name}: no such file; check the path in submission.toml")
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise ModelError(
            f"{path.name}: not a .keras archive, or cut short ({path.stat().st_size} bytes); "
            f"save it again with model.save(...) ({in_one_line(error, 80)})"
        ) from error
    _refuse_code(config, path)
    return _load_whole(path)


def _load_whole(path: Path) -> Any:
    keras = import_keras()
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever a stranger's file makes it raise
        raise ModelError(
            f"{path.name}: Keras {keras.__version__} cannot read this model ({in_one_line(error)})"
        ) from error


def _load_weights(model: Any, path: Path, *, legacy: bool, architecture: str) -> None:
    # Keras tells the two layouts apart by the file's name alone; a link gives the file the name that fits.
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / ("linked.h5" if legacy else "linked.weights.h5")
        link.symlink_to(path.resolve())
        try:
            model.load_weights(link)
        except Exception as error:  # as above
            raise ModelError(
                f"{path.name}: its weights do not fit the architecture {architecture!r} ({in_one_line(error)})"
            ) from error


def _refuse_code(config: Any, path: Path) -> None:
    """Refuse layers that hold code, wherever they are nested."""
    if isinstance(config, dict):
        if config.get("class_name") in UNSAFE:
            name = config.get("name") or (config.get("config") or {}).get("name")
            raise ModelError(
                f"{path.name}: layer {name!r} is a {config['class_name']}, which holds code and is not run; "
                'replace it by a standard layer, or submit weights with an architecture, or kind = "predictor"'
            )
        for value in config.values():
            _refuse_code(value, path)
    elif isinstance(config, list):
        for value in config:
            _refuse_code(value, path)
