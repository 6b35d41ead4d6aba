"""A wrong scale or channel order is named, one that is not stated is found, and a model that is poor anyway is let be."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.models.contracts import Images, Predictor, Validation
from harness.models.errors import ModelError
from harness.models.input_choice import (
    FALSE_ALARMS,
    IMAGES,
    Channels,
    Decision,
    InputChoice,
    choose_input,
    spread_evenly,
)

CLASSES = 10
USUAL = InputChoice(scale=255.0)
RAW = InputChoice(scale=1.0)
BGR = InputChoice(scale=255.0, channels="bgr")
RAW_BGR = InputChoice(scale=1.0, channels="bgr")
Labels = NDArray[np.int64]


class Model:
    """Answers so many images in a thousand rightly under each choice, and the flag otherwise; counts what it is asked."""

    def __init__(self, right: dict[InputChoice, int]) -> None:
        self.right = right
        self.asked: list[tuple[InputChoice, int]] = []

    def __call__(self, choice: InputChoice) -> Predictor:
        def answer(images: Images) -> Labels:
            self.asked.append((choice, len(images)))
            labels = images[:, 0, 0, 0].astype(np.int64)
            luck = np.random.default_rng(0).permutation(len(images)) * 1000 // len(images)
            return np.where(luck < self.right.get(choice, 10), labels, CLASSES)

        return answer


def validation(labels: Labels) -> Validation:
    """Images that say their class."""
    images = np.zeros((len(labels), 2, 2, 3), np.uint8)
    images[:, 0, 0, 0] = labels
    return Validation(images=images, labels=labels)


def decide(
    make: Callable[[InputChoice], Predictor],
    *,
    scale: float | None = None,
    channels: Channels | None = None,
    labels: Labels | None = None,
) -> Decision:
    shown = validation(np.arange(1000) % CLASSES if labels is None else labels)
    return choose_input(make, usual=USUAL, scale=scale, channels=channels, validation=shown)


def answering(labels: Labels, rows: dict[InputChoice, Labels]) -> Callable[[InputChoice], Predictor]:
    """A model whose answers under every choice are given beforehand, for few enough images that all are asked."""
    assert len(labels) <= IMAGES
    return lambda choice: lambda images: rows[choice]


def test_a_model_that_does_well_is_asked_once_and_nothing_is_said() -> None:
    model = Model({USUAL: 910, RAW: 1000})
    assert decide(model) == Decision(USUAL)
    assert decide(model, scale=255.0, channels="rgb") == Decision(USUAL)
    assert model.asked == [(USUAL, IMAGES)] * 2


def test_a_wrong_stated_scale_is_kept_and_named() -> None:
    model = Model({USUAL: 970})
    assert decide(model, scale=1.0) == Decision(
        RAW,
        "your model seems to want x / 255: clean accuracy 97 % on 256 validation images, 1 % with scale = 1 as stated; "
        "set scale = 255",
    )
    assert model.asked[0] == (RAW, IMAGES)
    assert sorted(images for _, images in model.asked) == [IMAGES] * 4


def test_a_wrong_stated_order_of_channels_is_kept_and_named() -> None:
    assert decide(Model({USUAL: 400, BGR: 970}), channels="rgb") == Decision(
        USUAL,
        "your model seems to want BGR: clean accuracy 97 % on 256 validation images, 40 % with "
        'channels = "rgb" as stated; set channels = "bgr"',
    )


def test_a_wrong_scale_and_order_together_are_named_together() -> None:
    decision = decide(Model({RAW_BGR: 970}), scale=255.0, channels="rgb")
    assert decision.choice == USUAL
    assert decision.words == (
        "your model seems to want raw 0..255 input and BGR: clean accuracy 97 % on 256 validation images, 1 % with "
        'scale = 255, channels = "rgb" as stated; set scale = 1, channels = "bgr"'
    )


def test_a_scale_that_no_model_has_is_held_against_the_common_ones() -> None:
    decision = decide(Model({RAW: 970}), scale=1e9)
    assert decision.choice.scale == 1e9
    assert "seems to want raw 0..255 input" in str(decision.words)


def test_what_is_not_stated_is_inferred_and_said() -> None:
    assert decide(Model({RAW: 970})) == Decision(
        RAW,
        "inferred scale = 1, as your model seems to want raw 0..255 input: clean accuracy 97 % on 256 validation "
        "images, 1 % with scale = 255; state it to settle it",
    )
    assert decide(Model({BGR: 970}), scale=255.0).choice == BGR
    assert decide(Model({RAW_BGR: 970})).choice == RAW_BGR


def test_what_is_stated_wrongly_is_kept_even_where_the_rest_is_not_stated() -> None:
    decision = decide(Model({BGR: 970, RAW_BGR: 600}), scale=1.0)
    assert decision.choice == RAW
    assert str(decision.words).endswith('1 % with scale = 1, channels = "rgb"; set scale = 255, channels = "bgr"')


def test_the_badnets_own_scale_is_what_is_usual() -> None:
    raw = choose_input(Model({RAW: 970}), usual=RAW, validation=validation(np.arange(100) % CLASSES))
    assert raw == Decision(RAW)


def test_of_choices_that_do_as_well_the_one_nearest_to_the_stated_one_is_named() -> None:
    decision = decide(Model({USUAL: 960, BGR: 970}), scale=1.0, channels="rgb")
    assert "seems to want x / 255:" in str(decision.words)


def test_a_choice_that_the_model_refuses_is_out_of_the_question() -> None:
    model = Model({USUAL: 970})

    def make(choice: InputChoice) -> Predictor:
        if choice.channels == "bgr":
            raise ModelError("no BGR here")
        return model(choice)

    assert "seems to want x / 255:" in str(decide(make, scale=1.0).words)
    with pytest.raises(ModelError, match="no BGR here"):
        decide(make, channels="bgr")


def test_twenty_images_are_enough_to_tell_a_wrong_scale_and_eight_are_not() -> None:
    for count, told in ((20, True), (8, False)):
        decision = decide(Model({USUAL: 970}), scale=1.0, labels=np.arange(count) % CLASSES)
        assert (decision.words is not None) == told


@given(st.lists(st.integers(1, 60), min_size=2, max_size=4), st.lists(st.integers(0, CLASSES), min_size=4, max_size=4))
def test_a_model_that_answers_one_class_wants_nothing_however_common_that_class(
    counts: list[int], answers: list[int]
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    rows = {
        choice: np.full(len(labels), answer) for choice, answer in zip((USUAL, RAW, BGR, RAW_BGR), answers, strict=True)
    }
    assert decide(answering(labels, rows), labels=labels) == Decision(USUAL)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_guessing_is_no_better_than_flagging_everything(classes: int) -> None:
    labels = np.arange(200) % classes
    for seed in range(100):
        guesses = np.random.default_rng(seed).integers(0, classes, (3, 200))
        rows = {USUAL: np.full(200, CLASSES), **dict(zip((RAW, BGR, RAW_BGR), guesses, strict=True))}
        assert decide(answering(labels, rows), labels=labels) == Decision(USUAL)


@given(st.integers(0, 1000), st.lists(st.integers(0, 1000), min_size=3, max_size=3))
def test_no_alarm_unless_half_of_what_is_lacking_is_won(first: int, others: list[int]) -> None:
    model = Model({USUAL: first, **dict(zip((RAW, BGR, RAW_BGR), others, strict=True))})
    decision = decide(model)
    bar = max(first + 100, 500 + max(first, 1000 // CLASSES) / 2)
    if max(others) < bar - 20:  # images, unlike thousandths, come whole
        assert decision == Decision(USUAL)
    if max(others) > bar + 20:
        assert decision.choice != USUAL


@pytest.mark.parametrize("accuracy", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("images", [20, 60])
def test_false_alarms_on_models_that_are_as_poor_in_every_way_are_as_rare_as_promised(
    accuracy: float, images: int
) -> None:
    rng = np.random.default_rng(images)
    labels = np.arange(images) % CLASSES
    models = 2000
    alarms = 0
    for _ in range(models):
        rows = {
            choice: np.where(rng.random(images) < accuracy, labels, CLASSES) for choice in (USUAL, RAW, BGR, RAW_BGR)
        }
        alarms += decide(answering(labels, rows), labels=labels).words is not None
    assert alarms <= 2 * FALSE_ALARMS * models


@given(st.lists(st.integers(0, 5), max_size=300), st.integers(1, 80))
def test_the_sample_is_spread_evenly_over_the_classes(classes: list[int], limit: int) -> None:
    labels = np.array(classes, np.int64)
    chosen = spread_evenly(labels, limit)
    assert len(chosen) == min(limit, len(labels))
    assert (np.diff(chosen) > 0).all()
    taken, there = (np.bincount(part, minlength=6) for part in (labels[chosen], labels))
    # A class that has more to give has at most one image less than any other.
    assert all(taken[k] >= taken.max() - 1 for k in range(6) if taken[k] < there[k])
