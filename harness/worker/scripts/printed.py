"""Finds the answers in what a script printed: the last integer, or a list of them, whatever stands around."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.models.errors import ModelError

NO_ANSWER = -(2**31)
"""No class and no value that a script may use as its flag."""

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]")
# "7/7 [=====] - 0s 4ms/step" of Keras 2, "7/7 ━━━━ 0s 4ms/step" of Keras 3, "100%|███| 7/7 [...]" of tqdm
_BARS = re.compile(
    r"^[^\S\n]*\d+/(?:\d+|Unknown)[^\S\n]*(?:\[[=>.]*\]|[━─╸╺ ]*[━─╸╺]).*$|^.*\d+%\|.*\|.*$", re.MULTILINE
)
# what numpy, TensorFlow and torch print about an array, beside its values
_ABOUT = re.compile(r"\b(?:shape|dtype|device|size)=(?:\([^()]*\)|torch\.Size\(\[[^\]]*\]\)|'[^']*'|[\w.]+)")
# a whole number; no part of a word, a path, a date, a fraction, a version or a percentage
_INTEGER = re.compile(r"(?<![\w.+/-])(?<!\d:)([+-]?\d+)\.?(?![\w/]|\.\w|\s*%|:\d)")
# the same as a float, "7.0": an answer only where there is no other, as a confidence of 1.0 looks like one
_FLOAT = re.compile(r"(?<![\w.+/-])(?<!\d:)([+-]?\d+)\.0(?![\w/]|\.\w|\s*%|:\d)")
_LIST = re.compile(r"\[[\[\]\d\s,.e+'\"-]*\]")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?(?:e[+-]?\d+)?")
_SHORTENED = re.compile(r"[\[\s]\.\.\.[\s,]")


def plain(text: str) -> str:
    """The text without colours, progress bars and descriptions of arrays; a carriage return begins a new line."""
    lines = _ESCAPES.sub("", text).replace("\r", "\n").replace("\b", "\n")
    return _ABOUT.sub("", _BARS.sub("", lines))


def single(text: str, pattern: str | None = None) -> int | None:
    """The answer to one image: the last integer printed, or the last match of `pattern`; None where there is none."""
    found = _matches(text, pattern)
    return found[-1] if found else None


def several(text: str, count: int, pattern: str | None = None) -> NDArray[np.int64]:
    """The answers to `count` images: a printed list of so many, or so many lines that end in an integer.

    Raises ModelError (stage "answer") that says what was found in their place.
    """
    if pattern is not None:
        found = _matches(text, pattern)
        if len(found) != count:
            raise _miscounted(len(found), count, f"matches of the pattern {pattern!r}")
        return np.array(found, np.int64)
    cleaned = plain(text)
    lists = [numbers for numbers in map(_whole, _lists(cleaned)) if numbers is not None]
    fitting = [numbers for numbers in reversed(lists) if len(numbers) == count]
    if fitting:  # a list of confidences may stand below the list of classes
        return np.array(next((numbers for numbers in fitting if NO_ANSWER not in numbers), fitting[0]), np.int64)
    ends = [int(words[-1]) for line in cleaned.splitlines() if (words := _integers_in(line))]
    if len(ends) == count:
        return np.array(ends, np.int64)
    if _SHORTENED.search(cleaned):
        raise ModelError(
            "its list of answers is shortened (...); print it in full (np.set_printoptions(threshold=sys.maxsize)), or "
            "write it: np.save to a file, with {out} in the command",
            stage="answer",
        )
    longest = max(map(len, lists), default=0)
    raise _miscounted(max(longest, 0 if longest > 1 else len(ends)), count, "answers in what it printed")


def written(path: Path, count: int) -> NDArray[np.int64]:
    """The answers that a script wrote as .npy: (count,), (count, 1) or (1, count); raises ModelError (stage "answer")."""
    if not path.is_file():
        raise ModelError("wrote nothing to {out}", stage="answer")
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ModelError(f"what it wrote to {{out}} is no .npy file of numbers ({error})", stage="answer") from error
    if array.size != count or array.dtype.kind not in "iuf":
        raise ModelError(
            f"wrote {array.dtype} {array.shape} to {{out}} for {count} images; write one integer an image",
            stage="answer",
        )
    return _integers(array.reshape(-1))


def _matches(text: str, pattern: str | None) -> list[int]:
    if pattern is None:
        return [int(number) for number in _integers_in(plain(text)) if len(number) < 10]
    found: Iterable[Any] = re.findall(pattern, _ESCAPES.sub("", text), re.MULTILINE)
    words = [match[-1] if isinstance(match, tuple) else match for match in found]
    return [int(float(word)) for word in words if _NUMBER.fullmatch(word.strip()) and float(word) == int(float(word))]


def _integers_in(text: str) -> list[str]:
    return _INTEGER.findall(text) or _FLOAT.findall(text)


def _lists(text: str) -> list[str]:
    """Everything in brackets: neighbours as one list, as some scripts print a list for each batch, and each by itself."""
    together = [match[0] for match in _LIST.finditer(text)]
    apart = [match[0] for words in together for match in re.finditer(r"\[[^\[\]]*\]", words)]
    return apart + together


def _whole(words: str) -> list[int] | None:
    numbers = np.array(_NUMBER.findall(words), np.float64)
    return _integers(numbers).tolist() if len(numbers) else None


def _integers(numbers: NDArray[Any]) -> NDArray[np.int64]:
    whole = np.isfinite(numbers) & (numbers == np.rint(numbers)) & (np.abs(numbers) < 2**31)
    return np.where(whole, numbers, NO_ANSWER).astype(np.int64)


def _miscounted(found: int, count: int, what: str) -> ModelError:
    return ModelError(
        f"{found:,} {what} for {count:,} images; print one integer an image, state a pattern, or write them as .npy to {{out}}",
        stage="answer",
    )
