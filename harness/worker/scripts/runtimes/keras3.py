"""The project's own Keras 3 on TensorFlow, as `keras` and as `tf.keras`."""

from pathlib import Path

ENVIRONMENT = {"KERAS_BACKEND": "tensorflow"}
FOLDERS: list[Path] = []
NEEDS: tuple[str, ...] = ()
FIX = ""
