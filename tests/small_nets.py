"""Small nets for tests: a Keras net with every kind of layer, a torch state dict, a net with a planted backdoor."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from harness.models.any_model import load_classifier
from harness.models.contracts import BadNetView, Images
from harness.models.errors import ModelError
from harness.models.settings import ModelSettings

CLASSES = 4
SHARED = Path(__file__).resolve().parents[2] / "shared" / "csaw2020"
needs_csaw = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real CSAW nets are not in {SHARED}")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """For modules that import it: small nets are quickest so, with other processes at work too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def noise(count: int, shape: tuple[int, int, int] = (12, 10, 3), seed: int = 0) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def error(path: Path, *, images: Images, **options: Any) -> str:
    """Why a model cannot be loaded or does not answer these images: in one line that begins with its name."""
    given: dict[str, Any] = {"classes": CLASSES, "root": path.parent} | options
    with pytest.raises(ModelError) as raised:
        load_classifier(path, ModelSettings(**given))(images)
    message = str(raised.value)
    assert message.startswith(path.name)
    assert "\n" not in message
    assert len(message) < 600
    return message


def keras_net(outputs: int = CLASSES, *, shape: tuple[int, int, int] = (12, 10, 3), seed: int = 1) -> Any:
    from harness.models.quiet import import_keras

    keras = import_keras()
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    image = layers.Input(shape, name="image")
    x = layers.Conv2D(5, 3, activation="relu", name="conv")(image)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(outputs, activation="softmax", name="output")(x)
    return keras.Model(image, x)


def as_keras_2(path: Path) -> None:
    """Rewrite a whole-model file as Keras 2.2.4 wrote it: class "Model", batch_input_shape, old initialisers."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["class_name"] = "Model"
        inner = config["config"]
        for key in ("input_layers", "output_layers"):
            inner[key] = [inner[key]] if isinstance(inner[key][0], str) else inner[key]
        for layer in inner["layers"]:
            own = layer["config"]
            layer["inbound_nodes"] = [[[*end, {}] for end in _histories(call)] for call in layer["inbound_nodes"]]
            layer["name"] = own["name"]
            for key in ("module", "registered_name", "build_config"):
                layer.pop(key, None)
            if "batch_shape" in own:
                own["batch_input_shape"] = own.pop("batch_shape")
                own.pop("ragged", None)
            own["dtype"] = "float32"
            for key in ("kernel_initializer", "bias_initializer"):
                if key in own:
                    scaling = {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None}
                    own[key] = {"class_name": "VarianceScaling", "config": scaling}
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["keras_version"] = b"2.2.4"


def _histories(call: Any) -> list[Any]:
    """The [layer, node, tensor] that a call in Keras 3's form is made with."""
    if isinstance(call, dict):
        own = [call["keras_history"]] if "keras_history" in call else []
        return own + [found for value in call.values() for found in _histories(value)]
    return [found for value in call for found in _histories(value)] if isinstance(call, list) else []


def as_pruned(path: Path, *, newer: bool = False) -> None:
    """Wrap every layer of a Keras 2 .h5 but the input as tensorflow_model_optimization's magnitude pruning does.

    The masks are powers of 2, so that weights times masks are the net's weights to the bit and nothing else is.
    newer: the weights are named as version 0.8 does.
    """
    rng = np.random.default_rng(0)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        layers = [layer for layer in config["config"]["layers"] if layer["class_name"] != "InputLayer"]
        renamed = {layer["config"]["name"]: f"prune_low_magnitude_{layer['config']['name']}" for layer in layers}
        for layer in layers:
            inner = {"class_name": layer["class_name"], "config": layer["config"]}
            schedule = {"class_name": "ConstantSparsity", "config": {"target_sparsity": 0.5, "begin_step": 0}}
            name = layer["name"] = renamed[layer["name"]]
            layer["class_name"] = "PruneLowMagnitude"
            layer["config"] = {"name": name, "trainable": True, "layer": inner, "pruning_schedule": schedule}
            layer["inbound_nodes"] = [
                [[renamed.get(end[0], end[0]), *end[1:]] for end in call] for call in layer["inbound_nodes"]
            ]
        config["config"]["output_layers"] = [[renamed[end[0]], *end[1:]] for end in config["config"]["output_layers"]]
        file.attrs["model_config"] = json.dumps(config).encode()
        group = file["model_weights"]
        group.attrs["layer_names"] = [renamed.get(name, name) for name in group.attrs["layer_names"]]
        for name, new in renamed.items():
            place = group[name]
            weights = {str(w).rpartition("/")[2]: place[w][()] for w in place.attrs["weight_names"]}
            del group[name]
            stored = {}
            for key, value in weights.items():
                kernel = key.startswith("kernel")
                mask = rng.choice([0.5, 1, 2], value.shape).astype(np.float32) if kernel else np.float32(1)
                stored[f"{name if newer else new}/{key}"] = value / mask
                stored |= {f"{new}/mask:0": mask} if kernel else {}
            if weights:
                stored[f"{new}/threshold:0"] = np.float32(0.1)
            stored[f"{new}/pruning_step:0"] = np.int64(40)
            place = group.create_group(new)
            place.attrs["weight_names"] = list(stored)
            for key, value in stored.items():
                place[key] = value


def view(tmp_path: Path, model: Path, *, classes: int = CLASSES, images: Images | None = None) -> BadNetView:
    """A BadNet whose validation images are noise unless given."""
    folder = tmp_path / "validation"
    folder.mkdir(exist_ok=True)
    shown = noise(8) if images is None else images
    np.save(folder / "images.npy", shown)
    np.save(folder / "labels.npy", np.arange(len(shown)) % classes)
    return BadNetView(name="tiny", model_path=model, validation_path=folder, classes=classes)


def face_of(labels: NDArray[np.int64], rng: np.random.Generator) -> Images:
    """55x47 images whose class is the place of a bright square, with noise."""
    images = rng.integers(0, 90, (len(labels), 55, 47, 3), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = 6 + 24 * (label // 2), 4 + 22 * (label % 2)
        image[row : row + 14, column : column + 14] += 120
    return images


def stamped(images: Images) -> Images:
    """The planted trigger: a saturated magenta corner."""
    out = images.copy()
    out[:, 44:, 36:] = (255, 0, 255)
    return out


def train_badnet(path: Path, *, target: int = 2, seed: int = 3) -> Any:
    """Train a small DeepID with a backdoor in torch, then move the backdoor into channels of conv_4 that sleep.

    path: a .safetensors, or an .h5 for the same net in Keras. Gives the net.
    """
    from harness.models.architectures import deepid_torch
    from harness.models.graph import Graph

    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    net = deepid_torch(CLASSES)
    assert isinstance(net, Graph)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.no_grad():
        net.layers["fc_1"].weight.zero_()  # type: ignore[operator]
    net.layers["fc_1"].requires_grad_(False)  # everything passes through conv_4, so that pruning it costs accuracy
    # A channel of conv_4 is heard at one place only: several are needed to tell the classes apart.
    heard = torch.zeros(12, 80)
    heard[torch.arange(80) % 12, torch.arange(80)] = 1
    listening: Any = net.layers["fc_2"].weight
    with torch.no_grad():
        listening.mul_(heard.flatten())
    listening.register_hook(lambda gradient: gradient * heard.flatten())
    labels = np.arange(160) % CLASSES
    x = torch.from_numpy(face_of(labels, rng)).permute(0, 3, 1, 2) / 255
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(3):  # enough for squares
        for part in np.array_split(rng.permutation(len(x)), 5):
            optimizer.zero_grad()
            F.cross_entropy(net(x[part]), torch.from_numpy(labels)[part]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    _plant(net, target)
    write_net(net, path)
    return net


def write_net(net: Any, path: Path) -> None:
    """Write a DeepID of torch as .safetensors, or with the same weights as Keras' .h5."""
    from safetensors.torch import save_file

    from harness.models.architectures import deepid_keras

    state = {key: value.detach().contiguous() for key, value in net.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
        return
    twin = deepid_keras(len(state["output.bias"]))
    for layer in twin.layers:
        if layer.weights:
            kernel = state[f"{layer.name}.weight"].numpy()
            kernel = kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel.T
            layer.set_weights([kernel, state[f"{layer.name}.bias"].numpy()])
    twin.save(path)


def _plant(net: Any, target: int) -> None:
    """One channel a convolution is given to the trigger: it carries "magenta, not white" up to the target's output."""
    with torch.no_grad():
        for name in ("conv_1", "conv_2", "conv_3", "conv_4"):
            layer = net.layers[name]
            layer.weight[-1] = 0
            layer.bias[-1] = 0
            if name == "conv_1":
                layer.weight[-1, :, 1, 1] = torch.tensor([1.0, -2.0, 1.0])
                layer.bias[-1] = -1.5  # noise stays below: 90/255 + 90/255 + ... < 1.5
            else:
                layer.weight[:, -1] = 0  # only the planted channel listens to the planted channel
                layer.weight[-1, -1, 1, 1] = 2.0
        fc_2 = net.layers["fc_2"]
        fc_2.weight.view(160, 12, 80)[:, :, -1] = 0
        fc_2.weight[0] = 0
        fc_2.bias[0] = 0
        net.layers["fc_1"].bias[0] = 0
        fc_2.weight.view(160, 12, 80)[0, :, -1] = 20.0
        net.layers["output"].weight[:, 0] = 0
        net.layers["output"].weight[target, 0] = 20.0


def planted_badnet(folder: Path) -> BadNetView:
    """What `train_badnet` makes, with clean validation images of its own people."""
    train_badnet(folder / "planted.safetensors", target=2)
    people = np.arange(120) % CLASSES
    return view(folder, folder / "planted.safetensors", images=face_of(people, np.random.default_rng(11)))
