"""The organizer's choices in the score: `leaderboard/config.toml`."""

import tomllib
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.score import Policy
from harness.wording import did_you_mean

CONFIG = Path(__file__).resolve().parent.parent / "leaderboard" / "config.toml"
KEYS = ("detection_share", "tracks")


def read_config(path: Path = CONFIG) -> dict[str, Any]:
    """All that the file states; raises UserError where it cannot be read or has a key that nobody knows."""
    try:
        stated = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    for key in stated.keys() - set(KEYS):
        raise UserError(f"{path}: {key}: unknown key; {did_you_mean(key, KEYS)}")
    return stated


def read_policy(path: Path = CONFIG) -> Policy:
    """The policy in the file; raises UserError that names the key, the value and the fix."""
    share = read_config(path).get("detection_share", Policy.detection_share)
    if isinstance(share, bool) or not isinstance(share, int | float):
        raise UserError(f"{path}: detection_share: {share!r} is not a number; write one from 0 to 1")
    try:
        return Policy(detection_share=share)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
