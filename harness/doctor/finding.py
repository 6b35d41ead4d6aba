"""What the doctor says about one thing."""

from typing import NamedTuple


class Finding(NamedTuple):
    """level: ok, warning (some things will not work) or error (nothing can be evaluated). fix: what to do, or nothing."""

    level: str
    words: str
    fix: str = ""
