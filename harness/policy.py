"""The organizer's choices in the score: `leaderboard/config.toml`."""

import tomllib
from pathlib import Path

from harness.errors import UserError
from harness.score import Policy
from harness.wording import did_you_mean

CONFIG = Path(__file__).resolve().parent.parent / "leaderboard" / "config.toml"
KEYS = ("detection_share",)


def read_policy(path: Path = CONFIG) -> Policy:
    """The policy in the file; raises UserError that names the key, the value and the fix."""
    try:
        stated = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    for key, value in stated.items():
        if key not in KEYS:
            raise UserError(f"{path}: {key}: unknown key; {did_you_mean(key, KEYS)}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"{path}: {key}: {value!r} is not a number; write one from 0 to 1")
    try:
        return Policy(**stated)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
