"""ONNX, run by onnxruntime on the processor."""

from pathlib import Path
from typing import Any

from harness.models.array_classifier import BATCH, ArrayClassifier
from harness.models.classifier import Classifier, Parts, Shape
from harness.models.errors import ModelError, in_one_line
from harness.models.settings import ModelSettings

DESCRIPTION = "ONNX"
ENDINGS: tuple[str, ...] = (".onnx",)
MARK = None
WEIGHTS = "External data path"
"""What onnxruntime complains of where that is missing or absolute, or leads out of the folder, by a link too."""
DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
}


def load(path: Path, settings: ModelSettings) -> Classifier:
    """Read the graph, and the file of its weights where they stand beside it. Raises ModelError."""
    session = _session(path)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        names = f"{', '.join(i.name for i in inputs)} -> {', '.join(o.name for o in outputs)}"
        raise ModelError(
            f"{path.name}: has {len(inputs)} inputs and {len(outputs)} outputs ({names}); one each is expected: images "
            "in, one row of outputs an image out"
        )
    given, result = inputs[0], outputs[0].name
    if given.type not in DTYPES:
        raise ModelError(f"{path.name}: takes {given.type}; one of {', '.join(DTYPES)} is expected")
    lengths: Shape = tuple(length if isinstance(length, int) else None for length in given.shape or [None] * 4)
    return ArrayClassifier(
        lambda x: session.run([result], {given.name: x})[0],
        settings,
        name=path.name,
        usual_layout="nchw",
        shape=lengths[1:],
        parts=Parts.of_batch(lengths[0], largest=BATCH),
        dtype=DTYPES[given.type],
    )


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f"{path.name}: ONNX needs a package that is not installed; pip install 'badnet-harness[onnx]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # only what is fatal, which is raised too
    # Threads that spin while they wait starve whatever else runs on the machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises whatever a stranger's file makes it raise
        if WEIGHTS in str(error):
            raise ModelError(
                f"{path.name}: names weights in a file that is missing or outside its folder; copy the file along, or "
                "export it again with its weights beside it"
            ) from error
        raise ModelError(
            f"{path.name}: not an ONNX file that onnxruntime {onnxruntime.__version__} can read, or cut short "
            f"({path.stat().st_size} bytes); export it again ({in_one_line(error, 150)})"
        ) from error
