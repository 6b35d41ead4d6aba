"""TensorFlow models as predictors: Keras models and functions of a SavedModel."""

import warnings
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from harness.models.classifier import INVALID, Classifier, Parts, Shape
from harness.models.contracts import Images
from harness.models.errors import ModelError, in_one_line
from harness.models.settings import ModelSettings


class TensorFlowClassifier(Classifier):
    """A function of one tensor as a predictor."""

    def __init__(
        self, run: Callable[[Any], Any], settings: ModelSettings, *, name: str, shape: Shape, dtype: str = "float32"
    ) -> None:
        """Trace the function once, for every batch size that it takes.

        run: scaled images in, (n, outputs) out. shape: of its input, with the batch's length first. dtype: of its
        input. name: of the file, for errors. Raises ModelError unless it takes images and gives N or N+1 outputs.
        """
        import tensorflow as tf

        super().__init__(
            settings,
            name=name,
            usual_layout="nhwc",
            shape=shape[1:],
            parts=Parts.of_batch(shape[0]),
            whole=None if tf.as_dtype(dtype).is_floating else dtype,
        )
        last = self.layout == "nhwc"
        image = self.shape if last else (*self.shape[1:], self.shape[0])
        self.outputs = cast(Any, None)
        # The scale is a tensor, so that one trace serves every scale.
        signature = [tf.TensorSpec((shape[0], *image), tf.uint8), tf.TensorSpec((), tf.float32)]

        @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
        def answer(images: Any, scale: Any) -> Any:
            x = tf.cast(tf.cast(images, tf.float32) / scale, dtype)
            outputs = run(x if last else tf.transpose(x, (0, 3, 1, 2)))
            self.outputs = None if isinstance(outputs, (list, tuple, dict)) else outputs.shape
            finite = tf.reduce_all(tf.math.is_finite(outputs), axis=-1)
            return tf.where(finite, tf.argmax(outputs, axis=-1), tf.constant(INVALID, tf.int64))

        self._answer = answer
        try:
            with warnings.catch_warnings():
                # Keras 2 files call a single input a list of one, of which Keras 3 warns at every trace.
                warnings.filterwarnings("ignore", message="The structure of `inputs`", category=UserWarning)
                answer.get_concrete_function()
        except Exception as error:  # a stranger's model may raise anything
            raise ModelError(f"{name}: cannot be run ({in_one_line(error)})") from error
        if self.outputs is None or self.outputs.rank != 2 or self.outputs[-1] is None:
            raise ModelError(f"{name}: gives {self.outputs}; one row of outputs an image is expected")
        self.check_outputs(int(self.outputs[-1]))

    def answer(self, images: Images) -> NDArray[np.int64]:
        """Answer one part of a batch."""
        try:
            answers: NDArray[np.int64] = self._answer(images, np.float32(self.scale)).numpy()
        except Exception as error:  # as above
            raise ModelError(f"{self.name}: cannot be run ({in_one_line(error)})", stage="answer") from error
        return answers


class KerasClassifier(TensorFlowClassifier):
    """A Keras model as a predictor."""

    def __init__(self, model: Any, settings: ModelSettings, *, name: str) -> None:
        """As its base; raises ModelError for a model of several inputs or outputs, too."""
        shape = model.input_shape
        if not isinstance(shape, tuple):
            raise ModelError(f"{name}: takes {shape}; one batch of images (n, H, W, C) is expected")
        dtype = model.inputs[0].dtype
        super().__init__(
            lambda x: model(x, training=False), settings, name=name, shape=shape, dtype=getattr(dtype, "name", dtype)
        )
