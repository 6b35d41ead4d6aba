"""Findings on their way from the worker to the host: packed into frames there, believed here only where they can be true."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np

from harness.models.errors import ModelError
from harness.models.facts import tamed
from harness.models.findings import ByLabel, Curve, Figure, Findings, Histogram, ReversedTrigger, Values
from harness.protocol import MAX_HEADER, Frame
from harness.wording import harmless, one_of

KINDS: dict[str, type[Figure]] = {
    "by_label": ByLabel, "curve": Curve, "histogram": Histogram, "reversed_trigger": ReversedTrigger,
}  # fmt: skip
"""Each is drawn by the file of that name in `harness/pictures/`."""
FRAMES = ("facts", "figure")
MAX_FIGURES = 32
MAX_BYTES = 8 * 1024**2
"""Of all arrays together."""
MAX_NAME = 40
MAX_WORDS = 100
LARGEST = 1e30
"""What is larger cannot be drawn, and becomes NaN."""
ARRAYS = ("values", "mask", "pattern")
ROOM = MAX_HEADER - 1024
"""Of a header, for what a frame is about."""


class Packed(NamedTuple):
    """A frame to be: its kind, its fields, its array."""

    kind: str
    fields: dict[str, Any]
    array: Values | None = None


def pack(findings: Findings) -> tuple[list[Packed], list[str]]:
    """The frames of findings, and one sentence for each thing that is left out as it is too large or cannot be JSON.

    Raises ModelError for what is no figure.
    """
    facts, left_out = _fitting(findings.facts)
    frames, free = ([Packed("facts", {"facts": facts})] if facts else []), MAX_BYTES
    for name, figure in findings.figures.items():
        try:
            packed = _pack(name, figure)
        except (TypeError, ValueError) as error:
            raise ModelError(f"figure {name!r}: {error}") from error
        assert packed.array is not None
        long = len(json.dumps(packed.fields)) > ROOM
        if long or packed.array.nbytes > free or sum(it.kind == "figure" for it in frames) == MAX_FIGURES:
            left_out.append(
                f"figure {name!r} is left out: {MAX_FIGURES} figures of {MAX_BYTES // 1024**2} MiB is the most"
            )
            continue
        free -= packed.array.nbytes
        frames.append(packed)
    return frames, left_out


def _fitting(facts: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    kept: dict[str, Any] = {}
    left_out, free = [], ROOM
    for name, value in facts.items():
        try:
            text = json.dumps(value, default=_plain)
        except (TypeError, ValueError, RecursionError) as error:
            left_out.append(f"fact {name!r} is left out: {error}")
            continue
        needed = len(text) + len(json.dumps(str(name))) + 4
        if needed > free:
            left_out.append(f"fact {name!r} is left out: facts of {MAX_HEADER // 1024} KiB of JSON is the most")
            continue
        free -= needed
        kept[str(name)] = json.loads(text)
    return kept, left_out


def _plain(value: Any) -> Any:
    """What numpy knows and JSON does not."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is no JSON value")


def _pack(name: str, figure: Figure) -> Packed:
    kind = next((kind for kind, made in KINDS.items() if type(figure) is made), None)
    if kind is None:
        raise TypeError(f"a {type(figure).__name__} is none; {one_of(made.__name__ for made in KINDS.values())}")
    told = {it.name: getattr(figure, it.name) for it in fields(figure) if it.name not in ARRAYS}
    short = {key: value[: 4 * MAX_WORDS] if isinstance(value, str) else value for key, value in told.items()}
    told = json.loads(json.dumps(short, default=_plain))
    if isinstance(figure, ReversedTrigger):
        parts = (np.asarray(figure.mask)[..., None], np.asarray(figure.pattern))
        array = np.concatenate(parts, axis=-1, dtype=np.float32, casting="same_kind")
    else:
        array = np.asarray(figure.values, np.float32)
    return Packed("figure", {"figure": kind, "name": name, "told": told}, array)


class Gathering:
    """Findings as they come in from a worker, of which nothing is believed."""

    def __init__(self, *, shape: tuple[int, int, int], classes: int) -> None:
        """shape: of an image of the track, (H, W, C). classes: N."""
        self._shape, self._classes = shape, classes
        self._free = MAX_BYTES
        self._told = False
        self.facts: dict[str, Any] = {}
        self.figures: dict[str, Figure] = {}

    def take(self, frame: Frame) -> None:
        """Take one frame of FRAMES; raises ValueError, in one line, for what no findings would hold."""
        if frame.kind == "facts":
            if self._told or frame.array is not None:
                raise ValueError("facts come once, and alone")
            self._told, self.facts = True, tamed(frame.fields.get("facts"))
            return
        name = frame.fields.get("name")
        if not isinstance(name, str) or not _is_name(name):
            raise ValueError(f"a figure's name is [a-z0-9-], {MAX_NAME} at most, not {harmless(repr(name), 60)}")
        if name in self.figures or len(self.figures) == MAX_FIGURES:
            raise ValueError(f"figure {name!r} is there twice, or beyond {MAX_FIGURES} figures")
        try:
            self.figures[name] = self._figure(frame)
        except ValueError as error:
            raise ValueError(f"figure {name!r}: {error}") from None

    def _figure(self, frame: Frame) -> Figure:
        kind, told, array = frame.fields.get("figure"), frame.fields.get("told"), frame.array
        if not isinstance(kind, str) or kind not in KINDS:
            raise ValueError(f"no such kind {harmless(repr(kind), 60)}; one of {', '.join(KINDS)}")
        if array is None or array.dtype != np.float32 or array.nbytes > self._free:
            raise ValueError(f"has no float32 values, or more than {MAX_BYTES // 1024**2} MiB with all others")
        self._free -= array.nbytes
        made = KINDS[kind]
        wanted = {it.name for it in fields(made)} - set(ARRAYS)
        if not isinstance(told, dict) or told.keys() != wanted:
            raise ValueError(f"a {kind} has {', '.join(sorted(wanted))}")
        values = array.astype(np.float32)
        values[~(np.abs(values) <= LARGEST)] = np.nan
        arrays = self._arrays(made, values)
        made_of: dict[str, Any] = {**arrays}
        for key, value in told.items():
            try:
                made_of[key] = _FIELDS[key](value, len(values) if key == "stopped" else self._classes)
            except ValueError:
                raise ValueError(f"{key} = {harmless(repr(value), 60)} cannot be") from None
        return made(**made_of)

    def _arrays(self, made: type[Figure], values: Values) -> dict[str, Values]:
        if made is ReversedTrigger:
            height, width, channels = self._shape
            if values.shape != (height, width, channels + 1):
                raise ValueError(f"mask and pattern have shape {values.shape}, not {(height, width, channels + 1)}")
            inside = np.clip(np.nan_to_num(values), 0.0, 1.0)
            return {"mask": inside[..., 0], "pattern": inside[..., 1:]}
        if values.ndim != 1 or (made is ByLabel and len(values) != self._classes):
            wanted = self._classes if made is ByLabel else "n"
            raise ValueError(f"values have shape {values.shape}, not ({wanted},)")
        return {"values": values}


def _is_name(name: str) -> bool:
    return 0 < len(name) <= MAX_NAME and set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def _words(value: Any, _limit: int) -> str:
    if not isinstance(value, str):
        raise ValueError
    return harmless(value, MAX_WORDS)


def _number(value: Any, _limit: int = 0) -> float:
    if type(value) not in (int, float):
        raise ValueError
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return math.inf


def _threshold(value: Any, _limit: int) -> float | None:
    return None if value is None or not abs(number := _number(value)) <= LARGEST else number


def _share(value: Any, _limit: int) -> float:
    if not 0 <= (number := _number(value)) <= 1:
        raise ValueError
    return number


def _below(value: Any, limit: int) -> int:
    if type(value) is not int or not 0 <= value < limit:
        raise ValueError
    return value


def _stopped(value: Any, limit: int) -> int | None:
    return None if value is None else _below(value, limit)


def _marked(value: Any, limit: int) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > limit:
        raise ValueError
    return tuple(sorted({_below(it, limit) for it in value}))


_FIELDS: dict[str, Callable[[Any, int], Any]] = {
    "title": _words, "unit": _words, "x_label": _words, "y_label": _words, "threshold": _threshold,
    "success": _share, "stopped": _stopped, "target": _below, "marked": _marked,
}  # fmt: skip
"""A field means the same in every kind of figure."""
