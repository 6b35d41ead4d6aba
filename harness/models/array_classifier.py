"""Models behind a function of arrays as predictors: ONNX, and pickled objects."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.models.classifier import ANY_SHAPE, INVALID, Classifier, Parts, Shape
from harness.models.contracts import Images
from harness.models.errors import ModelError, in_one_line
from harness.models.settings import ModelSettings

BATCH = 64
"""Images at once: the activations of more fall out of the processor's cache."""


class ArrayClassifier(Classifier):
    """A function of one array as a predictor."""

    def __init__(
        self,
        run: Callable[[NDArray[Any]], Any],
        settings: ModelSettings,
        *,
        name: str,
        usual_layout: str,
        shape: Shape = ANY_SHAPE,
        parts: Parts | None = None,
        dtype: str = "float32",
        numbers: bool = False,
    ) -> None:
        """Set the function to answer.

        run: scaled images in; (n, outputs) out, or with `numbers` also (n,) class numbers. usual_layout, shape, parts, dtype:
        of its input. name: of the file, for errors. Raises ModelError where it takes no images.
        """
        self.dtype = np.dtype(dtype)
        super().__init__(
            settings,
            name=name,
            usual_layout=usual_layout,
            shape=shape,
            parts=parts or Parts(1, BATCH),
            whole=None if self.dtype.kind == "f" else dtype,
        )
        self.run, self.numbers = run, numbers

    def answer(self, images: Images) -> NDArray[np.int64]:
        """Answer one part of a batch."""
        x = np.ascontiguousarray(images if self.layout == "nhwc" else images.transpose(0, 3, 1, 2))
        try:
            outputs = np.asarray(self.run((x.astype(np.float32) / np.float32(self.scale)).astype(self.dtype)))
        except ModelError:
            raise
        except Exception as error:  # a stranger's model may raise anything
            raise ModelError(f"{self.name}: cannot be run ({in_one_line(error)})", stage="answer") from error
        number = outputs.dtype.kind in "iuf"
        if number and self.numbers and outputs.shape == (len(images),):
            return _whole(outputs)
        if not number or outputs.ndim != 2 or len(outputs) != len(images):
            wanted = "one class number or one row of outputs" if self.numbers else "one row of outputs"
            raise ModelError(
                f"{self.name}: gives {outputs.dtype} {outputs.shape} for {len(images)} images; {wanted} an image is "
                "expected",
                stage="answer",
            )
        self.check_outputs(outputs.shape[1])
        return np.where(np.isfinite(outputs).all(1), outputs.argmax(1), INVALID).astype(np.int64)


def _whole(numbers: NDArray[Any]) -> NDArray[np.int64]:
    """Class numbers; what is no whole number is invalid."""
    finite = np.nan_to_num(numbers.astype(np.float64), nan=0.5, posinf=0.5, neginf=0.5)
    return np.where(finite == np.rint(finite), finite, INVALID).astype(np.int64)
