"""What all models share as predictors: the shape of their input, batches cut into parts, and the number of outputs."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from harness.models.contracts import Images
from harness.models.errors import ModelError
from harness.models.input_choice import InputChoice
from harness.models.settings import LAYOUTS, ModelSettings

INVALID = -1
"""The answer to an image for which the model gave NaN or an infinite value: no class at all."""
Shape = tuple[int | None, ...]
"""The lengths of an input without its batch axis; None where any length will do."""
COLOURS = 3
ANY_SHAPE: Shape = (None, None, None)


class Parts(NamedTuple):
    """How many images a model takes at once."""

    smallest: int = 1
    largest: int | None = None

    @classmethod
    def of_batch(cls, length: int | None, largest: int | None = None) -> "Parts":
        """Those of a model with the batch length that it declares; with None any will do, up to `largest`."""
        return cls(length, length) if length else cls(1, largest)

    def cut(self, images: Images) -> Iterator[tuple[slice, Images]]:
        """Each part's place and its images; a part that is too small is filled up with its last image."""
        step = self.largest or max(len(images), 1)
        for start in range(0, len(images), step):
            part = images[start : start + step]
            place = slice(start, start + len(part))
            if missing := max(0, self.smallest - len(part)):
                part = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)])
            yield place, part


class Classifier(ABC):
    """A model as a predictor: uint8 (n, H, W, C), RGB, in; int64 (n,) out, -1 where the model gave NaN or inf."""

    def __init__(
        self,
        settings: ModelSettings,
        *,
        name: str,
        usual_layout: str,
        shape: Sequence[int | None] = ANY_SHAPE,
        parts: Parts,
        whole: str | None = None,
    ) -> None:
        """Remember what the model takes.

        name: of the file, for errors. usual_layout: "nhwc" or "nchw", which the model takes where neither the settings
        nor the three channels in its shape say it. shape: of one input, in the layout that the model takes. whole: the
        data type, for a model that takes whole numbers. Raises ModelError where the model does not take images.
        """
        if len(shape) != 3:
            raise ModelError(f"{name}: takes (n, {_lengths(shape)}); one batch of images (n, H, W, C) is expected")
        self.name, self.shape, self.parts, self.whole = name, tuple(shape), parts, whole
        self.layout = settings.layout or _layout(self.shape) or usual_layout
        self.classes, self.scale, self.reversed = settings.classes, settings.scale, settings.channels == "bgr"
        self._check_whole()

    @abstractmethod
    def answer(self, images: Images) -> NDArray[np.int64]:
        """Answer one part of a batch, uint8 (n, H, W, C) in the model's order of channels: int64 (n,). Raises ModelError."""

    def __call__(self, images: Images) -> NDArray[np.int64]:
        """Answer images; raises ModelError where the model cannot take them or has not N or N+1 outputs."""
        self._check_images(images)
        if self.reversed:
            images = np.ascontiguousarray(images[..., ::-1])
        answers = np.empty(len(images), np.int64)
        for place, part in self.parts.cut(images):
            answers[place] = self.answer(part)[: place.stop - place.start]
        return answers

    def with_input(self, choice: InputChoice) -> Self:
        """The same model, not read anew, with its images given to it in another way; raises ModelError."""
        other = copy.copy(self)
        other.scale, other.reversed = choice.scale, choice.channels == "bgr"
        other._check_whole()
        return other

    def check_outputs(self, outputs: int) -> None:
        """Raise ModelError unless the model has N or N+1 outputs."""
        if outputs not in (self.classes, self.classes + 1):
            raise ModelError(
                f"{self.name} has {outputs} outputs; classes are {self.classes}, so {self.classes} (never flags) or "
                f"{self.classes + 1} (flags) are expected"
            )

    def _check_whole(self) -> None:
        if self.whole and self.scale != 1:
            raise ModelError(
                f"{self.name}: takes {self.whole}, which cannot be divided by {self.scale:g}; state scale = 1"
            )

    def _check_images(self, images: Images) -> None:
        if images.dtype == np.uint8 and _fits(images, self.shape, self.layout):
            return
        other = LAYOUTS[1 - LAYOUTS.index(self.layout)]
        fix = f'; layout = "{other}" would fit' if _fits(images, self.shape, other) else ""
        raise ModelError(
            f"{self.name}: takes uint8 images (n, {_lengths(_as_image(self.shape, self.layout))}), was given "
            f"{images.dtype} {images.shape}{fix}",
            stage="answer",
        )


def _layout(shape: Shape) -> str | None:
    first, last = shape[0] == COLOURS, shape[-1] == COLOURS
    return None if first == last else LAYOUTS[first]


def _as_image(shape: Shape, layout: str) -> Shape:
    return shape if layout == "nhwc" else (shape[1], shape[2], shape[0])


def _fits(images: Images, shape: Shape, layout: str) -> bool:
    wanted = _as_image(shape, layout)
    return images.ndim == 4 and all(want in (None, got) for want, got in zip(wanted, images.shape[1:], strict=True))


def _lengths(shape: Sequence[int | None]) -> str:
    return ", ".join("any" if length is None else str(length) for length in shape)
