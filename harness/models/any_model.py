"""Model files of any format as predictors, by the file's ending: a new format is one line in `FORMATS`."""

from collections.abc import Callable
from pathlib import Path

from harness.models.classifier import KerasClassifier, TorchClassifier
from harness.models.contracts import BadNetView, Predictor
from harness.models.errors import ModelError

Load = Callable[..., Predictor]


def load_keras_classifier(
    path: Path, *, classes: int, scale: float, channels: str = "rgb", architecture: str | None, root: Path | None
) -> Predictor:
    """A Keras file as a predictor; imports TensorFlow. Raises ModelError."""
    from harness.models.keras_files import load_keras

    model = load_keras(path, architecture=architecture, root=root, classes=classes)
    return KerasClassifier(model, classes=classes, scale=scale, channels=channels, name=path.name)


def load_torch_classifier(
    path: Path, *, classes: int, scale: float, channels: str = "rgb", architecture: str | None, root: Path | None
) -> Predictor:
    """A torch state dict as a predictor; imports torch. Raises ModelError."""
    from harness.models.torch_files import load_torch

    module = load_torch(path, architecture=architecture, root=root, classes=classes)
    return TorchClassifier(module, classes=classes, scale=scale, channels=channels, name=path.name)


FORMATS: dict[str, Load] = {
    ".h5": load_keras_classifier,
    ".hdf5": load_keras_classifier,
    ".keras": load_keras_classifier,
    ".pt": load_torch_classifier,
    ".pth": load_torch_classifier,
    ".safetensors": load_torch_classifier,
}


def load_classifier(
    path: Path,
    *,
    classes: int,
    scale: float,
    channels: str = "rgb",
    architecture: str | None = None,
    root: Path | None = None,
) -> Predictor:
    """A model file as a predictor: uint8 (n, H, W, C) in, int64 (n,) in 0..N out, -1 where the model gives NaN.

    scale, channels: see `KerasClassifier`. architecture, root: for files of weights. Raises ModelError.
    """
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise ModelError(f"{path.name}: no reader for the ending {ending!r}; known are {', '.join(FORMATS)}")
    try:
        return FORMATS[ending](
            path, classes=classes, scale=scale, channels=channels, architecture=architecture, root=root
        )
    except ModelError as error:  # an architecture's code does not know which file it is built for
        if str(error).startswith(path.name):
            raise
        raise ModelError(f"{path.name}: {error}", stage=error.stage) from error


def is_torch(path: Path) -> bool:
    """Whether a file's ending is one of torch's."""
    return FORMATS.get(path.suffix.lower()) is load_torch_classifier


def load_badnet(badnet: BadNetView) -> Predictor:
    """The BadNet as it is, by its own library; torch weights are read as DeepID. Raises ModelError."""
    architecture = "deepid" if is_torch(badnet.model_path) else None
    return load_classifier(badnet.model_path, classes=badnet.classes, scale=badnet.scale, architecture=architecture)
