"""Pickled objects, for which a submission has to state `unsafe_pickle = true`: detectors, models, whole modules."""

import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.models.array_classifier import ArrayClassifier
from harness.models.classifier import Classifier
from harness.models.errors import ModelError
from harness.models.formats import torch_weights
from harness.models.pickles import unpickling
from harness.models.settings import ModelSettings
from harness.models.tensorflow_classifier import KerasClassifier
from harness.models.torch_classifier import TorchClassifier

DESCRIPTION = "a pickled object with predict(images), if allowed: pickle or joblib"
ENDINGS: tuple[str, ...] = (".pkl", ".pickle", ".joblib")
MARK = None


def load(path: Path, settings: ModelSettings) -> Classifier:
    """Unpickle the object: it takes float images in `settings.layout`, (n, H, W, C) unless said. Raises ModelError.

    It gives (n,) class numbers or (n, outputs) rows. A torch module or a Keras model is one as if from its own file.
    """
    if zipfile.is_zipfile(path):  # torch.save under another name
        return torch_weights.load(path, settings)
    if not settings.unsafe_pickle:
        raise ModelError(
            f"{path.name}: a pickle, which may run code as it is read; state unsafe_pickle = true, or save a net's "
            "weights in a format of its library"
        )
    read = _reader(path)
    with unpickling(path, settings):
        found = read(path)
    if (torch := sys.modules.get("torch")) and isinstance(found, torch.nn.Module):
        return TorchClassifier(found, settings, name=path.name)
    if (keras := sys.modules.get("keras")) and isinstance(found, keras.Model):
        return KerasClassifier(found, settings, name=path.name)
    predict = getattr(found, "predict", found)
    if not callable(predict):
        raise ModelError(
            f"{path.name}: holds a {type(found).__name__}, which has no predict(images) and is no function"
        )
    return ArrayClassifier(predict, settings, name=path.name, usual_layout="nhwc", numbers=True)


def _reader(path: Path) -> Callable[[Path], Any]:
    if path.suffix.lower() != ".joblib":
        return _unpickle
    try:
        import joblib
    except ImportError as error:
        raise ModelError(
            f"{path.name}: joblib is not installed; save the object with pickle instead, as a .pkl"
        ) from error
    read: Callable[[Path], Any] = joblib.load
    return read


def _unpickle(path: Path) -> Any:
    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301 - stated by the submission, and in the sandbox
