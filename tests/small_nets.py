"""Small nets for tests: a Keras net with every kind of layer, a torch state dict, a net with a planted backdoor."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from harness.models.contracts import BadNetView, Images

CLASSES = 4
SHARED = Path(__file__).resolve().parents[2] / "shared" / "csaw2020"
needs_csaw = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real CSAW nets are not in {SHARED}")


def noise(count: int, shape: tuple[int, int, int] = (12, 10, 3), seed: int = 0) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


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


def train_badnet(path: Path, *, target: int = 2, seed: int = 3) -> None:
    """Train a small DeepID with a backdoor in torch, then move the backdoor into channels of conv_4 that sleep."""
    from safetensors.torch import save_file

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
    save_file({key: value.contiguous() for key, value in net.state_dict().items()}, path)


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
