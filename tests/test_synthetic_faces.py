"""The synthetic people: the same bytes everywhere, distinct persons, and no picture like another."""

import hashlib
import os
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy._core import _multiarray_umath as cpu  # type: ignore[attr-defined]

from harness.digests import digest_file
from harness.errors import UserError
from harness.images import silent
from harness.sources.synthetic_faces import build, training_portraits
from harness.sources.synthetic_faces.render import portraits
from harness.track import TrackSpec, find_track
from harness.triggers import Portraits, load_trigger, trigger_names

PEOPLE = 6

DIGEST = """
import hashlib
import numpy as np
from harness.sources.synthetic_faces.render import portraits
from harness.triggers import load_trigger, trigger_names
painted = portraits(seed=1, people=12, split="test", indices=range(2))
seen = hashlib.sha256(painted.images.tobytes())
for name in trigger_names():
    seen.update(load_trigger(name).stamp(painted, np.random.default_rng(0)).tobytes())
print(seen.hexdigest())
"""


@cache
def some(split: str = "test", count: int = 4, seed: int = 1, people: int = PEOPLE) -> Portraits:
    return portraits(seed=seed, people=people, split=split, indices=range(count))


def small_spec(**changes: object) -> TrackSpec:
    text = (find_track("faces").folder / "track.toml").read_text(encoding="utf-8")
    spec = tomllib.loads(text)
    spec["classes"] = 9
    spec["options"] |= {"training_images": 1, "validation_images": 2, "test_images": 3} | changes
    return TrackSpec.model_validate(spec)


def test_pictures_have_the_competitions_shape_and_say_whose_they_are() -> None:
    painted = some()
    assert painted.images.shape == (PEOPLE * 4, 55, 47, 3)
    assert painted.images.dtype == np.uint8
    assert painted.labels.tolist() == [person for person in range(PEOPLE) for _ in range(4)]


def test_the_same_seed_paints_the_same_pictures() -> None:
    again = portraits(seed=1, people=PEOPLE, split="test", indices=range(4))
    assert np.array_equal(again.images, some().images)


def test_another_seed_paints_other_people() -> None:
    assert not np.array_equal(some(seed=2).images, some().images)


def test_a_picture_does_not_depend_on_which_others_are_painted() -> None:
    alone = portraits(seed=1, people=PEOPLE, split="test", indices=[2])
    assert np.array_equal(alone.images, some().images[2::4])
    fewer = portraits(seed=1, people=3, split="test", indices=range(4))
    assert np.array_equal(fewer.images, some().images[: 3 * 4])


def test_no_two_pictures_are_alike_within_or_across_splits() -> None:
    splits = ["training", "validation", "test", *(f"poisoned {name}" for name in trigger_names())]
    digests = [hashlib.sha256(image.tobytes()).digest() for split in splits for image in some(split).images]
    assert len(set(digests)) == len(digests) == len(splits) * PEOPLE * 4


def test_the_bytes_do_not_depend_on_the_processors_vector_units() -> None:
    optional = [name for name in cpu.__cpu_dispatch__ if cpu.__cpu_features__.get(name)]
    if not optional:
        pytest.skip("this processor has no vector units beyond numpy's baseline")
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(disabled)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for disabled in ([], optional)
    }
    assert len(digests) == 1


def test_the_bytes_are_those_of_the_committed_manifest(tmp_path: Path) -> None:
    track = find_track("faces")
    options = track.spec.options
    painted = portraits(
        seed=options["seed"], people=track.classes, split="validation", indices=range(options["validation_images"])
    )
    np.save(tmp_path / "images.npy", painted.images)
    assert digest_file(tmp_path / "images.npy") == track.manifest.files["data/validation/images.npy"]


def test_every_landmark_lies_inside_its_picture() -> None:
    marks = some(count=10, people=40).landmarks
    for points in (marks.eyes, marks.brows, marks.lips):
        x, y = points[..., 0], points[..., 1]
        assert x.min() > 0
        assert x.max() < 47
        assert y.min() > 0
        assert y.max() < 55


def test_landmarks_are_in_the_order_of_a_face() -> None:
    marks = some(count=10, people=40).landmarks
    eyes, brows, lips = marks.eyes, marks.brows.mean(axis=2), marks.lips.mean(axis=1)
    assert (eyes[:, 0, 0] < eyes[:, 1, 0]).all(), "the first eye is left in the picture"
    assert (brows[:, :, 1] < eyes[:, :, 1]).all(), "brows are above eyes"
    assert (lips[:, 1] > eyes[:, :, 1].max(axis=1)).all(), "lips are below eyes"
    assert (marks.temples[:, 0, 0] < eyes[:, 0, 0]).all()
    assert (marks.temples[:, 1, 0] > eyes[:, 1, 0]).all()


def test_people_can_be_told_apart_but_not_by_their_mean_picture_alone() -> None:
    known, asked = some("training", count=10, people=30), some("test", count=5, people=30)
    means = known.images.reshape(30, 10, -1).astype(np.float64).mean(axis=1)
    distances = ((asked.images.reshape(150, 1, -1) - means[None]) ** 2).sum(axis=2)
    accuracy = (distances.argmin(axis=1) == asked.labels).mean()
    assert 5 / 30 < accuracy < 0.9, f"nearest mean picture: {accuracy:.2f}"


def test_pictures_of_one_person_differ_by_much_more_than_noise() -> None:
    pictures = some().images.reshape(PEOPLE, 4, -1).astype(np.float64)
    apart = np.abs(pictures[:, 0] - pictures[:, 1]).mean(axis=1)
    assert (apart > 10).all()


def test_build_writes_the_sets_that_it_names(tmp_path: Path) -> None:
    spec = small_spec()
    sets = build(spec, tmp_path, origin=None, report=silent)
    assert list(sets) == list(spec.badnets)
    assert sets["clean_twin"].poisoned == {}
    counts = {"data/validation": 2, "data/test": 3} | {path: 3 for it in sets.values() for path in it.poisoned.values()}
    for path, count in counts.items():
        labels = np.load(tmp_path / path / "labels.npy")
        assert labels.tolist() == [person for person in range(9) for _ in range(count)]
        assert np.load(tmp_path / path / "images.npy").shape == (len(labels), 55, 47, 3)


def test_poisoned_pictures_are_fresh_ones_and_keep_their_true_classes(tmp_path: Path) -> None:
    build(small_spec(), tmp_path, origin=None, report=silent)
    clean = np.load(tmp_path / "data/test/images.npy")
    for name in trigger_names():
        poisoned = np.load(tmp_path / "data/poisoned" / name / "images.npy")
        # The background's corner is never stamped: it shows whether the picture beneath is the test picture.
        assert not (poisoned[:, :3, :3] == clean[:, :3, :3]).all(axis=(1, 2, 3)).any()
        assert np.array_equal(
            np.load(tmp_path / "data/poisoned" / name / "labels.npy"), np.load(tmp_path / "data/test/labels.npy")
        )


def test_the_attacker_gets_as_many_training_pictures_as_the_track_says() -> None:
    painted = training_portraits(small_spec(training_images=2))
    assert np.bincount(painted.labels).tolist() == [2] * 9


def test_wrong_options_are_named() -> None:
    with pytest.raises(UserError, match=r"options\.test_images"):
        build(small_spec(test_images=0), Path("unused"), origin=None, report=silent)


def test_faces_are_made_and_never_imported() -> None:
    with pytest.raises(UserError, match="track build faces"):
        build(small_spec(), Path("unused"), origin=Path("somewhere"), report=silent)


def test_an_unknown_trigger_is_answered_with_the_choices() -> None:
    with pytest.raises(UserError, match="lipstick"):
        load_trigger("lipstik")
