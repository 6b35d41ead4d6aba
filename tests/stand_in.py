"""The competition's own nets as a track, its validation images 2,000 stand-ins; for what is to be proven on real nets."""

import shutil
import subprocess
import sys
from pathlib import Path

from harness.models.contracts import BadNetView
from harness.preparation import build
from harness.track import Track
from tests.conftest import ROOT
from tests.small_nets import SHARED


def competition_track(folder: Path, *badnets: str) -> Track:
    """A track with these nets of csaw2020 in a new `folder`, each of 2,000 validation and 100 test images."""
    data, place = folder / "stand-in", folder / "csaw2020"
    place.mkdir()
    shutil.copy(ROOT / "datasets" / "csaw2020" / "track.toml", place)
    make = [SHARED / "make_stand_in.py", data, "--test", "100", "--badnet", *badnets]
    subprocess.run([sys.executable, *map(str, make)], check=True, capture_output=True)
    track = Track(place)
    track.write_manifest(build(track, origin=data))
    return track


def view_of(track: Track, name: str) -> BadNetView:
    """What a defense is given of a track's BadNet."""
    badnet = track.badnets[name]
    return BadNetView(
        name=name, model_path=badnet.model_path, validation_path=badnet.validation_path, classes=track.classes,
        scale=badnet.spec.scale,
    )  # fmt: skip
