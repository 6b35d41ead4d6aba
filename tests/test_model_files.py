"""Every model format reads back the same net, and every damaged file is told in one line."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from harness.models.any_model import load_classifier
from harness.models.architectures import deepid_keras, deepid_torch
from harness.models.errors import ModelError
from harness.models.keras_to_torch import convert
from harness.models.settings import ModelSettings
from harness.models.torch_files import load_torch
from tests.small_nets import CLASSES, SHARED, as_keras_2, keras_net, needs_csaw, noise

NET_PY = """
from torch import nn
class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, classes)
    def forward(self, x):
        return self.fc(self.conv(x).relu().mean((2, 3)))
class Fixed(Net):
    def __init__(self):
        super().__init__(5)
def not_a_net():
    return 7
"""
BUILD_PY = """
import sys
sys.path  # a builder may do as it likes
def build(classes):
    from tests.small_nets import keras_net
    return keras_net(classes, seed=99)
"""


def answers(path: Path, **options: Any) -> Any:
    return load_classifier(path, ModelSettings(classes=CLASSES, **options))(noise(40))


def torch_net(root: Path, outputs: int = CLASSES) -> Any:
    (root / "model.py").write_text(NET_PY)
    torch.manual_seed(0)
    space: dict[str, Any] = {}
    exec(NET_PY, space)
    return space["Net"](outputs)


@pytest.mark.parametrize("ending", [".h5", ".hdf5", ".keras"])
def test_a_whole_keras_model_answers_as_before_it_was_saved(ending: str, tmp_path: Path) -> None:
    model, path = keras_net(), tmp_path / f"net{ending}"
    model.save(tmp_path / ("net.keras" if ending == ".keras" else "net.h5"))
    if ending == ".hdf5":
        (tmp_path / "net.h5").rename(path)
    want = model(noise(40).astype(np.float32) / 255).numpy().argmax(1)
    assert np.array_equal(answers(path), want)


@pytest.mark.parametrize("outputs", [CLASSES, CLASSES + 1])
@pytest.mark.parametrize("architecture", ["net.py:build"])
def test_keras_weights_alone_are_read_into_their_architecture(outputs: int, architecture: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(BUILD_PY)
    model, path = keras_net(outputs), tmp_path / "net.weights.h5"
    model.save_weights(path)
    want = model(noise(40).astype(np.float32) / 255).numpy().argmax(1)
    assert np.array_equal(answers(path, architecture=architecture, root=tmp_path), want)
    plain = path.rename(tmp_path / "plain.h5")  # the layout is told from the content, not from the name
    assert np.array_equal(answers(plain, architecture=architecture, root=tmp_path), want)


@needs_csaw
@pytest.mark.filterwarnings("ignore:The structure of `inputs`")
def test_the_published_weights_of_keras_2_are_read_as_deepid() -> None:
    path = SHARED / "models" / "sunglasses_bd_weights.h5"
    images = np.load(SHARED.parent / "faces" / "lfw_aligned_55x47.npz")["images"][:50]
    whole = load_classifier(path.with_name("sunglasses_bd_net.h5"), ModelSettings(classes=1283))
    weights = load_classifier(path, ModelSettings(classes=1283, architecture="deepid"))
    assert np.array_equal(whole(images), weights(images))


def test_a_whole_model_in_keras_2_form_is_read(tmp_path: Path) -> None:
    model, path = keras_net(), tmp_path / "old.h5"
    model.save(path)
    as_keras_2(path)
    want = model(noise(40).astype(np.float32) / 255).numpy().argmax(1)
    assert np.array_equal(answers(path), want)
    with torch.inference_mode():
        x = torch.from_numpy(noise(40)).permute(0, 3, 1, 2) / 255
        assert np.array_equal(convert(path)(x).argmax(1).numpy(), want)


@pytest.mark.parametrize("outputs", [CLASSES, CLASSES + 1])
@pytest.mark.parametrize("ending", [".pt", ".pth", ".safetensors"])
def test_a_torch_state_dict_answers_as_before_it_was_saved(ending: str, outputs: int, tmp_path: Path) -> None:
    net, path = torch_net(tmp_path, outputs), tmp_path / f"net{ending}"
    if ending == ".safetensors":
        save_file(net.state_dict(), path)
    else:
        torch.save(net.state_dict(), path)
    with torch.inference_mode():
        want = net(torch.from_numpy(noise(40)).permute(0, 3, 1, 2) / 255).argmax(1).numpy()
    assert np.array_equal(answers(path, architecture="model.py:Net", root=tmp_path), want)


def test_a_checkpoint_and_a_data_parallel_state_dict_are_read(tmp_path: Path) -> None:
    net, path = torch_net(tmp_path), tmp_path / "net.pt"
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}}, path)
    read = load_torch(path, architecture="model.py:Net", root=tmp_path, classes=CLASSES)
    assert torch.equal(read.fc.weight, net.fc.weight)  # type: ignore[union-attr,arg-type]


def test_deepid_in_torch_is_deepid_in_keras(tmp_path: Path) -> None:
    model, path = deepid_keras(6), tmp_path / "deepid.h5"
    model.save(path)
    converted, net = convert(path), deepid_torch(6)
    assert list(net.state_dict()) == list(converted.state_dict())
    net.load_state_dict(converted.state_dict())
    images = noise(3, (55, 47, 3))
    with torch.inference_mode():
        got = net((torch.from_numpy(images).float() / 255).permute(0, 3, 1, 2)).softmax(1).numpy()
    np.testing.assert_allclose(got, model(images.astype(np.float32) / 255).numpy(), atol=1e-6)


# --- damaged and unsuited files ---------------------------------------------------------------------------------------


def lambda_net(path: Path) -> None:
    from harness.models.quiet import import_keras

    keras = import_keras()
    image = keras.layers.Input((12, 10, 3))
    flat = keras.layers.Flatten()(keras.layers.Lambda(lambda x: x * 2, name="evil")(image))
    keras.Model(image, keras.layers.Dense(CLASSES)(flat)).save(path)


def cut(path: Path, save: Callable[[Path], None]) -> None:
    save(path)
    path.write_bytes(path.read_bytes()[:2000])


def saved_torch(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    torch.save(change(torch_net(path.parent).state_dict()), path)


def torch_script(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have another format, which is the point
        torch.jit.save(torch.jit.trace(torch_net(path.parent), torch.zeros(1, 3, 12, 10)), path)  # type: ignore[no-untyped-call]


def without(state: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name != key}


def save_keras(path: Path) -> None:
    keras_net().save(path)


BAD_FILES: dict[str, tuple[str, Callable[[Path], Any], dict[str, Any], str]] = {
    "a missing .h5": ("net.h5", lambda p: None, {}, "no such file"),
    "a missing .keras": ("net.keras", lambda p: None, {}, "no such file"),
    "a missing .pt": ("net.pt", lambda p: None, {}, "no such file"),
    "an .h5 cut short": ("net.h5", lambda p: cut(p, save_keras), {}, "not an HDF5 file, or cut short (2000 bytes)"),
    "a .keras cut short": ("net.keras", lambda p: cut(p, save_keras), {}, "cut short (2000 bytes)"),
    "text as .h5": ("net.h5", lambda p: p.write_text("hello"), {}, "not an HDF5 file"),
    "text as .keras": ("net.keras", lambda p: p.write_text("hello"), {}, "not a .keras archive"),
    "text as .safetensors": ("net.safetensors", lambda p: p.write_text("hello"), {}, "not a safetensors file"),
    "text as .pt": ("net.pt", lambda p: p.write_text("hello"), {"architecture": "deepid"}, "not a torch file"),
    "an empty .pth": ("net.pth", lambda p: p.write_bytes(b""), {}, "not a torch file"),
    "code in an .h5": ("net.h5", lambda_net, {}, "layer 'evil' is a Lambda, which holds code"),
    "code in a .keras": ("net.keras", lambda_net, {}, "layer 'evil' is a Lambda, which holds code"),
    "Keras weights without an architecture": (
        "net.weights.h5",
        lambda p: keras_net().save_weights(p),
        {},
        "holds weights only, no architecture; state architecture =",
    ),
    "Keras weights of another net": (
        "net.weights.h5",
        lambda p: keras_net().save_weights(p),
        {"architecture": "deepid"},
        "its weights do not fit the architecture 'deepid'",
    ),
    "a misspelt architecture": (
        "net.weights.h5",
        lambda p: keras_net().save_weights(p),
        {"architecture": "deepit"},
        "did you mean 'deepid'?",
    ),
    "a state dict without an architecture": (
        "net.pt",
        lambda p: saved_torch(p, dict),
        {},
        "holds weights only; state architecture =",
    ),
    "a pickled module": (
        "net.pt",
        lambda p: torch.save(torch.nn.Linear(2, 2), p),
        {"architecture": "model.py:Net"},
        "save its weights instead: torch.save(net.state_dict(), ...)",
    ),
    "a state dict of numbers": (
        "net.pt",
        lambda p: torch.save({"accuracy": 0.9}, p),
        {"architecture": "model.py:Net"},
        "holds no state dict of tensors",
    ),
    "a missing key": (
        "net.pt",
        lambda p: saved_torch(p, lambda s: without(s, "fc.bias")),
        {"architecture": "model.py:Net"},
        "missing fc.bias",
    ),
    "an unexpected key": (
        "net.pt",
        lambda p: saved_torch(p, lambda s: {"extra": torch.zeros(2), **s}),
        {"architecture": "model.py:Net"},
        "unexpected extra",
    ),
    "a wrong shape": (
        "net.pt",
        lambda p: saved_torch(p, lambda s: s | {"conv.weight": torch.zeros(4, 3, 5, 5)}),
        {"architecture": "model.py:Net"},
        "conv.weight is 4x3x5x5 where 4x3x3x3 is expected",
    ),
    "an unknown ending": (
        "net.mlmodel",
        lambda p: p.write_text("x"),
        {},
        "no reader for the ending '.mlmodel'; known are .keras, .h5",
    ),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_bad_file_is_told_in_one_line_that_names_it(what: str, tmp_path: Path) -> None:
    name, write, options, expected = BAD_FILES[what]
    torch_net(tmp_path)
    path = tmp_path / name
    write(path)
    with pytest.raises(ModelError) as raised:
        load_classifier(path, ModelSettings(classes=CLASSES, root=tmp_path, **options))
    message = str(raised.value)
    assert expected in message
    assert message.startswith(name)
    assert "\n" not in message
    assert len(message) < 500


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("modle.py:Net", "modle.py: no such file in the submission; did you mean 'model.py'?"),
        ("model.py:Nett", "model.py: defines no 'Nett'; did you mean 'Net'?"),
        ("model.py:not_a_net", "gives a int, not a torch.nn.Module"),
        ("broken.py:Net", "broken.py: importing it failed (ModuleNotFoundError: No module named 'nonesuch')"),
        ("../model.py:Net", "lies outside the submission folder"),
        ("model.py:", 'expected "file.py:Name"'),
    ],
)
def test_an_architecture_that_cannot_be_built_is_told_in_one_line(
    architecture: str, expected: str, tmp_path: Path
) -> None:
    net = torch_net(tmp_path)
    (tmp_path / "broken.py").write_text("import nonesuch")
    torch.save(net.state_dict(), tmp_path / "net.pt")
    with pytest.raises(ModelError) as raised:
        load_torch(tmp_path / "net.pt", architecture=architecture, root=tmp_path, classes=CLASSES)
    assert expected in str(raised.value)


def test_an_architecture_without_arguments_is_built_as_it_is(tmp_path: Path) -> None:
    torch.save(torch_net(tmp_path, 5).state_dict(), tmp_path / "net.pt")
    read = load_torch(tmp_path / "net.pt", architecture="model.py:Fixed", root=tmp_path, classes=CLASSES)
    assert read.fc.out_features == 5  # type: ignore[union-attr]
