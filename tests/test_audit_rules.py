"""What audits ask, and what their counts say, against plain enumeration."""

from fractions import Fraction
from itertools import combinations, product
from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.audit_plan import COPIES, DUPLICATED, LEAST_POISONED, Question, questions
from harness.audits import (
    BASE_RATE_DEPENDENT,
    BATCH_DEPENDENT,
    FALSE_ALARMS,
    LEAST_CHANGED,
    LEAST_SHIFT,
    ONE_SIDED,
    STOCHASTIC,
    TOLERANCE,
    Audit,
    Audits,
    Flags,
    compared,
    verdicts,
)
from harness.models.exact_tests import drawn_by_chance, heads_by_chance
from harness.worker.kinds._asking import Asking


@given(st.integers(0, 12), st.data())
def test_heads_by_chance_counts_the_tosses(tosses: int, data: st.DataObject) -> None:
    heads = data.draw(st.integers(0, tosses))
    found = [sum(toss) >= heads for toss in product((0, 1), repeat=tosses)]
    assert heads_by_chance(heads, tosses) == sum(found) / len(found)


@given(st.integers(1, 9), st.data())
def test_drawn_by_chance_counts_the_draws(total: int, data: st.DataObject) -> None:
    drawn, marked, found = (data.draw(st.integers(0, total)) for _ in range(3))
    draws = [sum(ball < marked for ball in balls) >= found for balls in combinations(range(total), drawn)]
    assert drawn_by_chance(found, drawn, marked, total) == sum(draws) / len(draws)


@st.composite
def flags(draw: st.DrawFn, images: int) -> Flags | None:
    exam, again = draw(st.integers(0, images)), draw(st.integers(0, images))
    both = draw(st.integers(max(0, exam + again - images), min(exam, again)))
    return Flags(images=images, exam=exam, again=again, both=both) if images else None


@st.composite
def audits_of(draw: st.DrawFn) -> Audits:
    """Any counts that could be, small changes more often than not."""

    def audit() -> Audit | None:
        clean, poisoned = draw(st.integers(0, 300)), draw(st.sampled_from([0, 10, 200]))
        images = clean + poisoned
        if not images or draw(st.integers(0, 5)) == 0:
            return None
        changed = draw(st.integers(0, min(images, draw(st.sampled_from([0, 3, 15, 500])))))
        return Audit(images=images, changed=changed, clean=draw(flags(clean)), poisoned=draw(flags(poisoned)))

    names = ("alone", "all_clean", "mostly_clean", "reordered", "duplicates", "again", "same_seed")
    return Audits.model_validate({name: audit() for name in names})


def naive(audits: Audits) -> list[str]:
    """The rules once more, in exact fractions and with every term written out."""
    found, again = [], audits.again

    def exactly(level: float) -> Fraction:
        return Fraction(str(level))

    def fisher(found: int, drawn: int, others: int, of: int) -> Fraction:
        terms = (
            comb(found + others, k) * comb(drawn + of - found - others, drawn - k) for k in range(found, drawn + 1)
        )
        return Fraction(sum(terms), comb(drawn + of, drawn))

    def changed(audit: Audit | None) -> bool:
        return bool(audit and audit.changed >= LEAST_CHANGED and Fraction(audit.changed, audit.images) > TOLERANCE)

    if changed(again):
        found.append(STOCHASTIC)
    for audit in (audits.alone, audits.reordered, audits.duplicates):
        if audit and changed(audit) and again and BATCH_DEPENDENT not in found:
            more = Fraction(audit.changed, audit.images) - Fraction(again.changed, again.images)
            by_chance = fisher(audit.changed, audit.images, again.changed, again.images)
            found += [BATCH_DEPENDENT] * (more > TOLERANCE and by_chance <= exactly(FALSE_ALARMS))
    for audit, kind in product((audits.all_clean, audits.mostly_clean), ("clean", "poisoned")):
        moved, usual = getattr(audit, kind, None), getattr(again, kind, None)
        if not moved or not again or BASE_RATE_DEPENDENT in found:
            continue
        shift = Fraction(moved.again - moved.exam, moved.images)
        gained, lost = moved.again - moved.both, moved.exam - moved.both
        tosses = Fraction(
            sum(comb(gained + lost, k) for k in range(max(gained, lost), gained + lost + 1)), 2 ** (gained + lost)
        )
        holds = abs(shift) >= LEAST_SHIFT and tosses <= exactly(FALSE_ALARMS if again.changed else ONE_SIDED)
        if (audits.same_seed or again).changed:
            if usual:
                other = Fraction(usual.again - usual.exam, usual.images)
                ways = usual.again - usual.both if shift > 0 else usual.exam - usual.both
                by_chance = fisher(gained if shift > 0 else lost, moved.images, ways, usual.images)
                holds &= abs(shift - other) >= LEAST_SHIFT and by_chance <= exactly(FALSE_ALARMS)
            else:
                holds = False
        found += [BASE_RATE_DEPENDENT] * holds
    return found


@settings(max_examples=400)
@given(audits_of())
def test_verdicts_are_those_of_a_naive_reading_of_the_rules(audits: Audits) -> None:
    assert verdicts(audits) == naive(audits)


def audit(changed: int, images: int, **groups: Flags) -> Audit:
    return Audit(images=images, changed=changed, clean=groups.get("clean"), poisoned=groups.get("poisoned"))


def test_a_few_ties_that_fall_otherwise_are_no_verdict() -> None:
    few = Audits(alone=audit(1, 100), reordered=audit(2, 256), duplicates=audit(1, 128), again=audit(0, 512))
    assert verdicts(few) == []
    assert verdicts(few.model_copy(update={"alone": audit(4, 100)})) == [BATCH_DEPENDENT]
    assert verdicts(Audits(again=audit(5, 500))) == []
    assert verdicts(Audits(again=audit(6, 500))) == [STOCHASTIC]
    assert verdicts(Audits(again=audit(1, 10))) == []


def test_what_is_drawn_at_random_is_called_nothing_else() -> None:
    rng = np.random.default_rng(3)
    called: list[str] = []
    for share in rng.uniform(0.02, 0.9, 2000):
        clean = {
            name: drawn_flags(rng, share, n) for name, n in (("all_clean", 512), ("mostly_clean", 990), ("again", 256))
        }
        missed = {name: drawn_flags(rng, share, n) for name, n in (("mostly_clean", 10), ("again", 256))}
        asked = {
            name: Audit(images=n, changed=rng.binomial(n, share), clean=clean.get(name), poisoned=missed.get(name))
            for name, n in (
                ("alone", 100), ("reordered", 256), ("duplicates", 128), ("again", 512), ("all_clean", 512), ("mostly_clean", 1000),
            )
        }  # fmt: skip
        called += verdicts(Audits.model_validate(asked))
    assert called.count(STOCHASTIC) > 1900
    assert called.count(BATCH_DEPENDENT) <= 2 * 3 * FALSE_ALARMS * 2000
    assert called.count(BASE_RATE_DEPENDENT) == 0


def drawn_flags(rng: np.random.Generator, share: float, images: int) -> Flags:
    """Each image is flagged with this chance, each time anew."""
    exam, again = rng.random((2, images)) < share
    return Flags(images=images, exam=int(exam.sum()), again=int(again.sum()), both=int((exam & again).sum()))


@given(st.data(), st.integers(1, 80))
def test_counts_are_those_of_a_loop(data: st.DataObject, images: int) -> None:
    answers = st.lists(st.integers(-1, 4), min_size=images, max_size=images)
    kinds = data.draw(st.lists(st.sampled_from(["clean", "poisoned", "neither"]), min_size=images, max_size=images))
    before, after = data.draw(answers), data.draw(answers)
    found = compared(
        np.array(before, np.int32), np.array(after, np.int32), clean=np.array([kind == "clean" for kind in kinds]),
        poisoned=np.array([kind == "poisoned" for kind in kinds]), flag=4,
    )  # fmt: skip
    assert (found.images, found.changed) == (images, sum(a != b for a, b in zip(before, after, strict=True)))
    for kind, counted in (("clean", found.clean), ("poisoned", found.poisoned)):
        pairs = [(a == 4, b == 4) for a, b, it in zip(before, after, kinds, strict=True) if it == kind]
        naive_counts = (len(pairs), sum(a for a, _ in pairs), sum(b for _, b in pairs), sum(a and b for a, b in pairs))
        assert (tuple(counted.model_dump().values()) if counted else (0, 0, 0, 0)) == naive_counts


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": 3, "changed": 4},
        {"images": 0, "changed": 0},
        {"clean": {"images": 3, "exam": 4, "again": 1, "both": 1}},
        {"clean": {"images": 3, "exam": 1, "again": 2, "both": 2}},
        {"poisoned": {"images": 3, "exam": -1, "again": 2, "both": -1}},
    ],
)
def test_counts_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Audit.model_validate({"images": 3, "changed": 1, "clean": None, "poisoned": None} | wrong)


@st.composite
def exams(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Which images are clean, which carry a trigger, and the batch size."""
    kinds = np.repeat([0, 1, 2], [draw(st.integers(1, 1500)), draw(st.integers(0, 1500)), draw(st.integers(0, 50))])
    kinds = np.random.default_rng(draw(st.integers(0, 99))).permutation(kinds)
    return kinds == 0, kinds == 1, draw(st.integers(1, 700))


@given(exams(), st.integers(0, 2**32 - 1))
def test_each_audit_asks_what_it_says(exam: tuple[np.ndarray, np.ndarray, int], seed: int) -> None:
    clean, poisoned, batch = exam
    asked = questions(clean, poisoned, Asking(), batch=batch, rng=np.random.default_rng(seed))
    size, part = len(clean), -(-len(clean) // 20)
    assert list(asked) == [
        *(["all_clean", "mostly_clean"] if poisoned.any() else []),
        "reordered",
        "duplicates",
        "again",
    ]
    for name, (positions, _) in asked.items():
        assert ((positions >= 0) & (positions < size)).all()
        assert name == "duplicates" or len(set(positions.tolist())) == len(positions)

    again = asked["again"].positions
    np.testing.assert_array_equal(again, np.arange(len(again)))
    assert len(again) == size or (len(again) % batch == 0 and part <= len(again) < part + batch)
    assert len(asked["reordered"].positions) == min(size, max(part, 256))
    assert batch == 1 or asked["reordered"].batch < batch
    copies = np.unique(asked["duplicates"].positions, return_counts=True)[1]
    assert asked["duplicates"].batch == len(asked["duplicates"].positions)
    assert (copies == COPIES).sum() == min(size, DUPLICATED)
    assert set(copies) <= {1, COPIES}
    if poisoned.any():
        mixes_are_as_said(clean, poisoned, batch, part, asked)


def mixes_are_as_said(
    clean: np.ndarray, poisoned: np.ndarray, batch: int, part: int, asked: dict[str, Question]
) -> None:
    pure, mixed = asked["all_clean"].positions, asked["mostly_clean"].positions
    assert clean[pure].all()
    assert len(pure) == min(clean.sum(), max(part, batch))
    assert (clean | poisoned)[mixed].all()
    few, many = poisoned[mixed].sum(), clean[mixed].sum()
    assert few == min(poisoned.sum(), max(LEAST_POISONED, -(-part // 100)))
    assert many == min(clean.sum(), 99 * few)
    shared = len(set(pure) & set(mixed))
    assert shared == max(0, many - (clean.sum() - len(pure)))


def test_images_are_asked_in_the_order_of_a_seed_and_not_kind_by_kind() -> None:
    clean = np.arange(4000) % 2 == 0
    drawn = [questions(clean, ~clean, Asking(), batch=512, rng=np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert all((drawn[0][name].positions == drawn[1][name].positions).all() for name in drawn[0])
    assert (drawn[0]["reordered"].positions != drawn[2]["reordered"].positions).any()
    halves = np.array_split(~clean[drawn[0]["mostly_clean"].positions], 2)
    assert all(half.sum() >= 1 for half in halves)
    assert (np.diff(drawn[0]["reordered"].positions) < 0).any()


def test_where_images_have_no_company_nothing_is_asked_in_batches() -> None:
    clean, rng = np.arange(300) % 2 == 0, np.random.default_rng(0)
    for alone in (Asking(cold=True, batch=16), Asking(whole=True, public=True)):
        assert questions(clean, ~clean, alone, batch=512, rng=rng) == {}
    whole = questions(clean, ~clean, Asking(whole=True), batch=512, rng=rng)
    assert list(whole) == ["all_clean", "mostly_clean", "reordered", "again"]
    assert all(question.batch == len(question.positions) for question in whole.values())
    np.testing.assert_array_equal(whole["again"].positions, whole["reordered"].positions)
