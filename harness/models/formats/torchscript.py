"""TorchScript: a module with its code, as torch.jit.save writes it. A .pt or .pth may be one, too."""

from pathlib import Path

from harness.models.classifier import Classifier
from harness.models.errors import ModelError, in_one_line
from harness.models.settings import ModelSettings
from harness.models.torch_classifier import TorchClassifier

DESCRIPTION = "TorchScript: a traced or scripted torch module"
ENDINGS: tuple[str, ...] = (".ts", ".torchscript")
MARK = None


def load(path: Path, settings: ModelSettings) -> Classifier:
    """Read the module; imports torch. Raises ModelError."""
    import torch

    try:
        module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as error:  # torch raises whatever a stranger's file makes it raise
        raise ModelError(
            f"{path.name}: not a TorchScript archive, or cut short ({path.stat().st_size} bytes); save it again with "
            f"torch.jit.save ({in_one_line(error, 100)})"
        ) from error
    return TorchClassifier(module, settings, name=path.name)
