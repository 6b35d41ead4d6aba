"""Keras 2, which lives on as the package tf_keras, under the names `keras` and `tf.keras`."""

from pathlib import Path

ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1"}
FOLDERS = [Path(__file__).resolve().parent / "keras2_modules"]
NEEDS: tuple[str, ...] = ("tf_keras", "tensorflow_model_optimization")
FIX = "run `make keras2`"
