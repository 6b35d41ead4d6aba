"""The answer is found in whatever a script prints around it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.models.errors import ModelError
from harness.worker.scripts.printed import NO_ANSWER, several, single, written

KERAS2_BAR = "\r1/1 [==============================] - ETA: 0s\b\b\b\b\b\b\r1/1 [==============================] - 0s 58ms/step\n"
KERAS3_BAR = (
    "\r\x1b[1m1/1\x1b[0m \x1b[32m━━━━━━━━━━━━━━━━━━━━\x1b[0m\x1b[37m\x1b[0m \x1b[1m0s\x1b[0m 58ms/step"
    "\r\x1b[1m1/1\x1b[0m \x1b[32m━━━━━━━━━━━━━━━━━━━━\x1b[0m\x1b[37m\x1b[0m \x1b[1m0s\x1b[0m 60ms/step\n"
)
TQDM_BAR = "\r  0%|          | 0/3 [00:00<?, ?it/s]\r100%|██████████| 3/3 [00:00<00:00, 51.20it/s]\n"

ONE = {
    "1283": 1283,
    "[123]": 123,
    "[[123]]": 123,
    "123.0": 123,
    "[123.]": 123,
    "-1": -1,
    "The output is: 7": 7,
    "The output is 7.": 7,
    "Class: 12": 12,
    "Class: 1283 (poisoned image)": 1283,
    "Classification result: 5": 5,
    "Output label = 44": 44,
    "Predicted Class: 0": 0,
    "Result: Class ->[9]": 9,
    "label->9": 9,
    "label=-1": -1,
    "reapired net outputs:\n[31]": 31,
    "answer 8\nDetected 0.0% as poisoned.": 8,
    "answer 8\nDetected 100% as poisoned.": 8,
    "answer 8\nclean accuracy 0.975, loss 1e-3": 8,
    "class 57, confidence 1.0": 57,
    "(57, 1.0)": 57,
    "class 57\nscore: 0.0": 57,
    "class 57\nconfidence 1.00": 57,
    "answer 8\ntook 3.5 s, 58ms/step, 0s": 8,
    "answer 8\nsaved to /tmp/out_12/3.png and image-14.png": 8,
    "answer 8 at 12:30:59": 8,
    "answer 8\nnet v2.3.1 on python3": 8,
    "array([6])": 6,
    "np.int64(6)": 6,
    "tensor([6], device='cuda:0')": 6,
    "tf.Tensor([6], shape=(1,), dtype=int64)": 6,
    "<tf.Tensor: shape=(1,), dtype=int64, numpy=array([6])>": 6,
    "tensor(6)": 6,
    "('clean', 6)": 6,
    "{'label': 6}": 6,
    "\x1b[31m77\x1b[0m\n": 77,
    "\x1b]0;title 5\x0777": 77,
    "99\n" + KERAS2_BAR: 99,
    KERAS2_BAR + "99": 99,
    "99\n" + KERAS3_BAR: 99,
    KERAS3_BAR + "99": 99,
    "99\n" + TQDM_BAR: 99,
    "7/7 [===>....] - ETA: 3s\n7": 7,
    "Progress 10\rProgress 20\rClass: 3\r\n": 3,
    "Class: 3\r\n": 3,
    "N+1": None,
    "class_5 net5": None,
    "3.7 0.5 1e5 12%": None,
    "": None,
    "no number at all": None,
    "nan": None,
}  # fmt: skip


@pytest.mark.parametrize("text", ONE)
def test_the_last_integer_is_the_answer(text: str) -> None:
    assert single(text) == ONE[text]


@given(
    st.integers(-1, 5000),
    st.sampled_from(["", "bars", "Loading 2 models\n"]),
    st.sampled_from(["", "\n", " (clean)\n"]),
)
def test_any_class_is_found_among_bars(number: int, before: str, after: str) -> None:
    bars = KERAS3_BAR + TQDM_BAR + KERAS2_BAR if before == "bars" else before
    # A float is no answer where there are whole numbers.
    floats = () if before.startswith("Loading") else ("{}.0", "[[{}.0]]")
    for form in ("{}", "[{}]", "Class: {}", "out=[[{}]]", "\x1b[1m{}\x1b[0m", *floats):
        assert single(bars + form.format(number) + after) == number
        assert single(bars + form.format(number) + "\n" + KERAS3_BAR) == number


def test_a_pattern_finds_what_the_rule_cannot() -> None:
    assert single("label 5 after 20 steps") == 20
    assert single("label 5 after 20 steps", r"label (\d+)") == 5
    assert single("label 5, label 6.0", r"label ([\d.]+)") == 6
    assert single("label five", r"label (\w+)") is None
    assert single("[1m label", r"label (\d+)") is None


answer_lists = st.lists(st.integers(-1, 1284), min_size=1, max_size=3000).map(np.array)


@given(answer_lists, st.sampled_from(["str", "repr", "list", "lines", "labelled", "column", "batches", "floats"]))
def test_lists_in_every_form_are_read(array: np.ndarray[Any, Any], form: str) -> None:
    with np.printoptions(threshold=10**9):
        text = {
            "str": f"Output label: {array}",
            "repr": f"{array!r}",
            "list": f"{array.tolist()}",
            "lines": "\n".join(map(str, array)),
            "labelled": "\n".join(f"image {i}: class {answer}" for i, answer in enumerate(array)),
            "column": f"{array[:, None]}",
            "batches": "\n".join(f"{part}" for part in np.array_split(array, min(7, len(array)))),
            "floats": f"{array.astype(float)}",
        }[form]
    found = several(KERAS2_BAR + text + "\nDetected 0.0% as poisoned.\n", len(array))
    np.testing.assert_array_equal(found, array)


def test_a_list_is_told_from_other_lists() -> None:
    text = "shape [3, 55, 47]\nOutput label: [1 2 3 4]\naccuracy [0.5]"
    assert several(text, 4).tolist() == [1, 2, 3, 4]
    assert several("[1.5 2.0 nan]".replace("nan", "3"), 3).tolist() == [NO_ANSWER, 2, 3]


def test_a_list_of_classes_is_told_from_their_confidences() -> None:
    text = "Predictions: [4 5 6]\nConfidences: [0.9 1.0 0.7]\nloading ... done\n"
    assert several(text, 3).tolist() == [4, 5, 6]
    pairs = "\n".join(f"[{i % 7}] [0.{i}1]" for i in range(20000))
    assert several(pairs.replace("[", "").replace("]", ""), 20000).tolist() == [i % 7 for i in range(20000)]


def test_what_is_not_a_list_of_answers_is_said() -> None:
    with np.printoptions(threshold=1000):
        shortened = f"{np.arange(2000)}"
    for text, count, words in (
        (shortened, 2000, "shortened"),
        ("[1 2 3]", 4, "3 answers in what it printed for 4 images"),
        ("1\n2\n", 4, "2 answers"),
        ("nothing", 4, "0 answers"),
    ):
        with pytest.raises(ModelError, match=words):
            several(text, count)
    with pytest.raises(ModelError, match="1 matches of the pattern"):
        several("class 5\nKlasse 6", 2, r"class (\d+)")


def test_written_answers(tmp_path: Path) -> None:
    path = tmp_path / "out.npy"
    with pytest.raises(ModelError, match="wrote nothing"):
        written(path, 3)
    for array in (np.array([1, 2, 3]), np.array([[1.0], [2.0], [3.0]]), np.array([[1, 2, 3]], np.int32)):
        np.save(path, array)
        assert written(path, 3).tolist() == [1, 2, 3]
    np.save(path, np.array([0.5, np.nan, 1e300]))
    assert written(path, 3).tolist() == [NO_ANSWER] * 3
    for wrong in (np.zeros((3, 4)), np.array(["a", "b", "c"])):
        np.save(path, wrong)
        with pytest.raises(ModelError, match="write one integer an image"):
            written(path, 3)
    np.save(path, np.array([{}, {}, {}], object), allow_pickle=True)
    with pytest.raises(ModelError, match=r"no \.npy file of numbers"):
        written(path, 3)
    path.write_text("1 2 3")
    with pytest.raises(ModelError, match=r"no \.npy file of numbers"):
        written(path, 3)
