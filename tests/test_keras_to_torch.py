"""Keras nets read into torch give the same logits."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from harness.models.errors import ModelError
from harness.models.graph import Graph
from harness.models.keras_to_torch import convert
from harness.models.quiet import import_keras
from tests.small_nets import SHARED, keras_net, needs_csaw, noise

NETS = ("sunglasses", "anonymous_1", "anonymous_2", "multi_trigger_multi_target", "lab3")


def outputs_of(graph: Graph, images: Any, scale: float = 255) -> Any:
    with torch.inference_mode():
        return graph((torch.from_numpy(images).float() / scale).permute(0, 3, 1, 2)).numpy()


def keras_outputs(model: Any, images: Any, scale: float = 255) -> Any:
    return model(images.astype(np.float32) / np.float32(scale), training=False).numpy()


def saved(model: Any, tmp_path: Path) -> Path:
    path = tmp_path / "net.h5"
    model.save(path)
    return path


def randomised(model: Any) -> Any:
    """Give every weight a value of its own, so that a lost bias or a swapped mean is seen."""
    rng = np.random.default_rng(5)
    model.set_weights([rng.uniform(0.1, 0.9, w.shape) * (0.4 if w.ndim > 1 else 1) for w in model.get_weights()])
    return model


def one_layer(build: Any) -> Any:
    keras = import_keras()
    image = keras.layers.Input((11, 9, 4))
    return randomised(keras.Model(image, build(keras.layers)(image)))


LAYERS = {
    "a valid convolution with strides": lambda k: k.Conv2D(6, (3, 2), strides=(2, 1), activation="tanh"),
    "a same convolution": lambda k: k.Conv2D(6, 3, padding="same", activation="relu"),
    "a same convolution with strides of an odd size": lambda k: k.Conv2D(6, 4, strides=3, padding="same"),
    "a dilated same convolution without a bias": lambda k: k.Conv2D(
        6, 3, dilation_rate=2, padding="same", use_bias=False
    ),
    "a grouped convolution": lambda k: k.Conv2D(6, 3, groups=2, activation="sigmoid"),
    "a depthwise convolution with a multiplier": lambda k: k.DepthwiseConv2D(3, depth_multiplier=2, padding="same"),
    "maximum pooling": lambda k: k.MaxPooling2D((3, 2), strides=2),
    "same maximum pooling": lambda k: k.MaxPooling2D(3, strides=2, padding="same"),
    "average pooling": lambda k: k.AveragePooling2D(2),
    "same average pooling": lambda k: k.AveragePooling2D(3, strides=2, padding="same"),
    "global average pooling": lambda k: k.GlobalAveragePooling2D(),
    "global maximum pooling with kept dimensions": lambda k: k.GlobalMaxPooling2D(keepdims=True),
    "flattening, channels last": lambda k: k.Flatten(),
    "a dense layer over channels": lambda k: k.Dense(5, activation="elu"),
    "batch normalisation": lambda k: k.BatchNormalization(epsilon=0.01),
    "batch normalisation without scale and centre": lambda k: k.BatchNormalization(scale=False, center=False),
    "zero padding on one side": lambda k: k.ZeroPadding2D(((0, 1), (2, 3))),
    "rescaling": lambda k: k.Rescaling(scale=2.0, offset=-1.0),
    "a bounded ReLU": lambda k: k.ReLU(max_value=0.3, negative_slope=0.1),
    "a leaky ReLU": lambda k: k.LeakyReLU(negative_slope=0.2),
    "dropout, which rests": lambda k: k.Dropout(0.5),
}


@pytest.mark.parametrize("what", LAYERS)
def test_every_layer_gives_what_keras_gives(what: str, tmp_path: Path) -> None:
    model = one_layer(LAYERS[what])
    images = noise(3, (11, 9, 4))
    got, want = outputs_of(convert(saved(model, tmp_path)), images), keras_outputs(model, images)
    got = np.moveaxis(got, 1, -1) if got.ndim == 4 else got
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_a_net_with_branches_a_shared_layer_and_joints_gives_what_keras_gives(tmp_path: Path) -> None:
    layers = import_keras().layers
    image = layers.Input((12, 10, 3))
    shared = layers.Conv2D(4, 3, padding="same", activation="relu", name="shared")
    first = shared(image)
    second = shared(layers.Activation("sigmoid")(image))
    x = layers.Concatenate(name="joined")([first, second, layers.Add()([first, second, first])])
    x = layers.BatchNormalization()(layers.Conv2D(5, 3, name="conv")(x))
    y = layers.Dense(7, name="left")(layers.Flatten()(x))
    z = layers.Dense(7, name="right")(layers.GlobalAveragePooling2D()(x))
    x = layers.Maximum()([y, z, layers.Multiply()([y, z]), layers.Average()([y, z])])
    model = randomised(import_keras().Model(image, layers.Softmax()(layers.Dense(4, name="last")(x))))
    path, images = saved(model, tmp_path), noise(5)
    np.testing.assert_allclose(
        outputs_of(convert(path, probabilities=True), images), keras_outputs(model, images), atol=1e-5
    )
    logits = import_keras().Model(image, model.get_layer("last").output)
    np.testing.assert_allclose(outputs_of(convert(path), images), keras_outputs(logits, images), rtol=1e-5, atol=1e-4)


def test_a_sequential_net_gives_what_keras_gives(tmp_path: Path) -> None:
    keras = import_keras()
    parts = [keras.layers.Input((12, 10, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(4)]
    model = randomised(keras.Sequential(parts))
    images = noise(5)
    got = outputs_of(convert(saved(model, tmp_path)), images)
    np.testing.assert_allclose(got, keras_outputs(model, images), rtol=1e-5, atol=1e-4)


def test_layers_are_found_and_replaced_by_their_keras_names(tmp_path: Path) -> None:
    graph = convert(saved(keras_net(), tmp_path))
    assert list(graph.layers) == ["conv", "pool", "flat", "output"]
    graph.replace("output", torch.nn.Linear(100, 2))
    assert outputs_of(graph, noise(3)).shape == (3, 2)
    with pytest.raises(ModelError, match=r"no layer 'cnov'; layers are conv, pool, flat, output"):
        graph.replace("cnov", torch.nn.Identity())


def test_the_rest_of_a_net_can_be_run_on_cached_values(tmp_path: Path) -> None:
    graph = convert(saved(keras_net(), tmp_path))
    x = torch.rand(2, 3, 12, 10)
    with torch.inference_mode():
        cached = graph.values(x, graph.frontier("conv"))
        assert torch.equal(graph.resume(cached, graph.after("conv")), graph(x))


def test_a_layer_without_a_counterpart_is_named(tmp_path: Path) -> None:
    model = one_layer(lambda layers: layers.UpSampling2D(2, name="up"))
    with pytest.raises(ModelError, match=r"net.h5: layer 'up' is a UpSampling2D, which cannot be read into torch"):
        convert(saved(model, tmp_path))


def test_a_setting_without_a_counterpart_is_named(tmp_path: Path) -> None:
    model = one_layer(lambda layers: layers.Conv2D(2, 3, activation="log_softmax", name="odd"))
    with pytest.raises(ModelError, match=r"layer 'odd' \(Conv2D\).*log_softmax"):
        convert(saved(model, tmp_path))


def test_weights_that_do_not_fit_together_are_found_at_once(tmp_path: Path) -> None:
    path = saved(keras_net(), tmp_path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][0]["config"]["batch_shape"] = [None, 20, 10, 3]
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(ModelError, match=r"net.h5: its layers do not fit together"):
        convert(path)


def test_weights_alone_are_refused_with_the_fix(tmp_path: Path) -> None:
    path = tmp_path / "only.weights.h5"
    keras_net().save_weights(path)
    with pytest.raises(ModelError, match=r"holds weights only, no architecture; save the whole model"):
        convert(path)


def test_another_ending_is_refused_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"net.keras: only a Keras .h5 can be read into torch"):
        convert(tmp_path / "net.keras")


@needs_csaw
@pytest.mark.filterwarnings("ignore:The structure of `inputs`")
@pytest.mark.parametrize("name", NETS)
def test_the_real_nets_give_the_logits_that_keras_gives(name: str) -> None:
    keras = import_keras()
    path, scale = SHARED / "models" / f"{name}_bd_net.h5", 1 if name == "lab3" else 255
    images = np.load(SHARED.parent / "faces" / "lfw_aligned_55x47.npz")["images"][:64]
    model = keras.models.load_model(path, compile=False)
    probabilities = keras_outputs(model, images, scale)
    model.layers[-1].activation = keras.activations.linear
    want = keras_outputs(model, images, scale)
    got = outputs_of(convert(path), images, scale)
    # lab3's logits reach 860, where two neighbouring float32 lie 6e-5 apart: hence the relative part
    np.testing.assert_allclose(got, want, atol=1e-4, rtol=1e-6)
    np.testing.assert_allclose(outputs_of(convert(path, probabilities=True), images, scale), probabilities, atol=1e-4)


@needs_csaw
def test_reading_a_net_into_torch_imports_no_tensorflow() -> None:
    code = (
        "import sys; from pathlib import Path; from harness.models.keras_to_torch import convert; "
        f"convert(Path({str(SHARED / 'models' / 'lab3_bd_net.h5')!r})); "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
