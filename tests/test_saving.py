"""A repaired net, written as its BadNet's format has it, answers as it did: for us, for Keras, for a competitor."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from harness.models.any_model import load_classifier
from harness.models.contracts import BadNetView, Images
from harness.models.errors import ModelError
from harness.models.graph import INPUT, Graph, Step
from harness.models.keras_layers import Apply, Dense
from harness.models.keras_to_torch import convert
from harness.models.keras_writer import write_keras
from harness.models.quiet import import_keras
from harness.models.repaired import RepairedNet, RepairedPair
from harness.models.saving import save_net
from harness.models.settings import ModelSettings
from harness.models.torch_files import load_torch
from reference_defenses._filters import Filter
from reference_defenses._nets import load_graph, widen
from reference_defenses.pruning import KeptChannels
from tests.small_nets import CLASSES, SHARED, as_keras_2, as_pruned, keras_net, needs_csaw, noise, view, write_net

pytestmark = pytest.mark.filterwarnings("ignore:The structure of `inputs`")
IMAGES = noise(40)


def every_weight(*, own_softmax: bool = False) -> Any:
    """A net with every kind of layer that has weights."""
    keras = import_keras()
    keras.utils.set_random_seed(3)
    layers = keras.layers
    image = layers.Input((12, 10, 3), name="image")
    x = layers.Conv2D(6, 3, use_bias=False, name="conv")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu", name="depthwise")(x)
    x = layers.BatchNormalization(scale=False, name="plain_norm")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(20, activation="relu", name="hidden")(x)
    x = layers.Dense(CLASSES, activation=None if own_softmax else "softmax", name="output")(x)
    return keras.Model(image, layers.Softmax(name="softmax")(x) if own_softmax else x)


def badnet_of(model: Any, tmp_path: Path, *changes: Callable[[Path], None]) -> BadNetView:
    path = tmp_path / "net.h5"
    model.save(path)
    for change in changes:
        change(path)
    return view(tmp_path, path, images=IMAGES)


def trained_on(net: Graph) -> Graph:
    """The net with other values in every weight, as if a repair had trained it."""
    rng = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for value in (*(it for it in net.parameters() if it.requires_grad), *net.buffers()):
            factor, more = (torch.empty_like(value).uniform_(*ends, generator=rng) for ends in ((0.5, 1.5), (0, 0.1)))
            value.mul_(factor).add_(more)
    return net.requires_grad_(False)  # as a defense may leave it


def probabilities(net: nn.Module, images: Images = IMAGES) -> NDArray[Any]:
    with torch.inference_mode():
        x = (torch.from_numpy(images).float() / 255).permute(0, 3, 1, 2)
        values: NDArray[Any] = net.eval()(x).softmax(1).numpy()
    return values


def by_keras(path: Path, images: Images = IMAGES) -> NDArray[Any]:
    """What a script gets that knows Keras and nothing of this project."""
    outputs: NDArray[Any] = import_keras().models.load_model(path, compile=False).predict(images / 255, verbose=0)
    return outputs


FORMS: Mapping[str, tuple[Callable[[Path], None], ...]] = {
    "Keras 3": (), "Keras 2": (as_keras_2,), "Keras 2 in pruning wrappers": (as_keras_2, as_pruned),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("outputs", [CLASSES, CLASSES + 1])
def test_a_repaired_keras_net_is_a_keras_file_of_the_same_architecture(form: str, outputs: int, tmp_path: Path) -> None:
    badnet = badnet_of(keras_net() if "wrappers" in form else every_weight(), tmp_path, *FORMS[form])
    net = trained_on(load_graph(badnet))
    if outputs > CLASSES:
        widen(net)
    (tmp_path / "out").mkdir()
    assert save_net(net, badnet, tmp_path / "out") == {"model": "repaired.h5"}
    written = tmp_path / "out" / "repaired.h5"
    kept = load_classifier(written, ModelSettings(classes=CLASSES))
    np.testing.assert_array_equal(kept(IMAGES), probabilities(net).argmax(1))
    with h5py.File(badnet.model_path) as before, h5py.File(written) as after:
        assert after.attrs["keras_version"] == before.attrs["keras_version"]
        assert sorted(after["model_weights"]) == sorted(before["model_weights"].attrs["layer_names"])
        assert "PruneLowMagnitude" not in str(after.attrs["model_config"])
    if form == "Keras 3":
        np.testing.assert_allclose(by_keras(written), probabilities(net), atol=1e-5)


def test_a_softmax_layer_of_its_own_gets_the_flag_too(tmp_path: Path) -> None:
    badnet = badnet_of(every_weight(own_softmax=True), tmp_path)
    net = trained_on(load_graph(badnet))
    widen(net)
    save_net(net, badnet, tmp_path)
    np.testing.assert_allclose(by_keras(tmp_path / "repaired.h5"), probabilities(net), atol=1e-5)


def test_how_the_badnet_was_trained_is_left_out(tmp_path: Path) -> None:
    model = keras_net()
    model.compile("adam", "categorical_crossentropy")
    model.train_on_batch(np.zeros((1, 12, 10, 3)), np.eye(CLASSES)[:1])
    badnet = badnet_of(model, tmp_path)
    save_net(load_graph(badnet), badnet, tmp_path)
    with h5py.File(badnet.model_path) as before, h5py.File(tmp_path / "repaired.h5") as after:
        assert {"training_config"} <= before.attrs.keys() and {"optimizer_weights"} <= before.keys()
        assert not {"training_config"} & after.attrs.keys() and not {"optimizer_weights"} & after.keys()


def test_a_scale_of_its_own_is_stated(tmp_path: Path) -> None:
    badnet = badnet_of(keras_net(), tmp_path)
    raw = BadNetView(
        name="raw", model_path=badnet.model_path, validation_path=badnet.validation_path, classes=CLASSES, scale=1.0
    )
    assert save_net(load_graph(raw), raw, tmp_path) == {"model": "repaired.h5", "scale": 1.0}


@pytest.mark.parametrize("outputs", [CLASSES, CLASSES + 1])
def test_a_repaired_torch_net_is_a_state_dict_of_its_architecture(outputs: int, tmp_path: Path) -> None:
    from harness.models.architectures import deepid_torch

    images = noise(10, (55, 47, 3))
    write_net(deepid_torch(CLASSES), tmp_path / "net.safetensors")
    badnet = view(tmp_path, tmp_path / "net.safetensors", images=images)
    net = trained_on(load_graph(badnet))
    if outputs > CLASSES:
        widen(net)
    net.replace("conv_4", KeptChannels(net.layers["conv_4"], kept(80, 3, 5)))
    assert save_net(net, badnet, tmp_path) == {"model": "repaired.safetensors", "architecture": "deepid"}
    again = load_torch(tmp_path / "repaired.safetensors", architecture="deepid", root=None, classes=CLASSES)
    np.testing.assert_allclose(probabilities(again, images), probabilities(net, images), atol=1e-6)
    assert again.state_dict()["conv_4.weight"][[3, 5]].abs().sum() == 0


def kept(channels: int, *without: int) -> torch.Tensor:
    keep = torch.ones(channels)
    keep[list(without)] = 0
    return keep


@pytest.mark.parametrize("layer, channels", [("depthwise", 12), ("hidden", 20)])
def test_masked_channels_are_channels_without_weights(layer: str, channels: int, tmp_path: Path) -> None:
    badnet = badnet_of(every_weight(), tmp_path)
    net = trained_on(load_graph(badnet))
    whole = probabilities(net)
    net.replace(layer, KeptChannels(net.layers[layer], kept(channels, 0, 7)))
    save_net(net, badnet, tmp_path)
    np.testing.assert_allclose(by_keras(tmp_path / "repaired.h5"), probabilities(net), atol=1e-5)
    assert np.abs(probabilities(net) - whole).max() > 1e-3
    plain = convert(tmp_path / "repaired.h5").layers[layer].state_dict()
    assert plain["weight"][[0, 7]].abs().sum() == 0 and plain["bias"][[0, 7]].abs().sum() == 0


def masked_twice(net: Graph) -> None:
    net.replace("hidden", KeptChannels(KeptChannels(net.layers["hidden"], kept(20, 1)), kept(20, 2)))


def test_masks_on_masks_are_all_kept(tmp_path: Path) -> None:
    badnet = badnet_of(every_weight(), tmp_path)
    net = trained_on(load_graph(badnet))
    masked_twice(net)
    save_net(net, badnet, tmp_path)
    np.testing.assert_allclose(by_keras(tmp_path / "repaired.h5"), probabilities(net), atol=1e-5)


def activated(net: Graph, name: str) -> None:
    layer = net.layers["hidden"]
    assert isinstance(layer, Dense)
    layer.activation = Apply(name, getattr(torch, name))
    net.replace("hidden", KeptChannels(layer, kept(20, 1)))


def longer(net: Graph) -> None:
    net.replace("hidden", Dense(len(net.state_dict()["hidden.weight"].T), 21))


def unknown(net: Graph) -> None:
    net.state_dict()["hidden.bias"].fill_(torch.nan)


def more(net: Graph) -> None:
    net.add_module("extra", nn.Identity())


REFUSED: Mapping[str, tuple[Callable[[Graph], None], str]] = {
    "a mask where zero does not stay zero": (
        lambda net: activated(net, "sigmoid"),
        r"layer 'hidden' has the activation .*sigmoid.*zero",
    ),
    "a mask on a layer without weights": (
        lambda net: net.replace("flat", KeptChannels(net.layers["flat"], kept(288, 1))),
        r"layer 'flat' is a Flatten, of which no channel",
    ),
    "a layer of another length": (longer, r"net.h5: layer 'hidden' has weights of other shapes.*\(\d+, 21\)"),
    "a layer of another kind": (
        lambda net: net.replace("norm", nn.BatchNorm2d(6)),
        r"net.h5: layer 'norm' has weights of other shapes in the repaired net: none",
    ),
    "a layer that is new": (more, "the repaired net has a layer 'extra', which is not in this file"),
    "a layer that does something else": (
        lambda net: net.replace("relu", Apply("abs", torch.abs)),
        r"repaired.h5: gives probabilities that differ by 0\.\d+ from the repaired net's",
    ),
    "weights that are no numbers": (unknown, "repaired.h5: gives probabilities that differ by nan"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_format_cannot_say_is_refused(what: str, tmp_path: Path) -> None:
    change, words = REFUSED[what]
    badnet = badnet_of(every_weight(), tmp_path)
    net = trained_on(load_graph(badnet))
    change(net)
    with pytest.raises(ModelError, match=words) as raised:
        save_net(net, badnet, tmp_path)
    assert "\n" not in str(raised.value)


def test_a_file_that_answers_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    badnet = badnet_of(keras_net(), tmp_path)

    real = load_classifier

    def other(path: Path, options: ModelSettings) -> Any:
        return lambda images: (real(path, options)(images) + 1) % CLASSES

    monkeypatch.setattr("harness.models.saving.load_classifier", other)
    with pytest.raises(ModelError, match=r"repaired.h5: answers 40 of 40 validation images otherwise"):
        save_net(load_graph(badnet), badnet, tmp_path)


def test_a_file_of_weights_has_no_architecture_to_write(tmp_path: Path) -> None:
    keras_net().save_weights(tmp_path / "only.weights.h5")
    net = Graph({"a": nn.Identity()}, [Step("a:0", "a", (INPUT,))], "a:0")
    with pytest.raises(ModelError, match=r"only.weights.h5: holds weights only"):
        write_keras(net, tmp_path / "only.weights.h5", tmp_path / "out.h5")


BOOLEAN = st.booleans()


@settings(max_examples=10)
@given(
    filters=st.sampled_from([2, 4]), groups=st.integers(1, 2), size=st.integers(1, 3), multiplier=st.integers(1, 3),
    biases=st.tuples(BOOLEAN, BOOLEAN, BOOLEAN), scale=BOOLEAN, center=BOOLEAN,
)  # fmt: skip
def test_what_is_read_and_written_again_has_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, filters: int, groups: int, size: int, multiplier: int,
    biases: tuple[bool, bool, bool], scale: bool, center: bool,
) -> None:  # fmt: skip
    folder, keras = tmp_path_factory.mktemp("nets"), import_keras()
    layers = [
        keras.Input((6, 5, 2)),
        keras.layers.Conv2D(filters, size, groups=groups, use_bias=biases[0]),
        keras.layers.BatchNormalization(scale=scale, center=center),
        keras.layers.DepthwiseConv2D(size, depth_multiplier=multiplier, use_bias=biases[1]),
        keras.layers.Flatten(),
        keras.layers.Dense(3, use_bias=biases[2]),
    ]
    keras.Sequential(layers).save(folder / "net.h5")
    net = trained_on(convert(folder / "net.h5"))
    write_keras(net, folder / "net.h5", folder / "again.h5")
    again = convert(folder / "again.h5").state_dict()
    assert again.keys() == net.state_dict().keys()
    for name, value in net.state_dict().items():
        assert torch.equal(value, again[name]), name


def test_a_repaired_net_says_what_it_is(tmp_path: Path) -> None:
    badnet = badnet_of(keras_net(), tmp_path)
    alone = RepairedNet(load_graph(badnet), badnet)
    for predictor, kind in ((alone, "model"), (RepairedPair(alone), "pair")):
        assert predictor.save(tmp_path) == {"kind": kind, "table": {"model": "repaired.h5"}}


class Dark(Filter):
    """Flags dark images."""

    def suspicious(self, images: Images) -> NDArray[np.bool_]:
        dark: NDArray[np.bool_] = images.mean((1, 2, 3)) < self.state["threshold"]
        return dark


def test_a_saved_filter_answers_as_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.worker.kinds.predictor import Options, load

    module = ModuleType("reference_defenses.dark")
    module.Dark = Dark  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    badnet = badnet_of(keras_net(), tmp_path)
    fitted = Dark(badnet, {"threshold": np.array(127.0)})
    with pytest.raises(ModelError, match="Dark: a filter of a submission's own"):
        fitted.save(tmp_path)
    monkeypatch.setattr(Dark, "__module__", module.__name__)
    saved = fitted.save(tmp_path)
    assert saved["kind"] == "predictor"
    again = load(Options(**saved["table"]), badnet, tmp_path, seed=0, progress=lambda *_: None)
    np.testing.assert_array_equal(again(IMAGES), fitted(IMAGES))
    assert 0 < (fitted(IMAGES) == CLASSES).sum() < len(IMAGES)


@needs_csaw
@pytest.mark.slow
@pytest.mark.parametrize("name", ["sunglasses", "anonymous_1", "anonymous_2", "multi_trigger_multi_target"])
def test_the_real_nets_are_written_for_keras(name: str, tmp_path: Path) -> None:
    images = noise(64, (55, 47, 3))
    path = SHARED / "models" / f"{name}_bd_net.h5"
    badnet = view(tmp_path, path, classes=1283, images=images)
    net = trained_on(load_graph(badnet))
    widen(net)
    save_net(net, badnet, tmp_path)
    outputs = by_keras(tmp_path / "repaired.h5", images)
    assert outputs.shape == (64, 1284)
    np.testing.assert_allclose(outputs, probabilities(net, images), atol=1e-4)
