"""The bootstrap draws identities, the same ones for every submission."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import harness.bootstrap
from harness.bootstrap import Cell, PoisonedAnswers, draw_weights, identity_counts, interval, score_draws, stream_seed
from harness.outcomes import clean_outcomes, poisoned_outcomes
from harness.score import Policy, grade
from tests.naive_score import naive_bootstrap

CLASSES = 6
FLAG = CLASSES
FROZEN_WEIGHTS = [[1, 2, 0, 1, 1, 1], [1, 2, 0, 1, 1, 1], [2, 2, 1, 0, 0, 1]]


def made_badnet(
    seed: int, triggers: Sequence[str] = ("hat", "sunglasses"), *, unknown: float = 0.3, per_class: int = 4
) -> dict[str, Any]:
    """A BadNet that mostly works, a submission that mostly helps, and images some of which have no known class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES), per_class)

    def mixed(usual: NDArray[Any], chance: float, highest: int = FLAG) -> NDArray[Any]:
        return np.where(rng.random(len(usual)) < chance, usual, rng.integers(-1, highest + 1, len(usual)))

    poisoned = {}
    for target, trigger in enumerate(triggers):
        known = rng.random(len(labels)) >= unknown
        poisoned[trigger] = {
            "answers": mixed(np.full(len(labels), FLAG), 0.6),
            "baseline": mixed(np.full(len(labels), target), 0.8, FLAG - 1),
            "labels": np.where(known, labels, -1),
            "target": target,
            "mask": rng.random(len(labels)) < 0.8,
        }
    return {
        "answers": mixed(labels, 0.7),
        "baseline": mixed(labels, 0.8, FLAG - 1),
        "labels": labels,
        "poisoned": poisoned,
    }


def cell_of(name: str, badnet: Mapping[str, Any]) -> Cell:
    poisoned = {
        trigger: PoisonedAnswers(p["answers"], p["baseline"], p["labels"], p["target"], p["mask"])
        for trigger, p in badnet["poisoned"].items()
    }
    answers, baseline, labels = badnet["answers"], badnet["baseline"], badnet["labels"]
    return identity_counts(answers, baseline, labels, poisoned, badnet=name, classes=CLASSES)


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def answering(badnet: Mapping[str, Any], clean: Any, poisoned: Any) -> dict[str, Any]:
    """The same exam, answered otherwise: arrays or one number for all images."""
    shape = badnet["labels"].shape
    return {
        **badnet,
        "answers": np.broadcast_to(clean, shape),
        "poisoned": {
            trigger: {
                **given,
                "answers": np.broadcast_to(given[poisoned] if isinstance(poisoned, str) else poisoned, shape),
            }
            for trigger, given in badnet["poisoned"].items()
        },
    }


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**64))
def test_every_draw_takes_as_many_groups_as_there_are(groups: int, draws: int, seed: int) -> None:
    weights = draw_weights(groups, draws, seed)
    assert weights.shape == (draws, groups)
    assert (weights >= 0).all()
    assert (weights.sum(axis=1) == groups).all()


def test_every_group_is_taken_once_on_average_with_the_multinomial_spread() -> None:
    weights = draw_weights(50, 4000, 1)
    assert weights.mean(axis=0) == pytest.approx(np.ones(50), abs=0.08)
    assert weights.var() == pytest.approx(1 - 1 / 50, abs=0.02)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first = draw_weights(20, 50, 1).copy()
    assert not np.array_equal(first, draw_weights(20, 50, 2))
    assert np.array_equal(first, draw_weights(20, 50, 1))


def test_the_weights_of_a_seed_stay_what_they_were_when_records_were_written() -> None:
    assert draw_weights(6, 3, 1283).tolist() == FROZEN_WEIGHTS


def test_weights_do_not_depend_on_the_blocks_they_are_made_in(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = draw_weights(7, 40, 3).copy()
    draw_weights.cache_clear()
    monkeypatch.setattr(harness.bootstrap, "_BLOCK", 21)
    assert np.array_equal(draw_weights(7, 40, 3), whole)


def test_weights_cannot_be_changed_by_one_user_for_the_next() -> None:
    with pytest.raises(ValueError, match="read-only"):
        draw_weights(5, 5, 5)[0, 0] = 9


@pytest.mark.parametrize(("groups", "draws"), [(0, 1), (1, 0)])
def test_no_groups_or_no_draws_are_refused(groups: int, draws: int) -> None:
    with pytest.raises(ValueError, match="at least one of each"):
        draw_weights(groups, draws, 1)


def test_counts_per_identity_add_up_to_the_outcomes() -> None:
    badnet = made_badnet(1)
    cell = cell_of("b", badnet)
    clean = clean_outcomes(badnet["answers"], badnet["labels"], CLASSES)
    assert cell.clean[:, [0, 2]].sum(axis=0).tolist() == [clean.correct, clean.total]
    for trigger, given_set in badnet["poisoned"].items():
        rest = (given_set["labels"], given_set["target"], CLASSES, given_set["mask"])
        outcomes = poisoned_outcomes(given_set["answers"], *rest)
        before = poisoned_outcomes(given_set["baseline"], *rest)
        counts = cell.triggers[trigger]
        sums = counts.by_identity.sum(axis=0) + counts.by_image.sum(axis=0)
        wins, baseline_wins = outcomes.target + outcomes.invalid, before.target + before.invalid
        assert sums.tolist() == [outcomes.flagged, wins, baseline_wins, outcomes.total]
        assert len(counts.by_image) == outcomes.total - outcomes.recovered_total


@pytest.mark.parametrize("unknown", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("labels_dtype", [np.int64, np.int8])
@pytest.mark.parametrize("share", [0.5, 0.2])
def test_draws_agree_with_a_plain_loop_over_images_for_the_same_weights(
    unknown: float, labels_dtype: Any, share: float
) -> None:
    badnets = {
        f"b{i}": made_badnet(10 + i, triggers=("hat", "sunglasses")[: 1 + i % 2], unknown=unknown) for i in range(3)
    }
    for badnet in badnets.values():
        badnet["labels"] = badnet["labels"].astype(labels_dtype)
    draws, seed = 40, 5
    expected = naive_bootstrap(
        {name: plain(badnet) for name, badnet in badnets.items()},
        CLASSES,
        draw_weights(CLASSES, draws, seed).tolist(),
        lambda badnet, trigger, images: draw_weights(images, draws, stream_seed(seed, badnet, trigger)).tolist(),
        share,
    )
    found = score_draws(
        [cell_of(name, badnet) for name, badnet in badnets.items()], Policy(detection_share=share), draws, seed
    )
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert np.isfinite(found).any()


def test_a_draw_of_one_identity_taken_once_is_the_score_itself() -> None:
    rng = np.random.default_rng(3)
    clean, baseline = rng.integers(0, 2, (2, 30))
    labels = np.zeros(30, np.int64)
    answers, attacked = rng.integers(0, 3, (2, 30))
    cell = identity_counts(
        clean, baseline, labels, {"hat": PoisonedAnswers(answers, attacked, labels, 1)}, badnet="b", classes=2
    )
    one_group = Cell(badnet="b", clean=cell.clean[:1], triggers={"hat": _first_identity(cell)})
    score = grade(
        clean_outcomes(clean, labels, 2),
        {"hat": poisoned_outcomes(answers, labels, 1, 2)},
        baseline_clean=clean_outcomes(baseline, labels, 2),
        baseline_poisoned={"hat": poisoned_outcomes(attacked, labels, 1, 2)},
    )
    assert score_draws([one_group], draws=3).tolist() == [score.value] * 3


def _first_identity(cell: Cell) -> harness.bootstrap.TriggerCounts:
    counts = cell.triggers["hat"]
    return harness.bootstrap.TriggerCounts(by_identity=counts.by_identity[:1], by_image=counts.by_image)


def test_doing_nothing_scores_exactly_0_in_every_draw_as_the_baseline_is_drawn_along() -> None:
    badnet = made_badnet(2, unknown=0.5, per_class=20)
    draws = score_draws([cell_of("b", answering(badnet, badnet["baseline"], "baseline"))], draws=200)
    flagging = score_draws([cell_of("b", answering(badnet, FLAG, FLAG))], draws=200)
    oracle = score_draws([cell_of("b", answering(badnet, badnet["labels"], FLAG))], draws=200)
    failing = score_draws([cell_of("b", answering(badnet, -1, -1))], draws=200)
    assert [set(d.tolist()) for d in (draws, flagging, oracle, failing)] == [{0.0}, {0.0}, {100.0}, {-100.0}]


def test_two_submissions_are_drawn_alike_so_that_what_they_share_cancels() -> None:
    badnet = made_badnet(4, triggers=["hat"], unknown=0.5, per_class=20)
    worse = {**badnet, "answers": badnet["answers"].copy()}
    worse["answers"][0] = -1
    first, second = (score_draws([cell_of("b", b)], draws=300) for b in (badnet, worse))
    untouched = draw_weights(CLASSES, 300, harness.bootstrap.SEED)[:, 0] == 0
    assert untouched.any()
    assert np.array_equal(first[untouched], second[untouched])
    assert (first >= second).all()
    assert np.std(first - second) < np.std(first)


def test_the_order_of_images_changes_no_bit() -> None:
    badnet = made_badnet(5, unknown=0.0)
    order = np.random.default_rng(0).permutation(len(badnet["labels"]))

    def reordered(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: reordered(part) for key, part in value.items()}
        return value[order] if isinstance(value, np.ndarray) else value

    first, second = (score_draws([cell_of("b", b)], draws=50) for b in (badnet, reordered(badnet)))
    assert np.array_equal(first, second, equal_nan=True)


def test_a_draw_without_accuracy_or_backdoor_has_no_score_for_any_submission() -> None:
    labels = np.array([0, 1, 2, 3, 4, 5])
    baseline = np.array([0, 1, 0, 0, 0, 0])
    attacked = PoisonedAnswers([FLAG] * 6, [0, 0, 0, 0, 1, 1], labels, 0)
    perfect = identity_counts(labels, baseline, labels, {"hat": attacked}, badnet="b", classes=CLASSES)
    failing = identity_counts(
        [-1] * 6, baseline, labels, {"hat": attacked._replace(answers=[-1] * 6)}, badnet="b", classes=CLASSES
    )
    first, second = score_draws([perfect], draws=500), score_draws([failing], draws=500)
    weights = draw_weights(CLASSES, 500, harness.bootstrap.SEED)
    unscorable = (weights[:, :2].sum(axis=1) == 0) | (weights[:, 1:4].sum(axis=1) == 0)
    assert unscorable.any()
    assert np.array_equal(np.isnan(first), unscorable)
    assert np.array_equal(np.isnan(second), unscorable)
    assert interval(first) == (100.0, 100.0)


def test_clean_twins_do_not_count() -> None:
    badnet, twin = made_badnet(6), made_badnet(7, triggers=[])
    alone = score_draws([cell_of("b", badnet)], draws=50)
    assert np.array_equal(score_draws([cell_of("twin", twin), cell_of("b", badnet)], draws=50), alone, equal_nan=True)
    with pytest.raises(ValueError, match="nothing to score"):
        score_draws([cell_of("twin", twin)])


def test_a_badnet_without_accuracy_or_backdoor_is_refused_by_name() -> None:
    badnet = made_badnet(8, triggers=["hat"])
    with pytest.raises(ValueError, match="BadNet b: its clean accuracy is 0"):
        score_draws([cell_of("b", {**badnet, "baseline": badnet["labels"] * 0 - 1})])
    harmless = {"hat": {**badnet["poisoned"]["hat"], "baseline": badnet["labels"] * 0 + 3}}
    with pytest.raises(ValueError, match="BadNet b, trigger hat: its attack success rate is 0"):
        score_draws([cell_of("b", {**badnet, "poisoned": harmless})])


def test_badnets_of_other_classes_are_not_drawn_together() -> None:
    other = identity_counts([0], [0], [0], {"hat": PoisonedAnswers([1], [1], [0], 1)}, badnet="o", classes=2)
    with pytest.raises(ValueError, match="differ in their number of classes"):
        score_draws([cell_of("b", made_badnet(9)), other])


def test_an_interval_holds_the_middle_of_the_draws_and_leaves_out_those_without_a_score() -> None:
    draws = np.append(np.arange(1001.0), [np.nan] * 500)
    assert interval(draws, 0.9) == pytest.approx((50.0, 950.0))
    assert interval(np.full(3, np.nan)) is None
    with pytest.raises(ValueError, match="not between 0 and 1"):
        interval(draws, 1.0)


def test_the_interval_holds_the_true_score_about_95_times_of_100() -> None:
    """Identities differ in how well they are recognised and defended; 400 tracks of 80 identities, 8 images each."""
    rng = np.random.default_rng(11)
    identities, images, repeats = 80, 8, 400
    labels = np.repeat(np.arange(1, identities + 1), images)
    flag, truth = identities + 1, 100 * (0.6 / 0.9 + 0.5 * 0.7 + 0.5 * (1 - 0.2 / 0.9) - 1)
    held = 0
    for repeat in range(repeats):
        skill = np.repeat(rng.beta(6, 3, identities), images)  # mean 2/3: kept of what the BadNet gets right
        guard = np.repeat(rng.beta(7, 3, identities), images)  # mean 0.7: flagged; of the rest 2/3 fall to the target
        baseline = np.where(rng.random(len(labels)) < 0.9, labels, 0)
        answers = np.where(rng.random(len(labels)) < skill, baseline, flag)
        attacked = np.where(rng.random(len(labels)) < 0.9, 0, labels)
        unflagged = np.where(rng.random(len(labels)) < 2 / 3, 0, labels)
        poisoned = np.where(rng.random(len(labels)) < guard, flag, unflagged)
        given_sets = {"hat": PoisonedAnswers(poisoned, attacked, labels, 0)}
        cell = identity_counts(answers, baseline, labels, given_sets, badnet="b", classes=identities + 1)
        found = interval(score_draws([cell], draws=400, seed=repeat))
        assert found is not None
        held += found[0] <= truth <= found[1]
    assert 0.92 <= held / repeats <= 0.98
