"""Torch .pt, .pth and .safetensors: weights with an architecture; .pt and .pth may be TorchScript, too."""

from pathlib import Path

from harness.models.classifier import Classifier
from harness.models.formats import torchscript
from harness.models.settings import ModelSettings
from harness.models.torch_classifier import TorchClassifier

DESCRIPTION = "torch weights with an architecture: a state dict, .safetensors; or, if allowed, a pickled module"
ENDINGS: tuple[str, ...] = (".pt", ".pth", ".safetensors")
MARK = None


def load(path: Path, settings: ModelSettings) -> Classifier:
    """Read the module, by the file's content; imports torch. Raises ModelError."""
    from harness.models.torch_files import is_torchscript, load_module

    if is_torchscript(path):
        return torchscript.load(path, settings)
    return TorchClassifier(load_module(path, settings), settings, name=path.name)
