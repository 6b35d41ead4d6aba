"""What a submission sees and what it must be: BadNetView, Predictor, Defense."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
"""uint8 (n, H, W, C), RGB, 0..255."""
Answers = NDArray[np.integer[Any]]
"""int (n,), 0..N; N is the flag, class N+1 of the competition."""
Progress = Callable[[str, int, int], None]
"""Told by long work: what is being done, how much is done, how much there is."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Clean images with their classes: images uint8 (n, H, W, C), labels int64 (n,) in 0..N-1."""

    images: Images
    labels: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class BadNetView:
    """All that a submission may know of a BadNet: its file and clean validation data; never triggers, targets or test data.

    classes: N; the flag is N. scale: the net's input is images / scale (255, or 1 for raw 0..255 input).
    validation_path: a folder with images.npy (uint8 (n, H, W, C)) and labels.npy (int64 (n,)).
    """

    name: str
    model_path: Path
    validation_path: Path
    classes: int
    scale: float = 255.0

    @property
    def flag(self) -> int:
        """The answer that says "this input is backdoored": N."""
        return self.classes

    def validation(self) -> Validation:
        """Read the clean validation images."""
        return Validation(
            images=np.load(self.validation_path / "images.npy"), labels=np.load(self.validation_path / "labels.npy")
        )


@dataclass(frozen=True, kw_only=True)
class OracleView(BadNetView):
    """What an oracle sees besides: poisoned images, which no competitor has; its records are marked.

    poisoned_path: a folder with one `<trigger>.npy` each (uint8 (n, H, W, C)); no target and no label.
    """

    poisoned_path: Path

    def poisoned(self) -> dict[str, Images]:
        """Read the poisoned images by trigger."""
        return {path.stem: np.load(path) for path in sorted(self.poisoned_path.glob("*.npy"))}


@runtime_checkable
class Predictor(Protocol):
    """Answers images: uint8 (n, H, W, C) in, int (n,) with values 0..N out."""

    def __call__(self, images: Images, /) -> Answers: ...


@runtime_checkable
class Defense(Protocol):
    """Makes a Predictor from a BadNet and clean images; a frozen, keyword-only dataclass that holds its hyper-parameters."""

    def repair(
        self, badnet: BadNetView, validation: Validation, *, rng: np.random.Generator, progress: Progress
    ) -> Predictor: ...
