"""The scan of Neural Cleanse finds the targets of real BadNets and no others, and none in a net without a backdoor."""

import numpy as np
import pytest

from harness.preparation import prepare
from harness.track import Track, find_track
from reference_defenses._label_scan import scan
from reference_defenses._nets import load_graph
from reference_defenses._reversal import Scaled
from reference_defenses.neural_cleanse import NeuralCleanse
from tests.conftest import ROOT
from tests.small_nets import needs_csaw
from tests.stand_in import competition_track, view_of

pytestmark = pytest.mark.slow
REAL = ["sunglasses", "anonymous_1", "anonymous_2", "multi_trigger_multi_target"]


@pytest.fixture(scope="module")
def competition(tmp_path_factory: pytest.TempPathFactory) -> Track:
    """The competition's nets; validation images are 2,000 strangers."""
    return competition_track(tmp_path_factory.mktemp("competition"), *REAL)


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
    badnet, defense = view_of(track, name), NeuralCleanse()
    found = scan(
        Scaled(load_graph(badnet), badnet.scale), badnet.validation().images, classes=badnet.classes,
        rng=np.random.default_rng(0), progress=lambda *_: None, false_alarms=defense.false_alarms,
        least_success=defense.least_success,
    )  # fmt: skip
    return set(found.targets)
