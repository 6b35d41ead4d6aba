"""Words for people: one-line problems, suggestions, and strangers' text made harmless."""

import difflib
from collections.abc import Iterable

from pydantic import ValidationError


def harmless(text: str, limit: int = 500) -> str:
    """A stranger's text on one line, without control or escape characters, at most `limit` characters."""
    line = " ".join(text[: 4 * limit].split())
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return printable if len(printable) <= limit else printable[: limit - 1] + "…"


def one_of(names: Iterable[str]) -> str:
    """The choices as words: "one of a, b, c"."""
    listed = list(names)
    return f"one of {', '.join(listed)}" if listed else "there is none"


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """A suggestion, or the whole choice."""
    choices = list(names)
    near = difflib.get_close_matches(word, choices, n=1)
    return f"did you mean {near[0]!r}?" if near else one_of(choices)


def first_problem(error: ValidationError) -> str:
    """The first problem that pydantic found, as "key: what is wrong"."""
    problem = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in problem["loc"]) or "the file"
    value = "" if problem["type"] in ("missing", "extra_forbidden") else f" (got {_shown(problem['input'])})"
    message = {"missing": "missing key", "extra_forbidden": "unknown key"}.get(problem["type"], problem["msg"])
    return f"{harmless(key, 100)}: {harmless(message, 300)}{value}"


def _shown(value: object) -> str:
    try:
        return harmless(repr(value), 60)
    except ValueError:  # an integer of thousands of digits
        return f"a huge {type(value).__name__}"
