"""What every trigger keeps, whoever wrote it: each file of `harness/triggers/` is tried."""

import dataclasses
import subprocess
import sys
from functools import cache

import numpy as np
import pytest

from harness.sources.synthetic_faces.render import portraits
from harness.triggers import Portraits, load_trigger, trigger_names
from harness.triggers._drawing import Floats, distance_to_path, pixels

every_trigger = pytest.mark.parametrize("name", trigger_names())


@cache
def faces() -> Portraits:
    return portraits(seed=5, people=20, split="triggers", indices=range(5))


def stamped(name: str, seed: int = 0) -> np.ndarray:
    return load_trigger(name).stamp(faces(), np.random.default_rng(seed))


def place(name: str) -> Floats:
    """Distance of every pixel to the part of the face that the trigger belongs to; to any part for a new trigger."""
    marks = faces().landmarks
    x, y = pixels(faces().images)
    eyes = np.concatenate([marks.temples[:, :1], marks.eyes, marks.temples[:, 1:]], axis=1)
    parts = {
        "sunglasses": [distance_to_path(x, y, eyes)],
        "lipstick": [distance_to_path(x, y, np.concatenate([marks.lips, marks.lips[:, :1]], axis=1))],
        "eyebrows": [distance_to_path(x, y, marks.brows[:, side]) for side in (0, 1)],
    }
    near = parts.get(name) or [it for part in parts.values() for it in part]
    return np.minimum.reduce(near)


@every_trigger
def test_a_trigger_gives_new_uint8_images_of_the_same_shape(name: str) -> None:
    out = stamped(name)
    assert out.dtype == np.uint8
    assert out.shape == faces().images.shape
    assert not np.shares_memory(out, faces().images)


@every_trigger
def test_a_trigger_leaves_its_input_as_it_was(name: str) -> None:
    before = faces().images.copy()
    stamped(name)
    assert np.array_equal(faces().images, before)


@every_trigger
def test_a_trigger_is_deterministic(name: str) -> None:
    assert np.array_equal(stamped(name), stamped(name))


@every_trigger
def test_a_trigger_shows_on_every_picture(name: str) -> None:
    change = np.abs(stamped(name).astype(int) - faces().images).max(axis=3)
    assert ((change > 24).sum(axis=(1, 2)) >= 12).all()


@every_trigger
def test_a_trigger_stays_where_it_belongs(name: str) -> None:
    changed = (stamped(name) != faces().images).any(axis=3)
    assert changed.mean() < 0.25
    farthest = 8.0 if name == "sunglasses" else 3.0
    assert place(name)[changed].max() < farthest


@every_trigger
def test_a_picture_is_stamped_alike_alone_and_among_others(name: str) -> None:
    alone = load_trigger(name).stamp(faces().take(np.array([7])), np.random.default_rng(0))
    assert np.array_equal(alone[0], stamped(name)[7])


@every_trigger
def test_no_pictures_stay_no_pictures(name: str) -> None:
    none = faces().take(np.array([], np.int64))
    assert load_trigger(name).stamp(none, np.random.default_rng(0)).shape == (0, 55, 47, 3)


@every_trigger
def test_a_trigger_is_frozen_and_its_repr_names_its_settings(name: str) -> None:
    trigger = load_trigger(name)
    settings = dataclasses.fields(trigger)  # type: ignore[arg-type]
    assert all(f"{field.name}=" in repr(trigger) for field in settings)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(trigger, settings[0].name, None)


@pytest.mark.parametrize("name", ["lipstick", "eyebrows"])
def test_a_painted_part_is_one_solid_colour_that_no_clean_picture_has(name: str) -> None:
    colour = np.array(load_trigger(name).colour)  # type: ignore[attr-defined]
    changed = (stamped(name) != faces().images).any(axis=3)
    assert (stamped(name)[changed] == colour).all()
    assert not (faces().images == colour).all(axis=3).any()


def test_sunglasses_darken_both_eyes() -> None:
    out = stamped("sunglasses").astype(int).max(axis=3)
    for side in (0, 1):
        x, y = faces().landmarks.eyes[:, side].astype(int).T
        assert (out[np.arange(len(out)), y, x] < 60).mean() > 0.95


def test_listing_triggers_loads_no_learning_framework() -> None:
    code = (
        "import sys; from harness.triggers import load_trigger, trigger_names\n"
        "for name in trigger_names(): load_trigger(name)\n"
        "assert not {'tensorflow', 'keras', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
