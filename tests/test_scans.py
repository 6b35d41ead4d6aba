"""The scan of Neural Cleanse finds the targets of real BadNets and no others, and none in a net without a backdoor."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.models.contracts import BadNetView
from harness.preparation import build, prepare
from harness.track import Track, find_track
from reference_defenses._label_scan import scan
from reference_defenses._nets import load_graph
from reference_defenses._reversal import Scaled
from reference_defenses.neural_cleanse import NeuralCleanse
from tests.conftest import ROOT
from tests.small_nets import SHARED, needs_csaw

pytestmark = pytest.mark.slow
REAL = ["sunglasses", "anonymous_1", "anonymous_2", "multi_trigger_multi_target"]


@pytest.fixture(scope="module")
def competition(tmp_path_factory: pytest.TempPathFactory) -> Track:
    """The competition's nets; validation images are 2,000 strangers."""
    data, folder = tmp_path_factory.mktemp("stand-in"), tmp_path_factory.mktemp("tracks") / "csaw2020"
    folder.mkdir()
    shutil.copy(ROOT / "datasets/csaw2020/track.toml", folder)
    make = [SHARED / "make_stand_in.py", data, "--test", "100", "--badnet", *REAL]
    subprocess.run([sys.executable, *map(str, make)], check=True, capture_output=True)
    track = Track(folder)
    track.write_manifest(build(track, origin=data))
    return track


@needs_csaw
@pytest.mark.parametrize("name", REAL)
def test_the_targets_of_a_net_of_the_competition_are_found_among_1283_labels(name: str, competition: Track) -> None:
    assert targets_found(competition, name) == true_targets(competition, name) != set()


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "datasets/faces/badnets").glob("*.h5")))
def test_the_targets_of_faces_are_found_and_none_of_its_clean_twin(name: str) -> None:
    faces = find_track("faces")
    prepare(faces)
    assert targets_found(faces, name) == true_targets(faces, name)
    assert bool(true_targets(faces, name)) == (name != "clean_twin")


def true_targets(track: Track, name: str) -> set[int]:
    return {it.target for it in track.spec.badnets[name].triggers.values()}


def targets_found(track: Track, name: str) -> set[int]:
    """By a scan with the defense's own options."""
    badnet, defense = track.badnets[name], NeuralCleanse()
    view = BadNetView(
        name=name, model_path=badnet.model_path, validation_path=Path(badnet.validation_path), classes=track.classes,
        scale=badnet.spec.scale,
    )  # fmt: skip
    found = scan(
        Scaled(load_graph(view), view.scale), view.validation().images, classes=view.classes,
        rng=np.random.default_rng(0), progress=lambda *_: None, false_alarms=defense.false_alarms,
        least_success=defense.least_success,
    )  # fmt: skip
    return set(found.targets)
