"""Facts that a stranger's defense states: JSON values within bounds, whose words are harmless."""

import json
import math
from collections.abc import Mapping
from typing import Any

from harness.wording import harmless

MAX_DEPTH = 8
MAX_WORDS = 500
MAX_KEY = 100
LARGEST_INTEGER = 2**53
LONGEST = 2000
"""Of one fact in a record, in characters of JSON: `norms` by label is for a defense's report and its picture."""


def tamed(facts: Any) -> dict[str, Any]:
    """The facts with harmless words, and None for what is no finite number; raises ValueError unless it is an object."""
    if not isinstance(facts, dict):
        raise ValueError("facts are no object")
    made: dict[str, Any] = _tamed(facts, MAX_DEPTH)
    return made


def kept(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that are short enough for a record."""
    return {name: value for name, value in facts.items() if len(json.dumps(value)) <= LONGEST}


def _tamed(value: Any, depth: int) -> Any:
    if depth == 0:
        raise ValueError(f"facts are nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        return {harmless(key, MAX_KEY): _tamed(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_tamed(inner, depth - 1) for inner in value]
    if isinstance(value, str):
        return harmless(value, MAX_WORDS)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if abs(value) <= LARGEST_INTEGER else None
