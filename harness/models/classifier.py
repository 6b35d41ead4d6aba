"""Models as predictors: uint8 images in, class numbers out, at the speed of the library itself."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.models.contracts import Images
from harness.models.errors import ModelError, in_one_line

if TYPE_CHECKING:
    from torch import nn

INVALID = -1
"""The answer to an image for which the model gave NaN or an infinite value: no class at all."""
CHANNELS = ("rgb", "bgr")
TORCH_BATCH = 64
"""Images that torch is given at once: the activations of more fall out of the processor's cache, at half the speed."""


class KerasClassifier:
    """A Keras model as a predictor: uint8 (n, H, W, C), RGB, in; int64 (n,) out, -1 where the model gave NaN or inf."""

    def __init__(
        self, model: Any, *, classes: int, scale: float, channels: str = "rgb", name: str = "the model"
    ) -> None:
        """Trace the model once, for every batch size.

        scale: images are divided by it. channels: the order the model was trained with. name: of the file, for errors.
        Raises ModelError unless the model has one image input and N or N+1 outputs.
        """
        import tensorflow as tf

        _check_settings(scale, channels, name)
        shape = model.input_shape
        if not isinstance(shape, tuple) or len(shape) != 4:
            raise ModelError(f"{name}: takes {shape}; one batch of images (n, H, W, C) is expected")
        self.name, self.shape = name, shape[1:]

        @tf.function(input_signature=[tf.TensorSpec((None, *self.shape), tf.uint8)])  # type: ignore[untyped-decorator]
        def answer(images: Any) -> Any:
            scaled = tf.cast(images, tf.float32) / scale
            outputs = model(scaled[..., ::-1] if channels == "bgr" else scaled, training=False)
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
        if self.outputs is None or len(self.outputs) != 2:
            raise ModelError(f"{name}: gives {self.outputs}; one row of outputs an image is expected")
        _check_outputs(int(self.outputs[-1]), classes, name)

    def __call__(self, images: Images) -> NDArray[np.int64]:
        """Answer images; raises ModelError where they are not of the model's shape."""
        _check_images(images, self.shape, self.name)
        answers: NDArray[np.int64] = self._answer(images).numpy()
        return answers


class TorchClassifier:
    """A torch module as a predictor: uint8 (n, H, W, C), RGB, in; int64 (n,) out, -1 where it gave NaN or inf."""

    def __init__(
        self, module: "nn.Module", *, classes: int, scale: float, channels: str = "rgb", name: str = "the model"
    ) -> None:
        """Set the module, which takes float (n, C, H, W), to answer.

        scale: images are divided by it. channels: the order the model was trained with. name: of the file, for errors.
        """
        import torch

        _check_settings(scale, channels, name)
        self.module = module.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.classes, self.scale, self.channels, self.name = classes, scale, channels, name

    def __call__(self, images: Images) -> NDArray[np.int64]:
        """Answer images; raises ModelError where the module cannot take them or has not N or N+1 outputs."""
        import torch

        _check_images(images, (None, None, None), self.name)
        answers = np.empty(len(images), np.int64)
        with torch.inference_mode():
            for start in range(0, len(images), TORCH_BATCH):
                part = torch.from_numpy(np.ascontiguousarray(images[start : start + TORCH_BATCH]))
                if self.channels == "bgr":
                    part = part.flip(-1)
                # permuted (n, H, W, C) is torch's channels_last, in which convolutions run twice as fast
                outputs = self._outputs((part.to(torch.float32) / self.scale).permute(0, 3, 1, 2))
                best = torch.where(outputs.isfinite().all(1), outputs.argmax(1), INVALID)
                answers[start : start + TORCH_BATCH] = best.numpy()
        return answers

    def _outputs(self, x: Any) -> Any:
        try:
            outputs = self.module(x)
        except Exception as error:  # a stranger's module may raise anything
            raise ModelError(f"{self.name}: cannot be run ({in_one_line(error)})", stage="answer") from error
        if getattr(outputs, "ndim", 0) != 2:
            given = tuple(outputs.shape) if hasattr(outputs, "shape") else type(outputs).__name__
            raise ModelError(f"{self.name}: gives {given}; one row of outputs an image is expected", stage="answer")
        _check_outputs(outputs.shape[1], self.classes, self.name)
        return outputs


def _check_settings(scale: float, channels: str, name: str) -> None:
    if not 0 < scale < float("inf"):
        raise ModelError(f"{name}: scale {scale} is not a positive number; use 255, or 1 for raw 0..255 input")
    if channels not in CHANNELS:
        raise ModelError(f"{name}: channels {channels!r}; one of {', '.join(CHANNELS)}")


def _check_outputs(outputs: int, classes: int, name: str) -> None:
    if outputs not in (classes, classes + 1):
        raise ModelError(
            f"{name} has {outputs} outputs; classes are {classes}, so {classes} (never flags) or {classes + 1} (flags) "
            "are expected"
        )


def _check_images(images: Images, shape: tuple[int | None, ...], name: str) -> None:
    fits = images.ndim == 4 and all(want in (None, got) for want, got in zip(shape, images.shape[1:], strict=False))
    if images.dtype != np.uint8 or not fits:
        want = ", ".join("any" if length is None else str(length) for length in shape)
        raise ModelError(
            f"{name}: takes uint8 images (n, {want}), was given {images.dtype} {images.shape}", stage="answer"
        )
