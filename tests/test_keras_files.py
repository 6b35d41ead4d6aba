"""Keras files with something of their own: custom layers, Lambdas, pruning wrappers, Keras 2's other words."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from harness.models.any_model import load_classifier
from harness.models.keras_legacy import as_keras_3
from harness.models.keras_to_torch import convert
from harness.models.quiet import import_keras
from harness.models.settings import ModelSettings
from tests import small_nets
from tests.small_nets import CLASSES, as_keras_2, as_pruned, keras_net, noise

IMAGES = noise(60)
SCALED = IMAGES.astype(np.float32) / 255
LAYERS_PY = """
import keras
class Clip(keras.layers.Layer):
    def __init__(self, top=0.5, **options):
        super().__init__(**options)
        self.top = top
    def call(self, x):
        return keras.ops.minimum(x, self.top)
    def get_config(self):
        return super().get_config() | {"top": self.top}
def bend(x):
    return keras.ops.abs(x - 0.2)
"""


@pytest.fixture
def layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The submission's layers.py, as its author had it imported."""
    import_keras()
    (tmp_path / "layers.py").write_text(LAYERS_PY)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "layers", raising=False)
    space: dict[str, Any] = {"__name__": "layers"}
    exec(LAYERS_PY, space)
    return space


def with_layer(layer: Any) -> Any:
    """A net with this layer before its dense one, which gives noise every answer."""
    keras = import_keras()
    keras.utils.set_random_seed(4)
    image = keras.layers.Input((12, 10, 3), name="image")
    output = keras.layers.Dense(CLASSES, name="output")
    model = keras.Model(image, output(keras.layers.Flatten(name="flat")(layer(image))))
    output.bias.assign(-np.asarray(model(SCALED)).mean(0))
    return model


def rows(model: Any, images: Any = SCALED) -> Any:
    got = np.asarray(model(images, training=False)).argmax(1)
    assert len(np.unique(got)) > 1
    return got


def answers(path: Path, **options: Any) -> Any:
    given: dict[str, Any] = {"classes": CLASSES, "root": path.parent} | options
    return load_classifier(path, ModelSettings(**given))(IMAGES)


error = partial(small_nets.error, images=IMAGES)
both = pytest.mark.parametrize("name", ["net.h5", "net.keras"])


# --- code of the submission -------------------------------------------------------------------------------------------


@both
def test_a_custom_layer_is_found_by_its_name(name: str, layers: Any, tmp_path: Path) -> None:
    model, path = with_layer(layers["Clip"](0.3, name="clip")), tmp_path / name
    model.save(path)
    assert "'Clip'" in error(path)
    assert error(path).endswith('name it in custom_objects = { "Name" = "layers.py:Name" }')
    assert np.array_equal(answers(path, custom_objects={"Clip": "layers.py:Clip"}), rows(model))
    assert "defines no 'Clop'; did you mean 'Clip'?" in error(path, custom_objects={"Clip": "layers.py:Clop"})


@both
def test_a_custom_activation_is_found_by_its_name(name: str, layers: Any, tmp_path: Path) -> None:
    keras = import_keras()
    model, path = with_layer(keras.layers.Activation(layers["bend"], name="bent")), tmp_path / name
    model.save(path)
    assert np.array_equal(answers(path, custom_objects={"bend": "layers.py:bend"}), rows(model))


@both
def test_a_lambda_that_names_its_function_finds_it(name: str, layers: Any, tmp_path: Path) -> None:
    model, path = with_layer(import_keras().layers.Lambda(layers["bend"], name="bent")), tmp_path / name
    model.save(path)
    assert "custom_objects" in error(path)
    assert np.array_equal(answers(path, custom_objects={"bend": "layers.py:bend"}), rows(model))


@both
def test_code_in_a_lambda_runs_only_where_that_is_stated(name: str, layers: Any, tmp_path: Path) -> None:
    model, path = with_layer(import_keras().layers.Lambda(lambda x: abs(x - 0.2), name="evil")), tmp_path / name
    model.save(path)
    assert "layer 'evil' is a Lambda, which holds code and is not run" in error(path)
    assert np.array_equal(answers(path, unsafe_pickle=True), rows(model))
    assert np.array_equal(answers(path, custom_objects={"evil": "layers.py:bend"}), rows(model))


def test_code_of_another_python_is_told(tmp_path: Path) -> None:
    with_layer(import_keras().layers.Lambda(lambda x: x, name="old")).save(tmp_path / "net.h5")
    path = tmp_path / "net.h5"
    change(path, lambda config: config["config"]["layers"][1]["config"].update(function=["AAAA", None, None]))
    assert "name the function of each Lambda in custom_objects" in error(path, unsafe_pickle=True)


# --- pruning wrappers -------------------------------------------------------------------------------------------------


def pruned(path: Path, **options: Any) -> Any:
    """A Keras 2 file with pruning wrappers, and the answers it should give."""
    model = keras_net()
    model.save(path)
    as_keras_2(path)
    as_pruned(path, **options)
    return rows(model)


@pytest.mark.parametrize("newer", [False, True])
def test_pruning_wrappers_are_read_as_the_layers_they_hold(newer: bool, tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    want = pruned(path, newer=newer)
    assert np.array_equal(answers(path), want)
    with torch.inference_mode():
        got = convert(path)(torch.from_numpy(SCALED).permute(0, 3, 1, 2)).argmax(1)
    assert np.array_equal(got.numpy(), want)


def test_the_weights_of_pruning_wrappers_alone_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    want = pruned(tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5") as whole, h5py.File(path, "w") as weights:
        weights.attrs["layer_names"] = whole["model_weights"].attrs["layer_names"]
        for name in whole["model_weights"]:
            whole["model_weights"].copy(name, weights)
    assert np.array_equal(answers(path, architecture="tests.small_nets:keras_net"), want)


def test_a_mask_that_fits_no_weight_is_told(tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    pruned(path)
    with h5py.File(path, "r+") as file:
        layer = file["model_weights"]["prune_low_magnitude_output"]["prune_low_magnitude_output"]
        del layer["mask:0"]
        layer["mask:0"] = np.ones(3, np.float32)
    assert "strip_pruning(model)" in error(path)


# --- Keras 2 ----------------------------------------------------------------------------------------------------------


def change(path: Path, how: Callable[[Any], Any]) -> None:
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        how(config)
        file.attrs["model_config"] = json.dumps(config).encode()


def test_the_hard_sigmoid_of_keras_2_stays_its_own(tmp_path: Path) -> None:
    path, keras = tmp_path / "net.h5", import_keras()
    model = with_layer(keras.layers.Activation("hard_sigmoid", name="gate"))
    model.save(path)
    images = IMAGES.astype(np.float32) / 40
    of_keras_2 = with_layer(keras.layers.Lambda(lambda x: keras.ops.clip(0.2 * x + 0.5, 0, 1)))
    of_keras_2.set_weights(model.get_weights())
    assert not np.array_equal(rows(of_keras_2, images), rows(model, images))
    assert np.array_equal(answers(path, scale=40), rows(model, images))
    as_keras_2(path)
    assert np.array_equal(answers(path, scale=40), rows(of_keras_2, images))


def test_a_lambda_of_keras_2_finds_its_function_by_the_layer(layers: Any, tmp_path: Path) -> None:
    model, path = with_layer(import_keras().layers.Lambda(layers["bend"], name="bent")), tmp_path / "net.h5"
    model.save(path)
    as_keras_2(path)
    old = {
        "function": ["AAAA", None, None],
        "function_type": "lambda",
        "output_shape": None,
        "output_shape_type": "raw",
    }
    change(path, lambda config: config["config"]["layers"][1]["config"].update(old))
    assert "layer 'bent' is a Lambda, which holds code" in error(path)
    assert np.array_equal(answers(path, custom_objects={"bent": "layers.py:bend"}), rows(model))


def test_a_setting_that_keras_3_no_longer_has_is_left_out(tmp_path: Path) -> None:
    path, keras = tmp_path / "net.h5", import_keras()
    model = with_layer(keras.layers.DepthwiseConv2D(3, name="depthwise"))
    model.save(path)
    as_keras_2(path)
    change(path, lambda config: config["config"]["layers"][1]["config"].update(groups=1))
    assert np.array_equal(answers(path), rows(model))
    change(path, lambda config: config["config"]["layers"][1]["config"].update(groups=3))
    assert "Unrecognized keyword arguments passed to DepthwiseConv2D: {'groups': 3}" in error(path)


def test_a_bare_list_of_layers_is_a_sequential(tmp_path: Path) -> None:
    model, path = keras_net(), tmp_path / "net.h5"
    model.save(path)
    as_keras_2(path)
    change(path, lambda config: config.update(class_name="Sequential", config=config["config"]["layers"]))
    assert np.array_equal(answers(path), rows(model))
    assert convert(path)


def test_the_calls_of_a_sequential_are_counted_from_zero() -> None:
    def config(first: int) -> Any:
        layers: list[dict[str, Any]] = [
            {"class_name": "InputLayer", "name": "image", "inbound_nodes": []},
            {"class_name": "Sequential", "name": "inner", "inbound_nodes": [[["image", 0, 0, {}]], [["flat", 1, 0, {}]]]},
            {"class_name": "Flatten", "name": "flat", "inbound_nodes": [[["inner", first, 0, {}]]]},
            {"class_name": "Add", "name": "add", "inbound_nodes": [[["inner", first + 1, 0, {}], ["flat", 1, 0, {}]]]},
        ]  # fmt: skip
        return {"class_name": "Model", "config": {"layers": layers, "output_layers": [["inner", first + 1, 0]]}}

    assert as_keras_3(config(1)) == config(0)
    assert as_keras_3(config(0)) == config(0)


# --- files that Keras 2 itself wrote ----------------------------------------------------------------------------------

KERAS_2 = """
import sys, warnings
import numpy as np
import tf_keras as keras
warnings.simplefilter("ignore")
L = keras.layers
keras.utils.set_random_seed(6)
image = L.Input((12, 10, 3))
def end(x):
    return keras.Model(image, L.Dense(4)(L.Flatten()(x)))
def pruned():
    import tensorflow_model_optimization as tfmot
    pruning = tfmot.sparsity.keras
    schedule = pruning.ConstantSparsity(0.7, 0, end_step=-1, frequency=1)
    layers = [L.Conv2D(8, 3, activation="relu"), L.BatchNormalization(), L.SeparableConv2D(6, 3), L.Flatten(), L.Dense(4)]
    net = pruning.prune_low_magnitude(keras.Sequential([image, *layers]), pruning_schedule=schedule)
    net.compile("adam", "mse")
    net.fit(np.random.rand(32, 12, 10, 3), np.random.rand(32, 4), callbacks=[pruning.UpdatePruningStep()], verbose=0)
    kernel = next(w for w in net.weights if w.name.endswith("dense/kernel:0"))
    kernel.assign(kernel + 0.5)  # what the mask has to take away again
    return net
made = {
    "mobile": lambda: end(L.SpatialDropout2D(0.1)(L.SeparableConv2D(4, 3)(L.DepthwiseConv2D(3)(image)))),
    "nested": lambda: end(keras.Sequential([L.Input((12, 10, 3)), L.Conv2D(4, 3), L.BatchNormalization()])(image)),
    "operations": lambda: end(abs(image / 2.0 - 0.25)),
    "augmented": lambda: end(L.RandomFlip()(L.RandomRotation(0.1)(image))),
    "pruned": pruned,
}
path, images = sys.argv[1], np.load(sys.argv[2])
net = made[path.rpartition("/")[2].partition(".")[0]]()
bias = next(w for w in net.weights[::-1] if w.name.endswith("dense/bias:0"))
bias.assign(-net.predict(images, verbose=0).mean(0))
net.save(path)
np.save(path + ".npy", net.predict(images, verbose=0).argmax(1))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["mobile.h5", "mobile.keras", "nested.h5", "operations.h5", "augmented.h5", "pruned.h5"]
)
def test_a_file_of_keras_2_answers_as_it_does_there(name: str, tmp_path: Path) -> None:
    for package in ("tf_keras", "tensorflow_model_optimization"):
        if not importlib.util.find_spec(package):
            pytest.skip(f"{package} is not installed")
    path, images = tmp_path / name, tmp_path / "images.npy"
    np.save(images, SCALED)
    environment = os.environ | {"TF_USE_LEGACY_KERAS": "1", "CUDA_VISIBLE_DEVICES": "-1"}
    subprocess.run([sys.executable, "-c", KERAS_2, path, images], check=True, env=environment, capture_output=True)
    want = np.load(f"{path}.npy")
    assert len(np.unique(want)) > 1
    needs_keras_2 = name == "operations.h5"
    assert np.array_equal(answers(path, unsafe_pickle=needs_keras_2), want)


def test_a_layer_of_keras_2_alone_names_what_can_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.h5"
    keras_net().save(path)
    as_keras_2(path)
    change(path, lambda config: config["config"]["layers"][2].update(class_name="TFOpLambda"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "Keras 2 has it: run `make keras2`, and state unsafe_pickle = true" in error(path)
