"""What a defense found out arrives as it was sent; what no defense would send is refused in one line."""

import json
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from harness.models.errors import ModelError
from harness.models.facts import LONGEST, kept, tamed
from harness.models.findings import ByLabel, Curve, Figure, Findings, Histogram, ReversedTrigger
from harness.models.findings_frames import FRAMES, KINDS, LARGEST, MAX_BYTES, MAX_FIGURES, Gathering, pack
from harness.protocol import MAX_HEADER, Frame
from harness.wording import harmless

SHAPE, CLASSES = (3, 4, 2), 5
words = st.text(max_size=30).map(harmless)
numbers = st.floats(-(2.0**60), 2.0**60, width=32)
shares = st.floats(0, 1, width=32)
names = st.from_regex("[a-z0-9-]{1,40}", fullmatch=True)


def arrays(shape: Any, elements: st.SearchStrategy[float] = numbers) -> st.SearchStrategy[Any]:
    return st_numpy.arrays(np.float32, shape, elements=elements)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


marks = st.sets(st.integers(0, CLASSES - 1)).map(lambda it: tuple(sorted(it)))
figures: st.SearchStrategy[Figure] = st.one_of(
    st.builds(ByLabel, title=words, values=arrays(CLASSES, numbers | st.just(np.nan)), unit=words, threshold=maybe(numbers), marked=marks),
    st.builds(Curve, title=words, values=arrays(7), x_label=words, y_label=words, stopped=maybe(st.integers(0, 6))),
    st.builds(Histogram, title=words, values=arrays(st.integers(0, 9)), x_label=words, threshold=maybe(numbers)),
    st.builds(ReversedTrigger, target=st.integers(0, CLASSES - 1), mask=arrays(SHAPE[:2], shares), pattern=arrays(SHAPE, shares), success=shares),
)  # fmt: skip
CURVE = Curve(title="t", values=np.zeros(3, np.float32), x_label="x", y_label="y")


def received(findings: Findings) -> Gathering:
    """What the host has after all frames came, each as JSON and bytes."""
    gathering = Gathering(shape=SHAPE, classes=CLASSES)
    for frame in pack(findings)[0]:
        gathering.take(Frame(frame.kind, json.loads(json.dumps(frame.fields)), frame.array))
    return gathering


def refusal(gathering: Gathering, frame: Frame) -> str:
    """Why a frame is refused; empty where it is taken."""
    try:
        gathering.take(frame)
    except ValueError as error:
        return str(error)
    return ""


def assert_same(one: Figure, other: Figure) -> None:
    assert type(one) is type(other)
    for field in fields(one):
        np.testing.assert_equal(getattr(other, field.name), getattr(one, field.name))


@given(st.dictionaries(names, figures, max_size=4))
def test_a_figure_arrives_as_it_was_sent(sent: dict[str, Figure]) -> None:
    figures = received(Findings(figures=sent)).figures
    assert list(figures) == list(sent)
    for name, figure in sent.items():
        assert_same(figure, figures[name])


leaves = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | words
)
inner = leaves | st.lists(leaves, max_size=3) | st.dictionaries(words, leaves, max_size=3)


@given(st.dictionaries(words, inner | st.lists(inner, max_size=2), max_size=4))
def test_facts_arrive_as_they_were_sent(sent: dict[str, Any]) -> None:
    assert received(Findings(facts=sent)).facts == sent


def test_facts_may_be_numpys() -> None:
    sent = {"targets": np.array([1, 2]), "share": np.float32(0.5), "norms": {3: np.float64(1.5)}, "bad": float("nan")}
    assert received(Findings(facts=sent)).facts == {"targets": [1, 2], "share": 0.5, "norms": {"3": 1.5}, "bad": None}


def test_what_is_too_large_is_left_out_and_said() -> None:
    many = {f"f-{i}": CURVE for i in range(MAX_FIGURES + 1)}
    huge = Histogram(title="t", values=np.zeros(MAX_BYTES // 4 + 1, np.float32), x_label="x")
    frames, said = pack(
        Findings(facts={"long": "x" * MAX_HEADER, "short": 1, "odd": object()}, figures={"huge": huge, **many})
    )
    assert [frame.kind for frame in frames] == ["facts", *["figure"] * MAX_FIGURES]
    assert frames[0].fields == {"facts": {"short": 1}}
    assert [line.split("'")[1] for line in said] == ["long", "odd", "huge", f"f-{MAX_FIGURES}"]


def test_what_is_no_figure_is_the_defenses_mistake() -> None:
    with pytest.raises(ModelError, match="figure 'norms': a list is none; one of ByLabel"):
        pack(Findings(figures={"norms": [1.0]}))  # type: ignore[dict-item]


def test_numbers_that_cannot_be_drawn_are_missing() -> None:
    values = np.array([np.nan, np.inf, -np.inf, 3e38, 1], np.float32)
    sent = ByLabel(title="a\x1b[31m\nb", values=values, unit="u", threshold=float("inf"))
    figure = received(Findings(figures={"x": sent})).figures["x"]
    assert isinstance(figure, ByLabel)
    np.testing.assert_array_equal(figure.values, [np.nan] * 4 + [1])
    assert figure.threshold is None
    assert figure.title == harmless(sent.title)
    mask = np.full(SHAPE[:2], np.nan, np.float32)
    reversed_trigger = ReversedTrigger(target=0, mask=mask, pattern=np.full(SHAPE, 9, np.float32), success=1.0)
    figure = received(Findings(figures={"x": reversed_trigger})).figures["x"]
    assert isinstance(figure, ReversedTrigger)
    assert (figure.mask == 0).all()
    assert (figure.pattern == 1).all()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([*KINDS, *FRAMES]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(FRAMES), st.fixed_dictionaries({}, optional=dict.fromkeys(("facts", "name", "figure", "told"), json_values)),
            st.none() | st_numpy.arrays(st.sampled_from([np.float32, np.int64]), st_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0)),
        ),
        max_size=3,
    )
)  # fmt: skip
def test_any_frame_is_taken_or_refused_in_one_line(frames: list[tuple[str, dict[str, Any], Any]]) -> None:
    gathering = Gathering(shape=SHAPE, classes=CLASSES)
    for kind, told, array in frames:
        assert refusal(gathering, Frame(kind, told, array)).isprintable()
    assert tamed(gathering.facts) == gathering.facts


@given(figures, st.sampled_from([f.name for kind in KINDS.values() for f in fields(kind)]), json_values)
def test_a_figure_with_one_odd_field_is_within_bounds_or_refused(figure: Figure, field: str, value: Any) -> None:
    frame = pack(Findings(figures={"x": figure}))[0][0]
    frame.fields["told"][field] = value
    gathering = Gathering(shape=SHAPE, classes=CLASSES)
    if refused := refusal(gathering, Frame(*frame)):
        assert refused.startswith("figure 'x': ")
        return
    taken = gathering.figures["x"]
    for name in (it.name for it in fields(taken)):
        inside = getattr(taken, name)
        if isinstance(inside, str):
            assert inside.isprintable()
        elif isinstance(inside, int | float) and not isinstance(inside, bool):
            assert abs(inside) <= LARGEST


def test_a_record_keeps_short_facts_only() -> None:
    assert kept({"targets": [1, 5, 8], "norms": dict.fromkeys(map(str, range(LONGEST)), 1.0)}) == {"targets": [1, 5, 8]}
