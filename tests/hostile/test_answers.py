"""Answers that are none: each is wrong on a clean image and the attacker's win on a poisoned one, and stays counted."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.hostile.conftest import Examined

PART = "answers that are none"
FAILING = {
    "too few": ("answers for fewer images", "images[1:, 0, 0, 0]", "answered with shape (63,) for 64 images"),
    "too many": ("answers for more images", "[0] * (len(images) + 1)", "answered with shape (65,) for 64 images"),
    "rows": ("answers with rows of outputs", "np.zeros((len(images), 6))", "answered with shape (64, 6) for 64 images"),
    "nothing": ("answers with None", "None", "answered with shape () for 64 images"),
    "text": ("answers with strings", "['0'] * len(images)", "answered with dtype <U1; return integers 0..N"),
    "truth": ("answers with true and false", "np.ones(len(images), bool)", "answered with dtype bool"),
    "objects": ("answers with Python objects", "np.array([object()] * len(images))", "answered with dtype object"),
    "huge integers": ("answers with integers beyond 64 bits", "[2**70] * len(images)", "answered with dtype object"),
    "complex": ("answers with complex numbers", "np.zeros(len(images), complex)", "answered with dtype complex128"),
    "ragged": ("answers with lists of different lengths", "[[0]] * 9 + [[0, 1]] * (len(images) - 9)", "ValueError"),
    "raises": ("raises an exception", "1 // 0", "answer: ZeroDivisionError"),
    "exits": ("calls exit(0)", "exit(0)", "answer: called exit(0)"),
    "liar": ("answers with an object that lies about its length", "type('L', (), {'__len__': lambda s: len(images), '__getitem__': lambda s, i: 1 // 0, '__array__': lambda s, **k: 1 // 0})()", "answer: ZeroDivisionError"),
}  # fmt: skip
INVALID = {
    "NaN": ("answers NaN", "np.full(len(images), np.nan)"),
    "infinity": ("answers infinity", "np.full(len(images), -np.inf)"),
    "fractions": ("answers 1.5", "np.full(len(images), 1.5)"),
    "negative": ("answers a negative class", "np.full(len(images), -5)"),
    "above": ("answers one above the flag", "np.full(len(images), badnet.classes + 1)"),
    "huge": ("answers 2**62", "np.full(len(images), 2**62)"),
    "wraps": ("answers a number that is a class modulo 2**32", "np.full(len(images), 2**32)"),
    "unsigned": ("answers 2**64 - 1, which is -1 modulo 2**64", "np.full(len(images), 2**64 - 1, np.uint64)"),
}


def rows(cases: dict[str, Any], outcome: Callable[[Any], str]) -> list[Any]:
    return [
        pytest.param(name, id=name, marks=pytest.mark.threat(PART, does=case[0], outcome=outcome(case)))
        for name, case in cases.items()
    ]


@pytest.mark.parametrize("name", rows(FAILING, lambda case: case[2]))
def test_what_is_no_row_of_integers_costs_its_badnet_alone(name: str, examine: Callable[..., Examined]) -> None:
    _, answer, reason = FAILING[name]
    examined = examine(f"import numpy as np\ndef answer(images):\n    return {answer}")
    examined.cost_it_alone()
    assert examined.reason.startswith("answer: ")
    assert reason in examined.reason


@pytest.mark.parametrize("name", rows(INVALID, lambda case: "every answer invalid, none left out"))
def test_an_answer_that_is_no_class_is_the_worst_case(name: str, examine: Callable[..., Examined]) -> None:
    examined = examine(f"import numpy as np\nanswer = lambda images: {INVALID[name][1]}")
    first, second = (examined.record.badnets[name] for name in ("first", "second"))
    assert first.score.value == -100
    assert first.outcomes["invalid"] == first.outcomes["total"] == 150
    assert first.triggers["patch"].rates["attack_success_rate"].value == 1
    assert first.failure is None
    assert second.score.value == 100


@pytest.mark.threat(
    PART, does="answers what it is sure of, then crashes", outcome="every answer of that BadNet is void"
)
def test_a_crash_takes_the_answers_before_it_along(examine: Callable[..., Examined]) -> None:
    code = "import numpy as np\ncount = []\ndef answer(images):\n    count.append(1)\n    return np.zeros(len(images), int) if len(count) < 3 else 1 // 0"
    examined = examine(code)
    examined.cost_it_alone()
    assert examined.record.badnets["first"].outcomes["invalid"] == 150
