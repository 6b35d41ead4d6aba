"""Keras .keras: a whole model, with its weights, in one archive."""

from pathlib import Path

from harness.models.classifier import Classifier
from harness.models.settings import ModelSettings
from harness.models.tensorflow_classifier import KerasClassifier

DESCRIPTION = "Keras .keras: a whole model"
ENDINGS: tuple[str, ...] = (".keras",)
MARK = None


def load(path: Path, settings: ModelSettings) -> Classifier:
    """Read the model; imports TensorFlow. Raises ModelError."""
    from harness.models.keras_files import load_keras_archive

    return KerasClassifier(load_keras_archive(path, settings), settings, name=path.name)
