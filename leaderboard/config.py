"""The organizer's choices of what the board shows: `tracks` in `leaderboard/config.toml`."""

import re
from pathlib import Path

from harness.errors import UserError
from harness.policy import CONFIG, read_config
from harness.track import NAME


def read_tracks(path: Path = CONFIG) -> list[str]:
    """The tracks of the board; raises UserError that names the key, the value and the fix."""
    tracks = read_config(path).get("tracks", [])
    if (
        not isinstance(tracks, list)
        or not tracks
        or not all(isinstance(it, str) and re.match(NAME, it) for it in tracks)
    ):
        raise UserError(f"{path}: tracks: {tracks!r} is no list of tracks; write the names of folders of datasets/")
    return tracks
