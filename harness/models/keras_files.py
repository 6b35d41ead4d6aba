"""Keras model files: whole models (.h5 of Keras 2 and 3, .keras) and weights with an architecture."""

import importlib
import importlib.util
import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import h5py

from harness.models.architectures import build_keras, likely_outputs
from harness.models.errors import ModelError, in_one_line, one_line
from harness.models.h5_safety import check_h5
from harness.models.keras_code import custom_objects, parse_config, settle_code
from harness.models.keras_h5 import (
    is_keras_2,
    is_legacy_weights,
    is_pruned,
    model_config,
    open_h5,
    output_lengths,
    write_plain,
)
from harness.models.keras_legacy import as_keras_3, keras_2_objects
from harness.models.keras_pruning import unwrapped_config
from harness.models.quiet import import_keras
from harness.models.settings import ModelSettings

Write = Callable[[Path, Any], None]
"""Writes a copy of the file with another configuration."""
KERAS_2 = "tf_keras"
"""The package in which Keras 2 lives on."""
WEIGHTS = "model.weights.h5"
"""The file in a .keras archive that holds the weights."""
FIXES = {
    "OpLambda": "Keras 2 has it: run `make keras2`, and state unsafe_pickle = true, as Keras 2 runs what a file names",
    "marshal": "its code is of another Python; name the function of each Lambda in custom_objects",
    "Could not locate": 'name it in custom_objects = { "Name" = "layers.py:Name" }',
    "Unknown layer": 'name it in custom_objects = { "Name" = "layers.py:Name" }',
}
"""What helps, by a word in Keras' own complaint."""


def load_keras(path: Path, settings: ModelSettings) -> Any:
    """A Keras model from an .h5 file, not compiled: a whole model, or weights with `settings.architecture`.

    Raises ModelError.
    """
    with open_h5(path) as file:
        stored, keras_2 = model_config(file), is_keras_2(file)
        legacy, pruned = is_legacy_weights(file), is_pruned(file)
        lengths = output_lengths(file) if stored is None else []
    if stored is not None:
        plain, write = unwrapped_config(stored), partial(write_plain, path)
        return _load_whole(path, settings, stored=stored, plain=plain, keras_2=keras_2, write=write)
    if settings.architecture is None:
        raise ModelError(
            f'{path.name}: holds weights only, no architecture; state architecture = "deepid" or "net.py:build" '
            "beside it, or save the whole model with model.save(...)"
        )
    outputs = likely_outputs(lengths, settings.classes)
    model = build_keras(settings.architecture, outputs=outputs, root=settings.root)
    # Keras tells the two layouts of weights apart by the file's name alone.
    name = "model.h5" if legacy else "model.weights.h5"
    with _named(path, name, partial(write_plain, path, config=None) if pruned else None) as readable:
        try:
            model.load_weights(readable)
        except Exception as error:  # Keras raises whatever a stranger's file makes it raise
            raise ModelError(
                f"{path.name}: its weights do not fit the architecture {settings.architecture!r} ({_complaint(error)})"
            ) from error
    return model


def load_keras_archive(path: Path, settings: ModelSettings) -> Any:
    """A whole Keras model from a .keras archive, not compiled; raises ModelError."""
    try:
        with zipfile.ZipFile(path) as archive:
            stored = parse_config(archive.read("config.json"))
            keras_2 = not str(parse_config(archive.read("metadata.json"))["keras_version"]).startswith("3")
            _check_weights(archive.read(WEIGHTS), f"{path.name}: {WEIGHTS}")
        stored.pop("compile_config", None)  # how it was trained, which may name code
    except ModelError:
        raise
    except Exception as error:  # there are as many errors as there are ways to damage an archive
        raise ModelError(
            f"{path.name}: not a .keras archive, or cut short ({path.stat().st_size} bytes); "
            f"save it again with model.save(...) ({in_one_line(error, 80)})"
        ) from error

    def write(copy: Path, config: Any) -> None:
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as changed:
            for name in archive.namelist():
                changed.writestr(name, json.dumps(config) if name == "config.json" else archive.read(name))

    return _load_whole(path, settings, stored=stored, plain=stored, keras_2=keras_2, write=write)


def _load_whole(path: Path, settings: ModelSettings, *, stored: Any, plain: Any, keras_2: bool, write: Write) -> Any:
    """Read a whole model by Keras 3, or else, if it is of Keras 2, by that where it is installed and code may run.

    Keras 2 looks the names of a file up in any module, and calls what it finds. Raises ModelError.
    stored: the file's configuration; plain: the same without wrappers. write: copies the file with another one.
    """
    keras, objects = import_keras(), custom_objects(settings)

    def load(library: Any, config: Any, names: dict[str, Any]) -> Any:
        config = settle_code(config, settings, path)
        changed = (lambda copy: write(copy, config)) if config != stored else None
        with _named(path, f"model{path.suffix.lower()}", changed) as readable:
            return library.models.load_model(
                readable, custom_objects=names, compile=False, safe_mode=not settings.unsafe_pickle
            )

    try:
        return load(keras, as_keras_3(plain), objects | keras_2_objects()) if keras_2 else load(keras, plain, objects)
    except ModelError:
        raise
    except Exception as error:  # as above
        if keras_2 and settings.unsafe_pickle and importlib.util.find_spec(KERAS_2):
            with suppress(Exception):
                return load(importlib.import_module(KERAS_2), plain, objects)
        fix = next((f"; {fix}" for word, fix in FIXES.items() if word in str(error)), "")
        raise ModelError(
            f"{path.name}: Keras {keras.__version__} cannot read this model ({_complaint(error)}){fix}"
        ) from error


def _check_weights(weights: bytes, name: str) -> None:
    with h5py.File(io.BytesIO(weights), "r") as file:
        check_h5(file, name=name, size=len(weights))


@contextmanager
def _named(path: Path, name: str, written: Callable[[Path], None] | None) -> Iterator[Path]:
    """The file under a name from which Keras can tell its format: a link to it, or a changed copy."""
    with tempfile.TemporaryDirectory() as folder:
        readable = Path(folder) / name
        if written is None:
            readable.symlink_to(path.resolve())
        else:
            written(readable)
        yield readable


def _complaint(error: Exception) -> str:
    """What Keras says is wrong, without the whole configuration before it and the general advice after it."""
    cause = str(error).rpartition("Exception encountered: ")[2]
    for advice in ("Please ensure", "Make sure"):
        cause = cause.partition(advice)[0]
    return f"{type(error).__name__}: {one_line(cause)}"
