"""Keras files that a stranger might hand in: copies of an honest net's, in which the configuration names what it should not.

Each writer makes one file in a folder and returns its path. Where a file holds code, the code makes a folder, the marker:
by that a test sees whether it ran. Containers and graphs are in files of their own beside this one.
"""

import base64
import io
import json
import marshal
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py

from tests.small_nets import as_keras_2

CLASSES = 5


class Place(NamedTuple):
    """Where honest files are, where an evil one is written, and the folder that its code makes."""

    honest: Path
    folder: Path
    marker: Path


Write = Callable[[Place], Path]
Change = Callable[[Any, Place], None]


class Touch:
    """Whoever unpickles one makes the marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.marker,)


def write_honest(folder: Path) -> None:
    """One Keras net for 12x10 images: net.h5, net.keras, net.weights.h5, and old.h5 as Keras 2 wrote it."""
    from harness.models.quiet import import_keras

    keras = import_keras()
    keras.utils.set_random_seed(1)
    layers = keras.layers
    image = x = layers.Input((12, 10, 3), name="image")
    for layer in (
        layers.Conv2D(4, 3, activation="relu", name="conv"),
        layers.Activation("linear", name="same"),
        layers.Flatten(name="flat"),
        layers.Dense(CLASSES, name="output"),
    ):
        x = layer(x)
    net = keras.Model(image, x)
    net.compile("adam", "sparse_categorical_crossentropy")
    for name in ("net.keras", "net.h5", "old.h5"):
        net.save(folder / name, **({} if name == "net.keras" else {"include_optimizer": False}))
    net.save_weights(folder / "net.weights.h5")
    as_keras_2(folder / "old.h5")
    _change_h5(folder / "old.h5", lambda config: [it["config"].pop("quantization_config", 0) for it in _layers(config)])


# --- Keras: what the configuration names ------------------------------------------------------------------------------


def config(name: str, change: Change) -> Write:
    """The honest file `name` with its configuration changed."""

    def write(at: Place) -> Path:
        path = Path(shutil.copy(at.honest / name, at.folder))
        if path.suffix == ".h5":
            _change_h5(path, lambda found: change(found, at))
        else:
            found = json.loads(members_of(path)["config.json"])
            change(found, at)
            rezip(path, {"config.json": json.dumps(found).encode()})
        return path

    return write


def bytecode(expression: str) -> str:
    """A function that evaluates this and gives its argument back, as Keras keeps functions."""
    function = eval(f"lambda x: ({expression}, x)[1]")
    return base64.encodebytes(marshal.dumps(function.__code__)).decode()


def code(at: Place) -> str:
    return bytecode(f"__import__('os').makedirs({str(at.marker)!r}, exist_ok=True)")


def as_lambda(code: str) -> dict[str, Any]:
    """In the words of Keras 3."""
    return {"class_name": "__lambda__", "config": {"code": code, "defaults": None, "closure": None, "value": code}}


def lambda_of(at: Place) -> dict[str, Any]:
    return as_lambda(code(at))


def layer(kind: str, module: str | None = "keras.layers", /, **own: Any) -> Change:
    """Another layer in place of "same"; what can be called is called with the place."""

    def change(found: Any, at: Place) -> None:
        given = {key: value(at) if callable(value) else value for key, value in own.items()}
        new = {"module": module, "class_name": kind, "config": {"name": "same", **given}, "registered_name": None}
        _layer(found, "same").update(new)

    return change


def activation(value: Any) -> Change:
    """Another activation of the convolution."""

    def change(found: Any, at: Place) -> None:
        _layer(found, "conv")["config"]["activation"] = value(at) if callable(value) else value

    return change


def function(module: str, name: str) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def held(at: Place) -> dict[str, Any]:
    """A Lambda as another layer holds it."""
    own = {"name": "inner", "function": lambda_of(at), "arguments": {}}
    return {"module": "keras.layers", "class_name": "Lambda", "config": own, "registered_name": None}


def registered(found: Any, at: Place) -> None:
    _layer(found, "same").update(class_name="Anything", module=None, registered_name="builtins>exec", config={})


def called_as_a_layer(found: Any, at: Place) -> None:
    nodes = [{"args": [str(at.marker)], "kwargs": {}}]
    _layer(found, "same").update(function("os", "mkdir"), inbound_nodes=nodes)


def in_a_model(inner: Callable[[Place], dict[str, Any]], **more: Any) -> Change:
    """A model in the model, of one layer."""

    def change(found: Any, at: Place) -> None:
        shape = [None, 10, 8, 4]
        tensor = {"shape": shape, "dtype": "float32", "keras_history": ["within", 0, 0]}
        nodes = [{"args": [{"class_name": "__keras_tensor__", "config": tensor}], "kwargs": {}}]
        image = json.loads(json.dumps(_layer(found, "image")).replace('"image"', '"within"'))
        image["config"]["batch_shape"] = shape
        layers = [image, inner(at) | {"name": "inner", "inbound_nodes": nodes}]
        ends = {"input_layers": [["within", 0, 0]], "output_layers": [["inner", 0, 0]]}
        given = {key: value(at) for key, value in more.items()}
        own = {"name": "same", "layers": layers, **ends}
        _layer(found, "same").update(class_name="Functional", module="keras.src.models.functional", config=own, **given)

    return change


def plain(at: Place) -> dict[str, Any]:
    """A layer that does nothing."""
    own = {"name": "inner", "activation": "linear"}
    return {"module": "keras.layers", "class_name": "Activation", "config": own, "registered_name": None}


def training(at: Place) -> dict[str, Any]:
    """How a model was trained, with code."""
    return {"optimizer": "adam", "loss": lambda_of(at), "metrics": [lambda_of(at)]}


def compiled(found: Any, at: Place) -> None:
    found["compile_config"] = training(at)


def deep(found: Any, at: Place) -> None:
    inner: list[Any] = []
    for _ in range(500):
        inner = [inner]
    found["config"]["deep"] = inner


def of_keras_2(found: Any, at: Place) -> None:
    """A Lambda in the words of Keras 2, whose function is bytecode alone, not a list of code, defaults and closure."""
    kinds = {"function_type": "lambda", "module": "builtins", "output_shape": None, "output_shape_type": "raw"}
    own: dict[str, Any] = {"name": "same", "arguments": {}, "function": code(at), **kinds}
    _layer(found, "same").update(class_name="Lambda", config=own)


def writes_a_file(found: Any, at: Place) -> None:
    """A TensorFlow function by its name, which Keras 2 looks up and calls."""
    own = {"name": "same", "function": "io.write_file"}
    nodes = [["_CONSTANT_VALUE", -1, str(at.marker), {"contents": "x"}]]
    _layer(found, "same").update(class_name="TFOpLambda", config=own, inbound_nodes=nodes)


def pickled_module(at: Place) -> str:
    import torch

    buffer = io.BytesIO()
    torch.save(Touch(at.marker), buffer)
    return base64.b64encode(buffer.getvalue()).decode()


def _layers(found: Any) -> list[Any]:
    return list(found["config"]["layers"])


def _layer(found: Any, name: str) -> Any:
    return next(it for it in _layers(found) if it["config"]["name"] == name)


def _change_h5(path: Path, change: Callable[[Any], Any]) -> None:
    with h5py.File(path, "r+") as file:
        found = json.loads(file.attrs["model_config"])
        change(found)
        file.attrs["model_config"] = json.dumps(found).encode()


def members_of(path: Path) -> dict[str, bytes]:
    """The files in an archive."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rezip(path: Path, changed: dict[str, bytes], added: tuple[tuple[zipfile.ZipInfo, bytes], ...] = ()) -> None:
    """Write an archive anew, with some members changed, and some added as they are."""
    members = members_of(path) | changed
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        for member, data in added:
            archive.writestr(member, data)
