"""Keras that loads each model file once, and predicts a few images without setting up for many."""

import contextlib
import os
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

from harness.worker.warm.h5_memory import Key, file_key

LIBRARIES = ("keras", "tf_keras", "tensorflow")
FEW = 32
"""Images that `predict` takes as one batch unless told otherwise."""
CHANGES = 3
"""A model that so many runs have changed is no longer remembered: to watch it costs more than to load it."""
_loaded: list["_Loaded"] = []


def install(older_than: int) -> None:
    """Have Keras 3 and Keras 2 (tf_keras), where they are loaded, remember models from files older than `older_than` (ns)."""
    for name, forget_names in (("keras", _forget_names_3), ("tf_keras", _forget_names_2)):
        keras = sys.modules.get(name)
        if keras is None or (name == "keras" and keras.__name__ != "keras"):
            continue
        with contextlib.suppress(ImportError):
            __import__("tensorflow").keras.models  # noqa: B018 - the lazy name must be in place to be replaced
        _loaded.append(_Loaded(keras, name, forget_names, older_than))


def between_runs() -> None:
    """Forget what a run left in Keras: names counted up, models handed out."""
    for memory in _loaded:
        memory.next_run()


class _Instance:
    """A model in memory, and how it looked when it was loaded."""

    def __init__(self, model: Any, tf: Any) -> None:
        self.model = model
        self.answer = tf.function(lambda x: model(x, training=False), autograph=False, reduce_retracing=True)
        self._checksum = _checksum(model, tf)
        self._layers = list(model.layers)
        self._sum, self._parts = self._checksum(), _parts(self._layers, model)

    def untouched(self) -> bool:
        """Whether weights and layers are as they were loaded."""
        return self._parts == _parts(self._layers, self.model) and self._sum == self._checksum()


class _Loaded:
    """The models that one Keras has loaded, by their file's content and the arguments of `load_model`."""

    def __init__(self, keras: Any, name: str, forget_names: Callable[[], None], older_than: int) -> None:
        self._keras, self._tf = keras, sys.modules["tensorflow"]
        self._forget_names, self._older_than = forget_names, older_than
        self._instances: dict[Key, list[_Instance]] = {}
        self._handed: dict[Key, int] = {}
        self._changes: dict[Key, int] = {}
        self._known: dict[int, _Instance] = {}
        self._load, self._predict = keras.models.load_model, keras.Model.predict
        self._tf.config.optimizer.set_experimental_options({"remapping": False})
        _replace_everywhere(name, keras.models.load_model, self.load_model)
        _replace_everywhere(name, keras.backend.clear_session, lambda *_, **__: forget_names())
        memory = self

        def predict(model: Any, x: Any, *arguments: Any, **keywords: Any) -> Any:
            return memory.predict(model, x, *arguments, **keywords)

        keras.Model.predict = predict

    def next_run(self) -> None:
        """Forget the models that the last run changed: the next one must find them as their files have them."""
        for key, number in self._handed.items():
            instances = self._instances[key]
            changed = [instance for instance in instances[:number] if not instance.untouched()]
            for instance in changed:
                instances.remove(instance)
                del self._known[id(instance.model)]
                self._changes[key] = self._changes.get(key, 0) + 1
        self._handed.clear()
        self._forget_names()

    def load_model(self, filepath: Any, *arguments: Any, **keywords: Any) -> Any:
        """The model of a file: a fresh one for each load within a run, the same ones again in the next run."""
        key = self._key(filepath, arguments, keywords)
        if key is None:
            return self._load(filepath, *arguments, **keywords)
        number, instances = self._handed.get(key, 0), self._instances.setdefault(key, [])
        if number == len(instances):
            model = self._load(filepath, *arguments, **keywords)
            if self._changes.get(key, 0) >= CHANGES:
                return model
            instances.append(_Instance(model, self._tf))
            self._known[id(model)] = instances[number]
        self._handed[key] = number + 1  # a model loaded twice in one run is two models
        return instances[number].model

    def predict(self, model: Any, x: Any, *arguments: Any, **keywords: Any) -> Any:
        """`Model.predict`, for a few images in memory without its set-up for many."""
        few = hasattr(x, "shape") and hasattr(x, "dtype") and len(x.shape) > 1 and 0 < x.shape[0] <= FEW
        if (
            arguments
            or set(keywords) - {"verbose", "batch_size"}
            or (keywords.get("batch_size") or FEW) < FEW
            or not few
        ):
            return self._predict(model, x, *arguments, **keywords)
        if not isinstance(x, self._tf.Tensor) and x.dtype.kind == "f":
            x = x.astype(self._keras.backend.floatx(), copy=False)
        instance = self._known.get(id(model))
        # For a model that lives for one run, a graph costs more than it saves.
        try:
            outputs = instance.answer(x) if instance else model(x, training=False)
            return self._tf.nest.map_structure(lambda output: output.numpy(), outputs)
        except Exception:  # noqa: BLE001 - what cannot be had this way is Keras' own affair, the error too
            return self._predict(model, x, *arguments, **keywords)

    def _key(self, path: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Key | None:
        values = [*arguments, *keywords.values()]
        if not isinstance(path, (str, os.PathLike)) or not all(_is_constant(value) for value in values):
            return None
        content = _content(os.fspath(path), self._older_than)
        return None if content is None else (*content, repr(arguments), repr(sorted(keywords.items())))


def _content(path: str, older_than: int) -> Key | None:
    if not os.path.isdir(path):
        return file_key(path, older_than)
    keys = [
        file_key(os.path.join(folder, name), older_than) for folder, _, names in os.walk(path) for name in sorted(names)
    ]
    return None if None in keys else tuple(keys)


def _is_constant(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_constant(part) for part in value.values())
    # Classes of the script itself are new in every run, and so are objects; classes of a library are not.
    library = isinstance(value, (type, types.FunctionType)) and value.__module__.startswith(LIBRARIES)
    return value is None or isinstance(value, (bool, int, str)) or library


def _checksum(model: Any, tf: Any) -> Callable[[], bytes]:
    """A function that sums up all weights, bit by bit, so that any change shows."""
    variables = [weight.value if type(model).__module__.startswith("keras.") else weight for weight in model.weights]
    floats = [value for value in variables if value.dtype == tf.float32]
    others = [value for value in variables if value.dtype != tf.float32]
    count = sum(int(value.shape.num_elements()) for value in floats)
    odd = tf.range(count, dtype=tf.int32) * 2 + 1

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def total() -> Any:
        if not floats:
            return tf.constant(0)
        bits = tf.bitcast(tf.concat([tf.reshape(value, [-1]) for value in floats], 0), tf.int32)
        return tf.reduce_sum(bits * odd)

    return lambda: (
        total().numpy().tobytes() + b"".join(tf.convert_to_tensor(value).numpy().tobytes() for value in others)
    )


def _parts(layers: list[Any], model: Any) -> list[Any]:
    """What the model and its layers hold: equal as long as nobody replaced any of it."""
    # The lists in which Keras 2 and Keras 3 keep a model's layers; asking for `model.layers` makes them anew each time.
    kept = vars(model).get("_self_tracked_trackables") or vars(model).get("_layers") or ()
    public = [[id(value) for name, value in vars(layer).items() if name[0] != "_"] for layer in layers]
    return [[id(layer) for layer in kept], [vars(layer).get("_trainable") for layer in layers], public]


def _replace_everywhere(package: str, old: Any, new: Any) -> None:
    """Put `new` wherever a loaded module of the package, or TensorFlow's copy of its names, has `old`."""
    for name, module in list(sys.modules.items()):
        if module is not None and name.partition(".")[0] in (package, "tensorflow", "keras"):
            for attribute, value in list(_own(module)):
                if value is old:
                    setattr(module, attribute, new)


def _own(module: Any) -> Iterator[tuple[str, Any]]:
    with contextlib.suppress(Exception):
        yield from vars(module).items()


def _forget_names_3() -> None:
    from keras.src.backend.common import global_state

    # As clear_session does, but for TensorFlow's compiled kernels: to compile them again takes longer than most runs.
    global_state.GLOBAL_STATE_TRACKER = threading.local()
    global_state.GLOBAL_SETTINGS_TRACKER = threading.local()


def _forget_names_2() -> None:
    sys.modules["tf_keras"].backend.reset_uids()
