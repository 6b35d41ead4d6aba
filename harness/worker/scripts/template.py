"""A script's command as submission.toml states it, with names in braces for what the harness puts in."""

import re
from collections.abc import Mapping, Sequence

from harness.wording import did_you_mean, one_of

NAMES = ("image", "h5", "badnet", "validation", "out")
"""One image; all images as one .h5 file; the BadNet's file; clean validation data (.h5); where to write answers (.npy)."""
PROVIDED = ("image", "h5", "badnet", "validation")
_PLACE = re.compile(r"\{([^{}]*)\}")


def names_in(words: Sequence[str]) -> set[str]:
    """The names in braces; raises ValueError for one that does not exist."""
    found = {name for word in words for name in _PLACE.findall(word)}
    for name in sorted(found):
        if name not in NAMES:
            hint = did_you_mean(name, NAMES)
            more = "" if hint == one_of(NAMES) else f" ({one_of(NAMES)})"
            raise ValueError(f"{{{name}}} is no name that the harness knows; {hint}{more}")
    return found


def filled(words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """The words with every name replaced by its value; raises KeyError for a name without a value."""
    return [_PLACE.sub(lambda match: values[match[1]], word) for word in words]
