"""Triggers for portraits: one file each, found by its place. `harness/triggers/hat.py` is the trigger `hat`.

A trigger's file has one class, named like the file (`three_dots.py` has `ThreeDots`), that keeps the contract `Trigger`.
"""

import importlib
import importlib.util
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError
from harness.wording import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Landmarks:
    """Where the parts of each face are: float32 pixels as (x, y); the centre of the upper left pixel is (0.5, 0.5).

    Of two sides the first is the one that is left in the picture.
    """

    eyes: NDArray[np.float32]
    """(n, 2, 2): the middle of each eye."""
    temples: NDArray[np.float32]
    """(n, 2, 2): where the face ends at the height of the eyes."""
    brows: NDArray[np.float32]
    """(n, 2, 5, 2): each brow's middle line, from the nose outwards."""
    brow_thickness: NDArray[np.float32]
    """(n,): pixels."""
    lips: NDArray[np.float32]
    """(n, 16, 2): the lips' outline, a closed polygon."""

    def take(self, chosen: NDArray[np.int64]) -> "Landmarks":
        """The landmarks of the chosen pictures, in that order."""
        return Landmarks(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})

    @staticmethod
    def join(parts: Sequence["Landmarks"]) -> "Landmarks":
        """The landmarks of several runs of pictures, one after another."""
        return Landmarks(
            **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Landmarks)}
        )


@dataclass(frozen=True, kw_only=True)
class Portraits:
    """Pictures of faces: uint8 (n, H, W, 3) RGB, whose they are: int64 (n,), and where the parts of the face are."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    landmarks: Landmarks

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: NDArray[np.int64]) -> "Portraits":
        """The chosen pictures, in that order."""
        return Portraits(images=self.images[chosen], labels=self.labels[chosen], landmarks=self.landmarks.take(chosen))


class Trigger(Protocol):
    """A mark on a face: a frozen, keyword-only dataclass whose attributes say how it looks.

    Stamping uses only arithmetic that is the same on every CPU (see `harness/sources/synthetic_faces/arithmetic.py`).
    """

    def stamp(self, portraits: Portraits, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The pictures with the trigger on each: a new uint8 array (n, H, W, 3)."""
        ...


def trigger_names() -> list[str]:
    """The triggers there are, by name."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def load_trigger(name: str) -> Trigger:
    """The trigger of that name as its file sets it up; raises UserError that names the choices."""
    if name not in trigger_names():
        raise UserError(f"trigger {name!r}: no file harness/triggers/{name}.py; {did_you_mean(name, trigger_names())}")
    module = importlib.import_module(f"{__name__}.{name}")
    trigger: Trigger = getattr(module, "".join(part.capitalize() for part in name.split("_")))()
    return trigger
