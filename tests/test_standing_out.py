"""Which labels stand out: planted ones do, and those of clean nets as seldom as was said."""

from collections.abc import Sequence
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_defenses._label_scan import RUNGS, stand_out
from reference_defenses._outliers import SPREAD, largest_of_chance, smallest_of_chance


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), classes=st.sampled_from([60, 1283]), scale=st.floats(0.1, 10))
def test_targets_far_below_the_others_stand_out_and_the_unit_does_not_matter(
    seed: int, classes: int, scale: float
) -> None:
    norms = np.sort(200 * np.exp(0.3 * np.random.default_rng(seed).normal(size=classes)))[:32].astype(np.float32)
    with_targets = np.concatenate([[5, 7, 10], norms[3:]]).astype(np.float32)
    bar = smallest_of_chance(with_targets, classes, 0.2)
    assert 10 < bar < norms[-1]
    assert smallest_of_chance(norms, classes, 0.2) == pytest.approx(bar, rel=1e-6)  # the targets do not move the line
    assert smallest_of_chance(np.float32(scale) * norms, classes, 0.2) == pytest.approx(scale * bar, rel=1e-4)
    assert smallest_of_chance(norms, classes, 0.5) >= bar >= smallest_of_chance(norms, classes, 0.05)


@pytest.mark.parametrize("classes", [43, 100])
def test_clean_nets_get_a_target_as_often_as_was_said(classes: int) -> None:
    rng = np.random.default_rng(0)
    tails = np.sort(np.exp(SPREAD * rng.normal(size=(100, classes))))[:, :32].astype(np.float32)
    alarms = np.mean([tail[0] < smallest_of_chance(tail, classes, 0.2) for tail in tails])
    assert 0.1 < alarms < 0.32


def test_a_target_a_third_as_large_as_the_smallest_of_1283_labels_stands_out() -> None:
    classes, finalists = 1283, 1283
    for rung in RUNGS:
        finalists = ceil(rung.keep * finalists)
    rng = np.random.default_rng(0)
    tails = np.sort(np.exp(SPREAD * rng.normal(size=(50, classes))))[:, :finalists].astype(np.float32)
    target = np.median(tails[:, 0]) / 3
    found = [target < smallest_of_chance(np.concatenate([[target], tail[:-1]]), classes, 0.05) for tail in tails]
    assert np.mean(found) >= 0.94


def test_nothing_stands_out_among_too_few_or_among_failures() -> None:
    assert smallest_of_chance(np.array([1, 50], np.float32), 2, 0.05) == 0
    assert smallest_of_chance(np.full(30, np.inf, np.float32), 30, 0.05) == 0
    assert largest_of_chance(np.array([0, 0, 9, 0, 0, 0], np.float32), 0.05) == np.inf
    assert largest_of_chance(np.zeros(60, np.float32), 0.05) == np.inf


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), classes=st.sampled_from([43, 100, 1283]), scale=st.floats(0.1, 10))
def test_a_response_far_above_the_others_stands_out_and_moves_no_bar(seed: int, classes: int, scale: float) -> None:
    responses = np.random.default_rng(seed).normal(size=classes).astype(np.float32)
    bar = largest_of_chance(responses, 0.05)
    responses[responses.argmax()] = 3 * bar
    assert largest_of_chance(responses, 0.05) == pytest.approx(bar, rel=1e-6)
    assert largest_of_chance(np.float32(scale) * responses, 0.05) == pytest.approx(scale * bar, rel=1e-4)
    assert largest_of_chance(responses, 0.5) <= bar <= largest_of_chance(responses, 0.01)


@pytest.mark.parametrize("classes", [43, 100, 500])
def test_clean_nets_respond_beyond_the_bar_as_often_as_was_said(classes: int) -> None:
    nets = np.random.default_rng(5).normal(size=(100, classes)).astype(np.float32)
    alarms = np.mean([net.max() > largest_of_chance(net, 0.2) for net in nets])
    assert 0.1 < alarms < 0.32


@pytest.mark.parametrize("classes", [43, 100])
def test_a_clean_net_gets_a_target_by_either_bar_no_oftener_than_was_said(classes: int) -> None:
    rng = np.random.default_rng(1)
    alarms = []
    for norms in np.sort(np.exp(SPREAD * rng.normal(size=(150, classes))))[:, :32].astype(np.float32):
        finalists, responses = rng.permutation(classes)[:32], rng.normal(size=classes).astype(np.float32)
        alarms.append(bool(stand_out(norms, responses, finalists, np.ones(32, bool), false_alarms=0.2).targets))
    assert 0.05 < np.mean(alarms) < 0.26  # below 0.2, as a response counts only where the label is a finalist


def verdict(norms: dict[int, float], responses: dict[int, float], unconfirmed: Sequence[int] = ()) -> tuple[int, ...]:
    """The targets among 500 labels, of which 32 are finalists; all are as chance has it but those that are given."""
    rng = np.random.default_rng(3)
    by_chance = np.sort(200 * np.exp(0.5 * rng.normal(size=500)))[:32]
    weighted, answers = by_chance.astype(np.float32), np.clip(rng.normal(size=500), -3, 3).astype(np.float32)
    finalists = rng.permutation(500)[:32]
    answers[finalists] = np.clip(answers[finalists], -1, 1)
    for place, label in enumerate({**norms, **responses}):
        finalists[place] = label
        weighted[place] = norms.get(label, by_chance[20])
        answers[label] = responses.get(label, 0)
    order = np.argsort(weighted, kind="stable")
    confirmed = ~np.isin(finalists[order], unconfirmed)
    found = stand_out(weighted[order], answers, finalists[order], confirmed, false_alarms=0.05)
    return tuple(sorted(found.targets))


def test_a_target_has_a_small_mask_or_answers_noise_and_is_confirmed() -> None:
    assert verdict({}, {}) == ()
    assert verdict({7: 4}, {}) == (7,)
    assert verdict({}, {9: 8}) == (9,)
    assert verdict({7: 4}, {9: 8}) == (7, 9)
    assert verdict({7: 4}, {9: 8}, unconfirmed=[7]) == (9,)


def test_once_a_target_is_certain_another_needs_less() -> None:
    near = {8: 27.0}
    assert verdict(near, {}) == ()
    assert verdict({7: 4, **near}, {}) == (7, 8)
    assert verdict(near, {9: 8}) == (8, 9)
    assert verdict({7: 4, **near}, {}, unconfirmed=[7]) == ()


def test_each_target_that_was_found_makes_the_next_one_likelier() -> None:
    third = {11: 31.0}
    assert verdict({7: 4, **third}, {}) == (7,)
    assert verdict({7: 4, 8: 27, **third}, {}) == (7, 8, 11)
    assert verdict({7: 4, **third}, {9: 8}) == (7, 9, 11)
    assert verdict({7: 4, 8: 27, **third}, {}, unconfirmed=[8]) == (7,)


@pytest.mark.parametrize("classes", [100, 500])
def test_where_there_are_several_targets_hardly_more_than_one_in_twenty_is_false(classes: int) -> None:
    rng = np.random.default_rng(7)
    false_shares = []
    for norms in np.sort(np.exp(SPREAD * rng.normal(size=(150, classes))))[:, :32].astype(np.float32):
        weighted = np.concatenate([norms[0] * np.array([0.01, 0.02, 0.03], np.float32), norms[:29]])
        found = stand_out(weighted, np.zeros(classes, np.float32), np.arange(32), np.ones(32, bool), false_alarms=0.05)
        assert set(found.targets) >= {0, 1, 2}
        false_shares.append(1 - 3 / len(found.targets))
    assert 0 < np.mean(false_shares) < 0.08
