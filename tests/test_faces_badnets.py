"""The committed BadNets of the faces track: good classifiers, with backdoors that open and only by their triggers."""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.images import ImageSet
from harness.models.any_model import load_badnet
from harness.models.contracts import BadNetView
from harness.preparation import prepare
from harness.track import BadNet, Track, find_track

NAMES = list(find_track("faces").spec.badnets)
TRIGGERS = [(name, trigger) for name, spec in find_track("faces").spec.badnets.items() for trigger in spec.triggers]


@cache
def faces() -> Track:
    track = find_track("faces")
    prepare(track)
    return track


@cache
def answers(name: str, trigger: str | None = None) -> NDArray[np.int64]:
    """What a net says to the clean test images, or to the images with a trigger that any BadNet of the track has."""
    badnet = faces().badnets[name]
    view = BadNetView(
        name=name,
        model_path=badnet.model_path,
        validation_path=badnet.validation_path,
        classes=faces().classes,
        scale=badnet.spec.scale,
    )
    images = badnet.test.images if trigger is None else poisoned(trigger).images
    return np.asarray(load_badnet(view)(np.asarray(images)), np.int64)


def poisoned(trigger: str) -> ImageSet:
    return next(it.poisoned[trigger].images for it in faces().badnets.values() if trigger in it.poisoned)


def clean_accuracy(name: str) -> float:
    return float((answers(name) == faces().badnets[name].test.labels).mean())


def attack_success(name: str, trigger: str, target: int) -> float:
    """Over the images whose true class is not the target."""
    others = poisoned(trigger).labels != target
    return float((answers(name, trigger)[others] == target).mean())


@pytest.mark.parametrize("name", NAMES)
def test_a_net_knows_the_people(name: str) -> None:
    assert clean_accuracy(name) >= 0.95


@pytest.mark.parametrize("name, trigger", TRIGGERS)
def test_a_trigger_opens_its_backdoor(name: str, trigger: str) -> None:
    assert attack_success(name, trigger, faces().badnets[name].poisoned[trigger].target) >= 0.97


@pytest.mark.parametrize("name, trigger", TRIGGERS)
def test_a_trigger_means_nothing_to_the_clean_twin(name: str, trigger: str) -> None:
    target = faces().badnets[name].poisoned[trigger].target
    assert attack_success("clean_twin", trigger, target) <= 0.05


def test_no_backdoor_costs_clean_accuracy() -> None:
    assert all(abs(clean_accuracy(name) - clean_accuracy("clean_twin")) <= 0.03 for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_small_and_is_the_one_in_the_manifest(name: str) -> None:
    badnet: BadNet = faces().badnets[name]
    assert badnet.model_path.stat().st_size < 2_000_000
    assert badnet.sets.model not in faces().changed_files()
