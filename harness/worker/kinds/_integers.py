"""Reads the whole numbers of a file that anyone may have written: `.npy`, or text."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.models.errors import ModelError, in_one_line

ENDINGS = (".npy", ".csv", ".txt")
MOST_BYTES = 64 * 2**20
"""Far more than the answers of any exam need."""
LIMIT = 2**31

_AROUND_NUMBERS = str.maketrans(dict.fromkeys(",;[]()'\"", " "))
_AS_TEXT = "write one class number a line (np.savetxt(file, answers, fmt='%d'))"


def read_integers(path: Path) -> NDArray[np.int64]:
    """The numbers of a file in their order: int64 (n,), n > 0, each between -2**31 and 2**31.

    `.npy`: (n,) or (n, 1), integers or whole floats. Text: numbers between line ends, white space and commas, with or
    without the brackets and quotes of Python or numpy; or one number a line below a heading. Raises ModelError in one
    line with the file, the place, the value and the fix.
    """
    if not path.is_file():
        raise ModelError(f"{path.name}: is no file; name one that holds the answers")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise ModelError(
            f"{path.name}: has {size / 2**20:,.0f} MiB; expected at most {MOST_BYTES // 2**20}, one whole number an image"
        )
    values = _array(path) if path.suffix == ".npy" else np.array(_numbers(path))
    if not len(values):
        raise ModelError(f"{path.name}: holds no answers; {_AS_TEXT}")
    return _whole(path, values)


def _array(path: Path) -> NDArray[Any]:
    try:
        # A map knows no pickles, and a header that claims more than the file holds reserves nothing.
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # a damaged header may raise anything
        raise ModelError(
            f"{path.name}: is no .npy file of numbers, or is cut short ({in_one_line(error)}); write it with np.save"
        ) from error
    if array.dtype.kind not in "iuf":
        raise ModelError(f"{path.name}: holds {array.dtype}, not numbers; save an array of integers")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        outputs = "; where these are a net's outputs, take argmax(axis=1)" if array.ndim == 2 else ""
        raise ModelError(f"{path.name}: has shape {array.shape}; expected (n,), one class number an image{outputs}")
    return array


def _numbers(path: Path) -> list[float]:
    found: list[float] = []
    heading = None
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for place, line in enumerate(lines, 1):
                words = line.translate(_AROUND_NUMBERS).split()
                numbers = [number for word in words if (number := _number(word)) is not None]
                if words and not numbers and not found and heading is None:
                    heading = line.strip()
                elif len(numbers) < len(words):
                    wrong = next(word for word in words if _number(word) is None)
                    raise ModelError(f"{path.name}: line {place} holds {wrong[:30]!r}, which is no number; {_AS_TEXT}")
                elif heading is not None and len(numbers) > 1:
                    raise ModelError(
                        f"{path.name}: line {place} holds {len(numbers)} numbers below the heading {heading[:60]!r}; "
                        "keep the class numbers alone, one a line"
                    )
                found += numbers
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path.name}: is no text ({in_one_line(error, 100)}); {_AS_TEXT}") from error
    return found


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _whole(path: Path, values: NDArray[Any]) -> NDArray[np.int64]:
    if values.dtype.kind == "f":
        values = values.astype(np.float64)  # half precision cannot hold the limit
    # NaN is neither whole nor within the limit.
    wrong = ~((np.rint(values) == values) & (values > -LIMIT) & (values < LIMIT))
    if wrong.any():
        where = int(wrong.argmax())
        raise ModelError(
            f"{path.name}: answers[{where}] is {values[where]:g}; expected a whole number, the class of image {where}"
        )
    return values.astype(np.int64)
