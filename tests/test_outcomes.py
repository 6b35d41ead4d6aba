"""Answers become outcomes, and outcomes rates."""

import doctest
from dataclasses import asdict
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import harness.outcomes
from harness.outcomes import (
    INVALID,
    METRICS,
    CleanOutcomes,
    Mark,
    clean_outcomes,
    mark_clean,
    mark_poisoned,
    poisoned_outcomes,
    rates,
    sanitise,
    wilson,
)
from tests.naive_score import naive_clean, naive_poisoned, naive_sanitise, naive_wilson

CLASSES = 5
FLAG = CLASSES
NUMBERS = st.one_of(
    hnp.integer_dtypes(endianness="="), hnp.unsigned_integer_dtypes(endianness="="), hnp.floating_dtypes(endianness="=")
)
ANY_NUMBERS = hnp.arrays(NUMBERS, hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=20))
ANSWER = st.integers(-2, CLASSES + 2)
CLEAN = st.lists(st.tuples(ANSWER, st.integers(0, CLASSES - 1)), max_size=40)
POISONED = st.lists(st.tuples(ANSWER, st.integers(-1, CLASSES - 1), st.booleans()), max_size=40)
TARGET = st.integers(0, CLASSES - 1)


def columns(rows: list[Any], width: int) -> list[NDArray[np.int64]]:
    return list(np.array(rows, np.int64).reshape(-1, width).T)


@given(ANY_NUMBERS, st.sampled_from([2, 43, 1283, 70_000]))
def test_sanitise_agrees_with_a_plain_loop_for_all_numbers(answers: NDArray[Any], classes: int) -> None:
    with np.errstate(all="ignore"):
        expected = naive_sanitise(answers.ravel().tolist(), classes)
    assert sanitise(answers, classes).ravel().tolist() == expected
    assert sanitise(answers, classes).shape == answers.shape


@given(ANY_NUMBERS)
def test_sanitise_twice_is_sanitise_once(answers: NDArray[Any]) -> None:
    once = sanitise(answers, CLASSES)
    assert once.dtype == np.int32
    assert np.array_equal(sanitise(once, CLASSES), once)


@pytest.mark.parametrize(
    "answer",
    [-1, CLASSES + 1, 2**31, 2**63 - 1, -(2**63), 0.5, np.nan, np.inf, -np.inf, 1e300, 2**64 - 1, 10**30, None],
)
def test_what_is_no_class_and_no_flag_is_invalid(answer: Any) -> None:
    assert sanitise([answer], CLASSES).tolist() == [INVALID]


@pytest.mark.parametrize("answers", [[True], [1j], ["1"], [b"1"], [object()]])
def test_booleans_complex_numbers_text_and_objects_are_no_answers(answers: list[Any]) -> None:
    assert sanitise(answers, CLASSES).tolist() == [INVALID]


@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint8, np.int16, np.int64, np.uint64, np.float16, np.float32, np.longdouble]
)
def test_every_class_and_the_flag_are_valid_in_every_dtype(dtype: Any) -> None:
    answers = np.arange(CLASSES + 1).astype(dtype)
    assert sanitise(answers, CLASSES).tolist() == [0, 1, 2, 3, 4, FLAG]


def test_a_signalling_nan_is_invalid_and_warns_nobody() -> None:
    assert sanitise(np.array([0x7F800001], np.uint32).view(np.float32), CLASSES).tolist() == [INVALID]


@given(CLEAN)
def test_clean_outcomes_agree_with_a_plain_loop_and_sum_to_the_total(rows: list[tuple[int, int]]) -> None:
    answers, labels = columns(rows, 2)
    outcomes = clean_outcomes(answers, labels, CLASSES)
    assert asdict(outcomes) == naive_clean(answers.tolist(), labels.tolist(), CLASSES)
    assert outcomes.correct + outcomes.wrong + outcomes.flagged + outcomes.invalid == outcomes.total == len(rows)


@given(POISONED, TARGET, st.booleans())
def test_poisoned_outcomes_agree_with_a_plain_loop_and_sum_to_the_total(
    rows: list[tuple[int, int, bool]], target: int, masked: bool
) -> None:
    answers, labels, carries = columns(rows, 3)
    mask = carries.astype(bool) if masked else None
    outcomes = poisoned_outcomes(answers, labels, target, CLASSES, mask)
    plain_mask = None if mask is None else mask.tolist()
    assert asdict(outcomes) == naive_poisoned(answers.tolist(), labels.tolist(), target, CLASSES, plain_mask)
    parts = (outcomes.flagged, outcomes.target, outcomes.recovered or 0, outcomes.other, outcomes.invalid)
    assert sum(parts) == outcomes.total
    assert outcomes.total + outcomes.left_out == (len(rows) if mask is None else mask.sum())


@given(POISONED, TARGET, st.randoms(use_true_random=False))
def test_the_order_of_images_changes_nothing(rows: list[tuple[int, int, bool]], target: int, random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    outcomes = []
    for order in (rows, shuffled):
        answers, labels, carries = columns(order, 3)
        clean = clean_outcomes(answers, np.maximum(labels, 0), CLASSES)
        outcomes.append((clean, poisoned_outcomes(answers, labels, target, CLASSES, carries.astype(bool))))
    assert outcomes[0] == outcomes[1]


@given(st.lists(st.tuples(ANSWER, st.integers(1, CLASSES - 1)), min_size=1, max_size=40))
def test_with_known_classes_detected_won_recovered_and_other_make_the_whole(rows: list[tuple[int, int]]) -> None:
    answers, labels = columns(rows, 2)
    outcomes = poisoned_outcomes(answers, labels, 0, CLASSES)
    told = rates(outcomes)
    values = [told[name].value for name in ("detection_rate", "attack_success_rate", "recovered_accuracy")]
    assert sum(value for value in values if value is not None) + outcomes.other / outcomes.total == pytest.approx(1)


@pytest.mark.parametrize("answers", [np.uint8, np.int16, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("labels", [np.uint8, np.int8, np.int32, np.uint64])
@pytest.mark.parametrize("images", [0, 1, 7, 1000])
def test_outcomes_do_not_depend_on_the_dtype(answers: Any, labels: Any, images: int) -> None:
    rng = np.random.default_rng(images)
    given_answers, truth = rng.integers(0, CLASSES + 3, images), rng.integers(0, CLASSES, images)
    as_given = (given_answers.astype(answers), truth.astype(labels))
    assert asdict(clean_outcomes(*as_given, CLASSES)) == naive_clean(given_answers.tolist(), truth.tolist(), CLASSES)
    assert asdict(poisoned_outcomes(*as_given, 2, CLASSES)) == naive_poisoned(
        given_answers.tolist(), truth.tolist(), 2, CLASSES
    )


def test_recovery_is_not_measured_where_no_true_class_is_known() -> None:
    outcomes = poisoned_outcomes([0, 1, FLAG, 7], [-1] * 4, 0, CLASSES)
    assert (outcomes.recovered, outcomes.recovered_total) == (None, 0)
    recovered = rates(outcomes)["recovered_accuracy"]
    assert (recovered.value, recovered.interval, recovered.total) == (None, None, 0)


def test_recovery_is_over_the_known_classes_where_only_some_are_known() -> None:
    outcomes = poisoned_outcomes([1, 1, 2, 3], [1, -1, 1, -1], 0, CLASSES)
    assert (outcomes.recovered, outcomes.recovered_total, outcomes.other, outcomes.total) == (1, 2, 3, 4)
    assert rates(outcomes)["recovered_accuracy"].value == 0.5


def test_poisoned_images_of_the_target_class_are_left_out_and_counted() -> None:
    outcomes = poisoned_outcomes([0, 0, FLAG], [0, 1, 0], 0, CLASSES)
    assert (outcomes.total, outcomes.target, outcomes.flagged, outcomes.left_out) == (1, 1, 0, 2)


def test_an_invalid_answer_is_wrong_on_clean_images_and_the_attackers_win_on_poisoned_ones() -> None:
    assert rates(clean_outcomes([1, -1], [1, 1], CLASSES))["clean_accuracy"].value == 0.5
    assert rates(poisoned_outcomes([FLAG, -1], [1, 1], 0, CLASSES))["attack_success_rate"].value == 0.5


def test_marks_say_what_became_of_each_image() -> None:
    assert mark_clean([1, 2, FLAG, 99], [1, 1, 1, 1], CLASSES).tolist() == [
        Mark.CORRECT,
        Mark.WRONG,
        Mark.FLAGGED,
        Mark.INVALID,
    ]
    mask = np.array([True] * 6 + [False])
    assert mark_poisoned([0, 1, 2, FLAG, -1, 0, 0], [1, 1, 1, 1, 1, 0, 1], 0, CLASSES, mask).tolist() == [
        Mark.TARGET,
        Mark.RECOVERED,
        Mark.OTHER,
        Mark.FLAGGED,
        Mark.INVALID,
        Mark.LEFT_OUT,
        Mark.UNTRIGGERED,
    ]


def test_no_images_means_not_measured_and_never_zero() -> None:
    told = rates(clean_outcomes([], [], CLASSES)) | rates(poisoned_outcomes([], [], 0, CLASSES))
    assert set(told) == set(METRICS)
    assert all((rate.value, rate.total, rate.interval) == (None, 0, None) for rate in told.values())


def test_rates_name_their_count_and_total() -> None:
    told = rates(CleanOutcomes(correct=90, wrong=5, flagged=3, invalid=2, total=100))
    assert (told["clean_accuracy"].count, told["clean_accuracy"].total, told["clean_accuracy"].value) == (90, 100, 0.9)
    assert told["false_flag_rate"].value == 0.03


def test_metrics_say_which_way_is_better() -> None:
    assert {name: metric.higher_is_better for name, metric in METRICS.items()} == {
        "clean_accuracy": True,
        "false_flag_rate": False,
        "detection_rate": True,
        "attack_success_rate": False,
        "recovered_accuracy": True,
    }
    assert all(metric.title and metric.formula for metric in METRICS.values())


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([1], "do not belong together"),
        ([[1, 2]], "do not belong together"),
        ([1, CLASSES], "must be integers 0..4"),
        ([1, -2], "must be integers 0..4"),
        ([1.0, 2.0], "must be integers 0..4"),
        ([1, -1], "no true class"),
    ],
)
def test_labels_that_cannot_be_are_refused_with_the_reason(labels: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        clean_outcomes([1, 2], labels, CLASSES)


@pytest.mark.parametrize("target", [-1, CLASSES])
def test_a_target_that_is_no_class_is_refused(target: int) -> None:
    with pytest.raises(ValueError, match="is not a class"):
        poisoned_outcomes([1], [1], target, CLASSES)


@pytest.mark.parametrize("mask", [[1, 0], [True]])
def test_a_mask_that_is_not_one_boolean_per_image_is_refused(mask: list[Any]) -> None:
    with pytest.raises(ValueError, match="one per image"):
        poisoned_outcomes([1, 2], [1, 2], 0, CLASSES, np.array(mask))


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_intervals_published_by_newcombe(count: int, total: int, low: float, high: float) -> None:
    found = wilson(count, total)
    assert found is not None
    assert [round(bound, 4) for bound in found] == [low, high]


@given(st.integers(1, 20_000), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_agrees_with_the_score_test_solved_by_bisection(total: int, share: float, confidence: float) -> None:
    count = round(share * total)
    found = wilson(count, total, confidence)
    assert found is not None
    expected = naive_wilson(count, total, NormalDist().inv_cdf((1 + confidence) / 2))
    assert found == pytest.approx(expected, abs=1e-9)
    assert 0 <= found[0] <= count / total <= found[1] <= 1


@pytest.mark.parametrize(
    ("count", "total", "confidence"), [(2, 1, 0.95), (-1, 1, 0.95), (0, -1, 0.95), (1, 2, 1), (1, 2, 0)]
)
def test_wilson_refuses_what_is_no_share_or_no_confidence(count: int, total: int, confidence: float) -> None:
    with pytest.raises(ValueError, match=r"not a share|not between"):
        wilson(count, total, confidence)


def test_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(harness.outcomes).failed == 0
