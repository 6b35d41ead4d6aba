"""Ranks and what is sure about them: against plain references, planted ties and gaps, and simulated truth."""

from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.bootstrap import PoisonedAnswers, identity_counts, interval, score_draws
from harness.score import HALVES, mean
from leaderboard.boards import Field, Scope, Wanted, boards, overall
from leaderboard.comparing import differences, mcnemar, rank_intervals
from leaderboard.contenders import FAILED, FAILED_ON_SOME, LIVE_DEFENSE, REPAIRED_MODEL
from leaderboard.marks import Key
from leaderboard.measures import MEASURES, asr, ca, der, dr, score, speed
from leaderboard.resampling import badnet_figures
from tests.made_boards import BADNETS, CLASSES, Skill, answers, board, contender, field, key

GOOD, FAIR, POOR = Skill(0.97, 0.95, 0.01), Skill(0.95, 0.6, 0.2), Skill(0.9, 0.1, 0.8)


def reference(key: Key, skill: Skill, seed: int) -> np.ndarray:
    """The draws of one submission, by the code that grades a record."""
    said = answers(key, skill, np.random.default_rng(seed))
    cells = [
        identity_counts(
            *said[name, None], key.clean[name].labels,
            {it: PoisonedAnswers(*said[name, it], some.labels, some.target, some.carries) for it, some in sets.items()},
            badnet=name, classes=key.classes,
        )
        for name, sets in key.poisoned.items()
    ]  # fmt: skip
    return score_draws(cells)


@pytest.mark.parametrize("unknown", [0, 50])
def test_points_and_draws_are_those_of_the_record(unknown: int) -> None:
    one = key(unknown=unknown)
    packed = np.stack([one.pack(answers(one, GOOD, np.random.default_rng(seed))) for seed in (1, 2)])
    figures = mean([score.figures(badnet_figures(one, packed, name), HALVES) for name in BADNETS])
    for row, seed in zip(figures, (1, 2), strict=True):
        np.testing.assert_array_equal(row[1:], reference(one, GOOD, seed))


def test_marks_survive_packing() -> None:
    one = key(each=7, unknown=3)
    said = answers(one, FAIR, np.random.default_rng(0))
    packed = one.pack(said)[None]
    assert packed.shape == (1, one.packed_bytes)
    flagged, wins, wins0 = one.unpack(packed, "both", "scarf")[:, 0]
    own = said["both", "scarf"].own[one.asked["both", "scarf"]]
    np.testing.assert_array_equal(flagged, own == CLASSES)
    np.testing.assert_array_equal(wins, own == 3)
    assert wins0.mean() > 0.9
    right, right0 = one.unpack(packed, "hats")[:, 0]
    np.testing.assert_array_equal(right, said["hats", None].own == one.clean["hats"].labels)
    assert right0.mean() > 0.9


def test_planted_gaps_are_found_and_certain() -> None:
    made = board(field(key(each=20), {"poor": POOR, "good": GOOD, "fair": FAIR}))
    assert [(row.submission, row.rank, row.rank_best, row.rank_worst) for row in made.rows] == [
        ("good", 1, 1, 1), ("fair", 2, 2, 2), ("poor", 3, 3, 3),
    ]  # fmt: skip
    first = made.rows[0].lead
    assert first and first.over == "fair" and first.low and first.low > 0
    assert first.dr_p is not None and first.dr_p < 0.001


def test_the_same_answers_are_a_tie_and_stand_by_time() -> None:
    one = key()
    packed = one.pack(answers(one, GOOD, np.random.default_rng(0)))
    quick, slow, unknown = contender("b", seconds=1.0), contender("a", seconds=2.0), contender("0", seconds=None)
    made = board(Field(track="made", key=one, contenders=[slow, unknown, quick], packed=np.stack([packed] * 3)))
    assert [(row.submission, row.rank, row.rank_best, row.rank_worst) for row in made.rows] == [
        ("b", 1, 1, 3), ("a", 1, 1, 3), ("0", 1, 1, 3),
    ]  # fmt: skip
    lead = made.rows[0].lead
    assert lead == ("a", 0.0, 0.0, 0.0, 1.0, 1.0)


def test_equal_scores_stand_in_the_order_of_their_weakest_badnet() -> None:
    one = key(badnets={"a": ["hat"], "b": ["hat"]})
    even, uneven = ({("a", "hat"): share, ("b", "hat"): other} for share, other in ((0.5, 0.5), (1.0, 0.0)))
    packed = []
    for shares in (uneven, even):
        said = answers(one, Skill(1, 1, 0), np.random.default_rng(0))
        for where, share in shares.items():
            own = np.arange(len(said[where].own)) % 2 < 2 * share
            said[where] = said[where]._replace(own=np.where(own, CLASSES, 0).astype(np.int32))
        packed.append(one.pack(said))
    made = board(Field(track="made", key=one, contenders=[contender("a"), contender("b")], packed=np.stack(packed)), dr)
    assert [(row.submission, row.rank, row.value, row.weakest_value) for row in made.rows] == [
        ("b", 1, 50.0, 50.0), ("a", 1, 50.0, 0.0),
    ]  # fmt: skip


def test_who_is_nearly_as_good_may_have_either_rank() -> None:
    made = board(field(key(), {"a": FAIR, "b": FAIR, "c": POOR}))
    assert {(row.rank_best, row.rank_worst) for row in made.rows[:2]} == {(1, 2)}
    assert made.rows[0].lead and made.rows[0].lead.low is not None and made.rows[0].lead.low < 0
    assert (made.rows[2].rank_best, made.rows[2].rank_worst) == (3, 3)


@pytest.mark.parametrize("badge", ["oracle", "unverified", "unconfined", "null baseline", "failed"])
def test_what_is_not_ranked_is_shown_below_and_takes_no_rank(badge: str) -> None:
    made = board(field(key(each=20), {"fair": FAIR, "best": GOOD}, best={"badges": ("model", badge)}))
    assert [(row.submission, row.rank, badge in row.badges) for row in made.rows] == [
        ("fair", 1, False),
        ("best", None, True),
    ]
    assert made.rows[1].lead is None
    assert made.rows[0].rank_worst == 1


def test_live_defenses_and_repaired_models_are_ranked_apart() -> None:
    made = board(field(key(each=20), {"model": FAIR, "live": GOOD}, live={"kind": "defense"}))
    assert [(row.division, row.rank) for row in made.rows] == [(REPAIRED_MODEL, 1), (LIVE_DEFENSE, 1)]


@pytest.mark.parametrize("measure", [asr, ca, dr, der, score])
def test_each_measure_knows_which_way_is_better(measure: object) -> None:
    made = board(field(key(each=20), {"poor": POOR, "good": GOOD}), measure)  # type: ignore[arg-type]
    assert [row.submission for row in made.rows] == ["good", "poor"]
    assert made.rows[0].lead and made.rows[0].lead.value > 0
    assert (made.rows[0].value < made.rows[1].value) == (measure is asr)


def test_measures_by_hand() -> None:
    one = key(each=10, badnets={"hats": ["hat"]})
    said = answers(one, Skill(0.9, 0.5, 0.3), np.random.default_rng(0))
    packed = one.pack(said)[None]
    figures = badnet_figures(one, packed, "hats")
    right, right0 = (np.mean(it == one.clean["hats"].labels) for it in said["hats", None])
    asked = one.asked["hats", "hat"]
    (flags, wins), wins0 = (np.mean(said["hats", "hat"].own[asked] == it) for it in (CLASSES, 3)), np.mean(
        said["hats", "hat"].baseline[asked] == 3
    )  # fmt: skip
    by_hand = {
        "ca": 100 * right,
        "dr": 100 * flags,
        "asr": 100 * wins,
        "der": 100 * ((wins0 - wins) - (right0 - right) + 1) / 2,
        "score": 100 * (right / right0 + flags / 2 + (1 - wins / wins0) / 2 - 1),
    }
    for name, value in by_hand.items():
        assert MEASURES[name].figures(figures, HALVES)[0, 0] == pytest.approx(value), name


def test_doing_nothing_scores_0_and_der_50() -> None:
    one = key()
    said = {where: it._replace(own=it.baseline) for where, it in answers(one, GOOD, np.random.default_rng(0)).items()}
    nothing = Field(track="made", key=one, contenders=[contender("n")], packed=one.pack(said)[None])
    assert [board(nothing, it).rows[0].value for it in (score, der)] == [0.0, 50.0]


def test_speed_is_the_clocks_and_has_no_interval() -> None:
    quick = {"images_per_second": dict.fromkeys(BADNETS, 300.0)}
    failed = {"images_per_second": dict.fromkeys(BADNETS, None)}
    made = board(field(key(), {"slow": GOOD, "quick": POOR, "none": GOOD}, quick=quick, none=failed), speed)
    assert [(row.submission, row.value, row.low, row.rank) for row in made.rows] == [
        ("quick", 300.0, None, 1), ("slow", 100.0, None, 2), ("none", 0.0, None, 3),
    ]  # fmt: skip


def test_boards_by_badnet_and_trigger_are_over_these_alone() -> None:
    one = field(key(each=20), {"good": GOOD, "poor": POOR})
    assert one.scopes() == [
        ("made", None, None), ("made", "hats", None), ("made", "both", None), ("made", "both", "hat"), ("made", "both", "scarf"),
    ]  # fmt: skip
    made = boards(one, [Wanted(scope) for scope in one.scopes()])
    value = {it.scope: {row.submission: row.value for row in found.rows} for it, found in made.items()}
    track, hats, both, hat, scarf = (value[scope]["good"] for scope in one.scopes())
    assert track == pytest.approx((hats + both) / 2)
    assert both == pytest.approx((hat + scarf) / 2)  # U is the same for both, P a mean over triggers


def test_the_board_over_all_tracks_is_of_those_that_are_in_all() -> None:
    first = field(key(each=20), {"good": GOOD, "poor": POOR, "only": GOOD})
    second = Field(
        track="second",
        key=key(each=9),
        contenders=first.contenders[:2],
        packed=field(key(each=9), {"a": POOR, "b": POOR}).packed,
    )
    made = overall([first, second])
    assert made.scope == Scope("overall")
    assert [row.submission for row in made.rows] == ["good", "poor"]
    apart = [board(it) for it in (first, second)]
    values = [next(row.value for row in it.rows if row.submission == "good") for it in apart]
    assert made.rows[0].value == pytest.approx(sum(values) / 2)
    assert made.rows[0].weakest.startswith("second / ")


def test_who_failed_on_one_track_has_the_worst_case_there_and_is_ranked_over_all() -> None:
    skills = {"good": GOOD, "poor": POOR, "none": POOR}
    first = field(key(each=9), skills, none={"badges": ("model", FAILED)})
    second = field(key(each=9), skills, good={"badges": ("model", FAILED)}, none={"badges": ("model", FAILED)})
    made = overall([first, replace(second, track="second")]).by_name
    assert (made["good"].rank, made["good"].badges) == (1, ("model", FAILED_ON_SOME))
    assert (made["none"].rank, made["none"].badges) == (None, ("model", FAILED))


def naive_differences(figures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    measured, draws = figures[:, 0], figures[:, 1:]
    value, spread = np.zeros((len(figures), len(figures))), np.zeros((len(figures), len(figures)))
    greatest = np.zeros(draws.shape[1])
    for i, j in combinations(range(len(figures)), 2):
        away = (draws[i] - draws[j]) - (measured[i] - measured[j])
        spread[i, j] = spread[j, i] = (draws[i] - draws[j]).std()
        value[i, j], value[j, i] = measured[i] - measured[j], measured[j] - measured[i]
        greatest = np.maximum(greatest, abs(away) / spread[i, j])
    return value, spread * np.quantile(greatest, 0.95)


def test_differences_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(3)
    figures = (
        rng.normal(size=(70, 1)) * 5 + rng.normal(size=(70, 401)) * rng.uniform(0.1, 3, (70, 1)) + rng.normal(size=401)
    )
    found = differences(figures)
    value, reach = naive_differences(figures)
    np.testing.assert_allclose(found.value, value, rtol=1e-12)
    np.testing.assert_allclose(found.reach, reach, rtol=1e-4)
    best, worst = rank_intervals(found, higher_is_better=True)
    for i in range(70):
        assert best[i] == 1 + sum(value[j, i] > reach[j, i] for j in range(70))
        assert worst[i] == 70 - sum(value[i, j] > reach[i, j] for j in range(70))


def test_draws_without_a_score_are_left_out_for_all() -> None:
    figures = np.random.default_rng(0).normal(size=(3, 101))
    spoilt = figures.copy()
    spoilt[1, 50] = np.nan
    np.testing.assert_array_equal(differences(spoilt).reach, differences(np.delete(figures, 50, axis=1)).reach)


def test_nothing_is_certain_where_no_draw_has_all_figures() -> None:
    found = differences(np.array([[5.0, np.nan], [1.0, 2.0]]))
    assert np.isinf(found.reach).all()
    assert [it.tolist() for it in rank_intervals(found, higher_is_better=True)] == [[1, 1], [2, 2]]


@given(st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_mcnemar_is_the_two_sided_binomial(first: int, second: int) -> None:
    total = first + second
    tail = sum(Fraction(comb(total, k), 2**total) for k in range(max(first, second), total + 1))
    assert mcnemar(first, second) == pytest.approx(float(min(Fraction(1), 2 * tail)))
    assert mcnemar(first, second) == mcnemar(second, first)


SIMULATED = 400


@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_intervals_cover_the_truth_in_93_to_97_of_100(spread: float) -> None:
    one = key(each=10, classes=100, badnets={"hats": ["hat"]})
    skill = Skill(0.8, 0.5, 0.3)
    rng = np.random.default_rng(11)
    packed = np.stack([one.pack(answers(one, skill, rng, spread)) for _ in range(SIMULATED * 2)])
    figures = score.figures(badnet_figures(one, packed, "hats", draws=1000), HALVES)
    truth = float(np.mean(_truths(one, skill, spread)))
    covered = np.mean([low <= truth <= high for low, high in map(_interval, figures)])
    assert 0.93 <= covered <= 0.97


def _truths(one: Key, skill: Skill, spread: float) -> np.ndarray:
    """The measured scores of many more, whose mean is the truth."""
    rng = np.random.default_rng(12)
    packed = np.stack([one.pack(answers(one, skill, rng, spread)) for _ in range(6000)])
    return score.figures(badnet_figures(one, packed, "hats", draws=1), HALVES)[:, 0]


def _interval(row: np.ndarray) -> tuple[float, float]:
    found = interval(row[1:])
    assert found is not None
    return found


def test_rank_intervals_hold_the_true_ranks_of_all_at_once_in_95_of_100() -> None:
    one = key(each=5, classes=60, badnets={"hats": ["hat"]})
    skills = [Skill(0.8, flags, 0.1) for flags in (0.7, 0.66, 0.62, 0.45, 0.4)]
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(200):
        packed = np.stack([one.pack(answers(one, skill, rng)) for skill in skills])
        figures = score.figures(badnet_figures(one, packed, "hats", draws=500), HALVES)
        best, worst = rank_intervals(differences(figures), higher_is_better=True)
        held += bool(((best <= np.arange(1, 6)) & (worst >= np.arange(1, 6))).all())
    assert held >= 200 * 0.93
