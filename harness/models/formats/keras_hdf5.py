"""Keras .h5: a whole model of Keras 2 or 3, or weights with an architecture."""

from pathlib import Path

from harness.models.classifier import Classifier
from harness.models.settings import ModelSettings
from harness.models.tensorflow_classifier import KerasClassifier

DESCRIPTION = "Keras .h5: a whole model of Keras 2 or 3, or weights with an architecture"
ENDINGS: tuple[str, ...] = (".h5", ".hdf5")
MARK = None


def load(path: Path, settings: ModelSettings) -> Classifier:
    """Read the model; imports TensorFlow. Raises ModelError."""
    from harness.models.keras_files import load_keras

    return KerasClassifier(load_keras(path, settings), settings, name=path.name)
