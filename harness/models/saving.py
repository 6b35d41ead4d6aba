"""Writes a repaired net as the BadNet's own format has it, and shows that the file answers as the net does."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.models.any_model import is_torch, load_classifier
from harness.models.contracts import BadNetView, Images
from harness.models.errors import ModelError
from harness.models.folding import fold
from harness.models.graph import Graph
from harness.models.keras_to_torch import convert
from harness.models.keras_writer import write_keras
from harness.models.settings import ModelSettings
from harness.models.torch_files import load_torch

ARCHITECTURE = "deepid"
"""What the weights of a torch BadNet are for."""
USUAL_SCALE = 255.0
COMPARED = 1024
"""Validation images that the net and its file both answer."""
BATCH = 64
TOLERANCE = 1e-4
"""Of probabilities; and of logits, beside the largest of an image: the nearest that two libraries' sums are sure to lie."""


def save_net(net: Graph, badnet: BadNetView, folder: Path) -> dict[str, Any]:
    """Write `repaired.h5` or `repaired.safetensors` into `folder`; what a submission's table says of it.

    net: the BadNet's layers with other weights, giving N logits or N+1. Raises ModelError where it cannot be told in
    the BadNet's format, and where the file, read as a competitor's is, does not answer validation images as the net does.
    """
    table: dict[str, Any] = {}
    if is_torch(badnet.model_path):
        path = folder / "repaired.safetensors"
        _write_torch(net, path)
        table["architecture"] = ARCHITECTURE
    else:
        path = folder / "repaired.h5"
        write_keras(net, badnet.model_path, path)
    if badnet.scale != USUAL_SCALE:
        table["scale"] = badnet.scale
    _refuse_difference(net, path, badnet)
    return {"model": path.name, **table}


def _write_torch(net: Graph, path: Path) -> None:
    from safetensors.torch import save_file

    # Contiguous clones: safetensors writes no views, and no tensor that shares its memory.
    save_file({name: it.detach().cpu().contiguous().clone() for name, it in fold(net).state_dict().items()}, path)


def _refuse_difference(net: Graph, path: Path, badnet: BadNetView) -> None:
    """Raise ModelError unless the file answers as the net does, but for ties, and gives the same probabilities."""
    stored = np.load(badnet.validation_path / "images.npy", mmap_mode="r")
    images = stored[np.linspace(0, len(stored) - 1, min(len(stored), COMPARED)).astype(np.int64)]
    architecture = ARCHITECTURE if is_torch(path) else None
    settings = ModelSettings(classes=badnet.classes, scale=badnet.scale, architecture=architecture)
    again = (
        load_torch(path, architecture=architecture, root=None, classes=badnet.classes)
        if is_torch(path)
        else convert(path)
    )
    before, after = _logits(net, images, badnet.scale), _logits(again, images, badnet.scale)
    answers = load_classifier(path, settings)(images)
    if before.shape != after.shape:
        raise ModelError(f"{path.name}: has {after.shape[1]} outputs where the repaired net has {before.shape[1]}")
    apart = float((before.softmax(1) - after.softmax(1)).abs().max())
    if not apart <= TOLERANCE:  # NaN is no parity either
        raise ModelError(f"{path.name}: gives probabilities that differ by {apart:.2g} from the repaired net's")
    largest, second = before.topk(2).values.T
    sure = (largest - second > TOLERANCE * before.abs().amax(1).clamp(min=1)).numpy()
    if wrong := int((answers != before.argmax(1).numpy())[sure].sum()):
        raise ModelError(
            f"{path.name}: answers {wrong} of {len(images)} validation images otherwise than the repaired net"
        )


@torch.inference_mode()
def _logits(net: nn.Module, images: Images, scale: float) -> Tensor:
    net.eval()
    parts = [
        net((torch.from_numpy(np.ascontiguousarray(images[start : start + BATCH])).float() / scale).permute(0, 3, 1, 2))
        for start in range(0, len(images), BATCH)
    ]
    return torch.cat(parts)
