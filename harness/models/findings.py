"""What a defense found out about a BadNet: facts for its report, and figures that the host draws."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ByLabel:
    """A number for each class: values (N,), NaN where there is none; marked: classes that stand out; threshold: a line."""

    title: str
    values: Values
    unit: str
    threshold: float | None = None
    marked: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A number that changes while something is done: values (n,) at 0..n-1; stopped: the point that the defense chose."""

    title: str
    values: Values
    x_label: str
    y_label: str
    stopped: int | None = None


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How numbers are spread: values (n,); threshold: a line, and what lies beyond is flagged."""

    title: str
    values: Values
    x_label: str
    threshold: float | None = None


@dataclass(frozen=True, kw_only=True)
class ReversedTrigger:
    """A trigger made from a net alone: mask (H, W) in 0..1, pattern (H, W, C) in 0..1; x becomes (1 - m) x + m p.

    target: the class that it gives. success: the share of held-out clean images that it sends there, 0..1.
    """

    target: int
    mask: Values
    pattern: Values
    success: float


Figure = ByLabel | Curve | Histogram | ReversedTrigger


@dataclass(frozen=True, kw_only=True)
class Findings:
    """facts: JSON values for the report, such as `targets`. figures: by name, [a-z0-9-]{1,40}, each becomes a picture."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)


@runtime_checkable
class Explained(Protocol):
    """A predictor that says what its defense found out."""

    @property
    def findings(self) -> Findings:
        """What was found out."""
        ...
