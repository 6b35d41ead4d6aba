"""How a model file is read, and how images are given to the model: what a submission's table says of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.models.errors import ModelError

CHANNELS = ("rgb", "bgr")
LAYOUTS = ("nhwc", "nchw")


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """What a file does not say of itself. Raises ModelError for a value that cannot be meant.

    classes: N; the model has N outputs, or N+1 where the last is the flag. scale: images are divided by it.
    channels: "rgb" or "bgr", the order that the model was trained with. layout: "nhwc" or "nchw", None for what the
    model's shape says, else the format's usual one. architecture: for files of weights, "deepid" or "net.py:build".
    custom_objects: the name that a file uses -> the "layers.py:Name" that it stands for. unsafe_pickle: whether code
    that a file holds may run. root: the submission's folder, where such code is found.
    """

    classes: int
    scale: float = 255.0
    channels: str = "rgb"
    layout: str | None = None
    architecture: str | None = None
    custom_objects: Mapping[str, str] = field(default_factory=dict)
    unsafe_pickle: bool = False
    root: Path | None = None

    def __post_init__(self) -> None:
        if not 0 < self.scale < float("inf"):
            raise ModelError(f"scale {self.scale} is not a positive number; use 255, or 1 for raw 0..255 input")
        if self.channels not in CHANNELS:
            raise ModelError(f"channels {self.channels!r}; one of {', '.join(CHANNELS)}")
        if self.layout not in (None, *LAYOUTS):
            raise ModelError(f"layout {self.layout!r}; one of {', '.join(LAYOUTS)}")
