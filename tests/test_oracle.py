"""An oracle is given some poisoned images and is marked; nobody else reaches any."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.invigilator import Invigilator
from harness.models.contracts import BadNetView, OracleView
from harness.oracle import given_to_oracle
from harness.record import read_record
from harness.room import Candidate
from harness.sandbox import find_sandbox
from harness.sandbox.limits import Limits
from harness.track import Track
from harness.worker.kinds import asking_of, find_kind
from leaderboard.contenders import contender
from tests.fuzz.documents import write_results, write_track

LOOKS = """
import os
from dataclasses import dataclass
import numpy as np
from harness.models.findings import Findings
@dataclass(frozen=True, kw_only=True)
class Looks:
    def repair(self, badnet, validation, *, rng, progress):
        seen = {"attributes": sorted(name for name in dir(badnet) if not name.startswith("_"))}
        if hasattr(badnet, "poisoned_path"):
            seen["files"] = sorted(os.listdir(badnet.poisoned_path))
            seen["poisoned"] = {name: [str(it.dtype), *it.shape, int(it[:, :, 9].min())] for name, it in badnet.poisoned().items()}
            try:
                (badnet.poisoned_path / "x").write_text("x")
            except OSError as error:
                seen["written"] = type(error).__name__
        class Predictor:
            findings = Findings(facts=seen)
            def __call__(self, images):
                return np.zeros(len(images), int)
        return Predictor()
"""
Look = Callable[..., dict[str, Any]]


@pytest.fixture
def track(tmp_path: Path) -> Track:
    (tmp_path / "tiny").mkdir()
    return write_track(tmp_path / "tiny")


@pytest.fixture
def seen(track: Track, tmp_path: Path) -> Look:
    """What a defense sees when it repairs a BadNet."""

    def look(badnet: str, **options: Any) -> dict[str, Any]:
        (tmp_path / "looks.py").write_text(LOOKS)
        chosen = find_kind("defense").Options.model_validate({"entry": "looks.py:Looks", **options})
        candidate = Candidate("defense", chosen.model_dump(), tmp_path, True, asking_of("defense", chosen))
        invigilator = Invigilator(find_sandbox("bubblewrap"), Limits(), singles=1, practice=True)
        sitting = invigilator.sit(candidate, track, track.badnets[badnet], seed=1)
        assert sitting.failure is None
        return dict(sitting.found)

    return look


def test_an_oracle_is_given_a_fifth_of_the_poisoned_images(seen: Look) -> None:
    facts = seen("first", oracle=True)
    assert facts["files"] == ["patch.npy"]
    assert facts["poisoned"] == {"patch": ["uint8", 3, 12, 10, 3, 255]}
    assert facts["written"] == "OSError"
    assert seen("twin", oracle=True)["files"] == []


def test_a_defense_that_is_no_oracle_sees_nothing_of_it(seen: Look) -> None:
    told = {field.name for field in fields(BadNetView)} | {"flag", "validation"}
    facts = seen("first")
    assert set(facts) == {"attributes"}
    assert set(facts["attributes"]) == told


def test_an_oracle_is_marked_on_the_board(track: Track, tmp_path: Path) -> None:
    options = find_kind("defense").Options.model_validate({"entry": "looks.py:Looks", "oracle": True})
    assert asking_of("defense", options).marks == ("oracle",)
    record = read_record(write_results(tmp_path, track))
    marked = record.model_copy(update={"submission": record.submission.model_copy(update={"marks": ["oracle"]})})
    assert "oracle" in contender(marked).badges
    assert not contender(marked).ranked


def test_no_view_has_triggers_targets_or_labels_of_poisoned_images() -> None:
    for view in (BadNetView, OracleView):
        assert not {"triggers", "target", "targets", "labels", "test", "test_path"} & set(dir(view))
        assert not {"triggers", "target", "targets", "labels"} & {field.name for field in fields(view)}


def test_the_share_is_drawn_from_what_carries_its_trigger_and_is_deleted(track: Track) -> None:
    badnet = track.badnets["first"]
    poisoned = badnet.poisoned["patch"]
    carries = np.zeros(len(poisoned.images), bool)
    carries[::2] = True
    poisoned.images = type(poisoned.images)(
        images=poisoned.images.images, labels=poisoned.images.labels, carries=carries
    )
    given = [given_to_oracle(badnet, seed) for seed in (1, 1, 2)]
    arrays = [np.load(Path(folder.name) / "patch.npy") for folder in given]
    assert len(arrays[0]) == 2
    np.testing.assert_array_equal(arrays[0], arrays[1])
    assert (arrays[0] != arrays[2]).any()
    carrying = {image.tobytes() for image in poisoned.images.images[carries]}
    assert {image.tobytes() for image in arrays[0]} <= carrying
    for folder in given:
        folder.cleanup()
        assert not Path(folder.name).exists()
