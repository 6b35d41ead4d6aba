"""TOML that strangers wrote: whatever it holds, it is read in a moment, and what is read can be made JSON."""

import math
import tomllib
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.plain_files import read_plain
from harness.wording import harmless

MAX_BYTES = 256 * 1024
MAX_DOTS = 100
"""In one line: the time that a dotted key takes grows with the square of its parts."""
MAX_DEPTH = 32
LARGEST = 2**63 - 1


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; raises UserError that names the file, the line or key, and the fix.

    Values are tables, lists, text, truth values, dates, finite numbers, and integers of at most 64 bits; at most 32 deep.
    """
    data = read_plain(path, MAX_BYTES)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > MAX_DOTS:
            raise UserError(
                f"{path}: line {number} has more than {MAX_DOTS} dots; write shorter keys, or shorter lines"
            )
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid TOML ({harmless(str(error), 200)})") from error
    if problem := _problem(tables):
        raise UserError(f"{path}: {problem}")
    return tables


def _problem(tables: dict[str, Any]) -> str | None:
    waiting: list[tuple[tuple[str, ...], Any]] = [((), tables)]
    while waiting:
        keys, value = waiting.pop()
        wrong = _wrong(value) if len(keys) <= MAX_DEPTH else f"nested more than {MAX_DEPTH} deep; keep it flat"
        if wrong:
            return f"{harmless('.'.join(keys), 100)}: {wrong}"
        if isinstance(value, dict):
            waiting += [((*keys, key), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            waiting += [((*keys, str(i)), inner) for i, inner in enumerate(value)]
    return None


def _wrong(value: Any) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is no number that can be recorded; write a finite one"
    if isinstance(value, int) and abs(value) > LARGEST:
        return "an integer of more than 64 bits; write a smaller one"
    return None
