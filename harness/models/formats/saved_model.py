"""A TensorFlow SavedModel: a folder with the graph and its variables, as TensorFlow and Keras of any version write."""

from pathlib import Path
from typing import Any

from harness.models.classifier import Classifier
from harness.models.errors import ModelError, in_one_line
from harness.models.settings import ModelSettings
from harness.models.tensorflow_classifier import TensorFlowClassifier

DESCRIPTION = "a TensorFlow SavedModel folder"
ENDINGS: tuple[str, ...] = ()
MARK = "saved_model.pb"
USUAL = ("serving_default", "serve")
"""Names of the signature that Keras and TensorFlow write for inference."""


def load(path: Path, settings: ModelSettings) -> Classifier:
    """Read the model: the function it serves, else what is called when it is called. Raises ModelError."""
    from harness.models.quiet import import_tensorflow

    tensorflow = import_tensorflow()
    try:
        loaded = tensorflow.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises whatever a stranger's file makes it raise
        raise ModelError(
            f"{path.name}: not a whole SavedModel folder; save it again and copy all of it, variables/ too "
            f"({in_one_line(error, 150)})"
        ) from error
    signatures = dict(loaded.signatures)
    if signatures:
        return _served(_chosen(signatures, path), loaded, settings, path)
    if not callable(loaded):
        raise ModelError(f"{path.name}: serves no function; save it with model.export(...) or with signatures=...")
    return TensorFlowClassifier(loaded, settings, name=path.name, shape=(None,) * 4)


def _served(function: Any, loaded: Any, settings: ModelSettings, path: Path) -> Classifier:
    inputs, outputs = function.structured_input_signature[1], function.structured_outputs
    for what, found in (("inputs", inputs), ("outputs", outputs)):
        if len(found) != 1:
            raise ModelError(
                f"{path.name}: has {len(found)} {what} ({', '.join(sorted(found))}); one each is expected: images in, "
                "one row of outputs an image out"
            )
    [(given, spec)], [result] = inputs.items(), outputs
    shape = (None,) * 4 if spec.shape.rank is None else tuple(spec.shape)

    def run(x: Any) -> Any:
        assert loaded is not None  # holds the variables, which the function alone would let go
        return function(**{given: x})[result]

    return TensorFlowClassifier(run, settings, name=path.name, shape=shape, dtype=spec.dtype.name)


def _chosen(signatures: dict[str, Any], path: Path) -> Any:
    for name in (*USUAL, *(signatures if len(signatures) == 1 else ())):
        if name in signatures:
            return signatures[name]
    raise ModelError(
        f"{path.name}: serves {', '.join(sorted(signatures))}; save it with one signature, or one called {USUAL[0]}"
    )
