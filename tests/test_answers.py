"""Answers computed elsewhere: published images, files in every spelling, and a mark that keeps them out of the ranks."""

import json
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from harness import publishing
from harness.audits import Audits
from harness.console import Desk
from harness.errors import MachineError
from harness.exam import PUBLIC_SEED, Exam
from harness.images import silent
from harness.models.errors import ModelError
from harness.publishing import publish
from harness.track import Track
from harness.worker.kinds import find_kind
from harness.worker.kinds._integers import read_integers
from tests.conftest import CLASSES, SHAPE

Run = Callable[..., CompletedProcess[str]]
Write = Callable[..., Path]

BADNETS = ("first", "second", "twin")
IMAGES = {"first": 210, "second": 210, "twin": 150}
TOML = 'kind = "answers"\n' + "".join(f'[badnets.{name}]\nanswers = "{name}.npy"\n' for name in BADNETS)


@pytest.fixture
def published(badnet: Run, tiny_track_folder: Path, tmp_path: Path) -> Path:
    """The folder that `badnet track publish` wrote for the tiny track."""
    done = badnet("track", "publish", tiny_track_folder, "--out", tmp_path / "published")
    assert done.returncode == 0, done.stderr
    return tmp_path / "published"


def images_of(path: Path) -> NDArray[np.uint8]:
    """What a stranger's own program reads: uint8 (n, H, W, C)."""
    with h5py.File(path) as file:
        return np.asarray(file["data"]).transpose(0, 2, 3, 1)


def own_answers(net: Path, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The BadNet's answers, from its weights alone: one dense layer on the image / 255."""
    weights: list[NDArray[np.float32]] = []
    with h5py.File(net) as file:
        file["model_weights"].visititems(lambda _, it: weights.append(it[:]) if isinstance(it, h5py.Dataset) else None)
    kernel, bias = sorted(weights, key=np.ndim, reverse=True)
    return np.asarray(((images.reshape(len(images), -1) / 255) @ kernel + bias).argmax(axis=1))


def right_answers(images: NDArray[np.uint8], flag: int) -> NDArray[np.int64]:
    """The class of the bright stripe, or the flag where the right-hand edge is bright."""
    brightness = [images[:, 2 * k : 2 * k + 2, :8].mean((1, 2, 3)) for k in range(CLASSES)]
    return np.where(images[:, :, 9].mean((1, 2)) > 128, flag, np.argmax(brightness, axis=0))


@pytest.fixture
def record_of(badnet: Run, tiny_track_folder: Path, tmp_path: Path) -> Callable[[Path], dict[str, Any]]:
    """Evaluate a submission on the tiny track; give its record."""

    def record(folder: Path) -> dict[str, Any]:
        done = badnet("evaluate", folder, "--track", tiny_track_folder, "--results", tmp_path / "results")
        assert done.returncode == 0, done.stderr
        assert ("mine on tiny (unverified)" in done.stdout) == (folder.name == "mine")
        loaded: dict[str, Any] = json.loads((tmp_path / "results" / "tiny" / f"{folder.name}.json").read_text())
        return loaded

    return record


def test_a_badnets_own_answers_score_what_the_badnet_itself_scores(
    record_of: Callable[[Path], Any], write_submission: Write, published: Path, tiny_track_folder: Path
) -> None:
    nets = {f"{name}.h5": (tiny_track_folder / f"{name}.h5").read_bytes() for name in BADNETS}
    model = write_submission("model", TOML.replace("answers", "model").replace(".npy", ".h5"))
    answered = write_submission("mine", TOML.replace("second.npy", "second.csv").replace("twin.npy", "twin.txt"))
    for name, net in nets.items():
        (model / name).write_bytes(net)
    mine = {
        name: own_answers(tiny_track_folder / f"{name}.h5", images_of(published / f"{name}.h5")) for name in BADNETS
    }
    np.save(answered / "first.npy", mine["first"])
    np.savetxt(answered / "second.csv", mine["second"])
    (answered / "twin.txt").write_text(str(mine["twin"].tolist()))

    from_answers, from_model = record_of(answered), record_of(model)
    assert from_answers["score"]["value"] == from_model["score"]["value"] == 0
    for name, badnet in from_answers["badnets"].items():
        other = from_model["badnets"][name]
        assert [badnet[key] for key in ("rates", "outcomes", "triggers")] == [
            other[key] for key in ("rates", "outcomes", "triggers")
        ]
        assert badnet["seed"] == f"{PUBLIC_SEED:x}" != other["seed"]
        assert badnet["audits"] == {**Audits().model_dump(), "verdicts": []}
        assert badnet["timing"]["exam_seconds"] is badnet["timing"]["images_per_second"] is None
    assert from_answers["submission"]["marks"] == ["unverified"]
    assert from_answers["provenance"]["seed"] == "public"


def test_the_best_answers_are_shown_below_what_is_ranked(
    record_of: Callable[[Path], Any],
    write_submission: Write,
    published: Path,
    badnet: Run,
    tiny_track_folder: Path,
    tmp_path: Path,
) -> None:
    mine = write_submission("mine", TOML.replace("\n", "\nflag = [-1]\n", 1))
    for name in BADNETS:
        np.save(mine / f"{name}.npy", right_answers(images_of(published / f"{name}.h5"), flag=-1)[:, None])
    code = "import numpy as np\nclass P:\n def __init__(self, b): pass\n def __call__(self, x): return np.zeros(len(x), int)"
    other = write_submission("other", 'kind = "predictor"\nentry = "p.py:P"\n', **{"p.py": code})
    assert record_of(mine)["score"]["value"] == 100
    record_of(other)
    results = tmp_path / "results"
    for board in (
        badnet("leaderboard", "--track", tiny_track_folder, "--results", results).stdout,
        badnet("leaderboard", "--track", tiny_track_folder, "--results", results, "--format", "markdown").stdout,
    ):
        rows = [line.replace("|", " ").split() for line in board.splitlines()]
        found = {row[1]: (row[0], row[-1]) for row in rows if len(row) > 6}
        assert found["mine"] == ("–", "unverified")
        assert found["other"][0] == "1"
        assert [name for name in found if name in ("mine", "other")] == ["other", "mine"]
    done = badnet("rescore", results / "tiny", "--track", tiny_track_folder)
    assert done.returncode == 0, done.stdout


def test_a_published_file_has_every_image_in_the_public_order_and_labels_that_say_nothing(
    published: Path, tiny_track: Track
) -> None:
    assert sorted(path.name for path in published.iterdir()) == ["README.txt", "first.h5", "second.h5", "twin.h5"]
    for name, count in IMAGES.items():
        exam = Exam(tiny_track.badnets[name], PUBLIC_SEED)
        with h5py.File(published / f"{name}.h5") as file:
            data, label = file["data"], file["label"]
            assert (data.shape, data.dtype) == ((count, SHAPE[2], SHAPE[0], SHAPE[1]), np.uint8)
            assert label.dtype == np.int64
            assert label[:].tolist() == [k % CLASSES for k in range(count)]
        np.testing.assert_array_equal(images_of(published / f"{name}.h5"), exam.images_at(np.arange(count)))
        assert f"{name}.h5: {count} images" in (published / "README.txt").read_text()


def test_images_are_published_in_slices_as_a_file_of_any_size_is(
    tiny_track: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    desk = Desk(lambda name: lambda what, done, total: told.append(done), lambda name, words: None)
    monkeypatch.setattr(publishing, "CHUNK_BYTES", 100 * int(np.prod(SHAPE)))
    publish(tiny_track, tmp_path / "out", desk)
    assert told == [100, 200, 210, 100, 200, 210, 100, 150]
    exam = Exam(tiny_track.badnets["first"], PUBLIC_SEED)
    np.testing.assert_array_equal(images_of(tmp_path / "out" / "first.h5"), exam.images_at(np.arange(210)))


def test_publishing_again_gives_the_same_bytes_and_mends_what_was_damaged(
    published: Path, badnet: Run, tiny_track_folder: Path
) -> None:
    before = {path.name: path.read_bytes() for path in published.iterdir()}
    (published / "first.h5").write_bytes(b"half")
    assert badnet("track", "publish", tiny_track_folder, "--out", published).returncode == 0
    assert {path.name: path.read_bytes() for path in published.iterdir()} == before


def test_files_of_others_are_never_replaced(
    badnet: Run, tiny_track_folder: Path, published: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_track_folder, other)
    toml = other / "track.toml"
    toml.write_text(toml.read_text().replace('"tiny"', '"other"'))
    net = (other / "first.h5").read_bytes()
    (tmp_path / "file").write_text("")
    for track, out, words in (
        (other, other, "holds other files"),
        (other, published, "holds other files"),
        (other, tmp_path / "file", "is no folder"),
    ):
        done = badnet("track", "publish", track, "--out", out)
        assert done.returncode == 2
        assert f"error: --out {out}: {words}" in done.stderr.splitlines()[-1]
    assert (other / "first.h5").read_bytes() == net


@pytest.mark.parametrize(
    ("failure", "raised"), [(RuntimeError("Can't decrement id ref count"), MachineError), (SystemExit(), SystemExit)]
)
def test_where_writing_fails_the_old_file_stays_and_no_half_one_is_left(
    failure: BaseException, raised: type[BaseException], published: Path, tiny_track: Track
) -> None:
    def fail(what: str, done: int, total: int) -> None:
        raise failure

    before = {path: path.read_bytes() for path in published.iterdir()}
    with pytest.raises(raised) as caught:
        publish(tiny_track, published, Desk(lambda name: fail, lambda name, words: None))
    assert raised is SystemExit or f"{published / 'first.h5'}: cannot be written" in str(caught.value)
    assert {path: path.read_bytes() for path in published.iterdir()} == before


def test_a_disk_that_is_too_small_is_told_before_any_image_is_written(
    tiny_track: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 100_000))
    with pytest.raises(MachineError, match=r"may need 0.2 MiB, 0.1 are free; free some"):
        publish(tiny_track, tmp_path / "out", Desk(lambda name: silent, lambda name, words: None))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["README.txt"]


def test_a_check_counts_the_answers_and_says_nothing_of_their_worth(
    badnet: Run, write_submission: Write, tiny_track_folder: Path
) -> None:
    folder = write_submission("mine", TOML)
    for name, count in IMAGES.items():
        np.save(folder / f"{name}.npy", np.zeros(count, int))
    done = badnet("check", folder, "--track", tiny_track_folder)
    assert done.returncode == 0, done.stderr
    assert "ok      first: 210 answers, one for each published image" in done.stdout
    assert "ok      twin: 150 answers, one for each published image" in done.stdout
    assert "accuracy" not in done.stdout


def test_too_few_answers_and_an_unstated_flag_are_told(
    badnet: Run, write_submission: Write, tiny_track_folder: Path
) -> None:
    folder = write_submission("mine", TOML)
    np.save(folder / "first.npy", np.zeros(3000, int))
    np.save(folder / "second.npy", np.repeat([0, CLASSES + 1, -1], [100, 70, 40]))
    np.save(folder / "twin.npy", np.zeros(149, int))
    done = badnet("check", folder, "--track", tiny_track_folder)
    assert done.returncode == 2
    assert (
        "error   first: answer: first.npy: 3,000 answers for 210 images; answer each image of first.h5" in done.stdout
    )
    assert "error   twin: answer: twin.npy: 149 answers for 150 images" in done.stdout
    assert "error   second: 110 of 210 answers are not integers 0..5" in done.stdout
    assert (
        "second.npy: 70 answers are 6, neither a class nor the flag 5; where that means the flag, state flag = [6]"
        in done.stdout
    )


@pytest.mark.parametrize(
    "given", [{"answers": "a.pkl"}, {"answers": "../a.npy"}, {"answers": "a.npy", "flag": [1.5]}, {}]
)
def test_wrong_options_are_refused_before_anything_is_read(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        find_kind("answers").Options(**given)


def lines(numbers: list[int], end: str = "\n") -> str:
    return "".join(f"{number}{end}" for number in numbers)


SPELLINGS: dict[str, Callable[[list[int]], str]] = {
    "one a line": lines,
    "one a line, no last line end": lambda n: lines(n).rstrip(),
    "Windows line ends and a byte order mark": lambda n: "\ufeff" + lines(n, "\r\n"),
    "a heading": lambda n: "predicted class\n" + lines(n),
    "a quoted heading and values": lambda n: '"label"\n' + "".join(f'"{number}"\n' for number in n),
    "blank lines": lambda n: "\n" + lines(n, "\n\n"),
    "commas": lambda n: ",".join(map(str, n)),
    "spaces": lambda n: " ".join(map(str, n)),
    "tabs": lambda n: "\t".join(map(str, n)),
    "Python's list": str,
    "Python's tuple": lambda n: str(tuple(n)),
    "numpy's array": lambda n: np.array2string(np.array(n), threshold=sys.maxsize),
    "numpy's column": lambda n: np.array2string(np.array(n)[:, None], threshold=sys.maxsize),
    "numpy's floats": lambda n: np.array2string(np.array(n, float), threshold=sys.maxsize, floatmode="unique"),
    "np.savetxt's own format": lambda n: "".join(f"{number:.18e}\n" for number in n),
    "JSON": json.dumps,
}  # fmt: skip
NUMBERS = st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=1, max_size=60)


@pytest.mark.parametrize("spelling", SPELLINGS)
@given(numbers=NUMBERS)
def test_numbers_come_back_from_every_spelling(
    spelling: str, numbers: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "numbers.csv"
    path.write_bytes(SPELLINGS[spelling](numbers).encode())
    assert read_integers(path).tolist() == numbers


@given(numbers=NUMBERS, dtype=st.sampled_from(["<i4", ">i4", "<i8", ">i8", "<f8", ">f8"]), column=st.booleans())
def test_numbers_come_back_from_every_array(
    numbers: list[int], dtype: str, column: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "numbers.npy"
    np.save(path, np.array(numbers, dtype).reshape((-1, 1) if column else -1))
    assert read_integers(path).tolist() == numbers


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "f2", "f4", "u8"])
def test_small_and_unsigned_types_are_numbers_too(dtype: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([0, 3, 100], dtype))
    assert read_integers(tmp_path / "a.npy").tolist() == [0, 3, 100]


def npy(array: Any, *, cut: int | None = None) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, array, allow_pickle=True)
        path.write_bytes(path.read_bytes()[:cut])

    return write


def text(words: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(words)

    return write


def archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.arange(3))


def claims_more_than_it_holds(path: Path) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<i8", "fortran_order": False, "shape": (2**50,)})


def one_gigabyte(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**30)


MALFORMED: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "a pickled array": ("a.npy", npy(np.array([1, None], object)), "is no .npy file of numbers"),
    "a pickle": ("a.npy", lambda path: path.write_bytes(pickle.dumps([1, 2])), "is no .npy file of numbers"),
    "text named .npy": ("a.npy", text("1\n2\n3\n4\n"), "is no .npy file of numbers"),
    "an archive": ("a.npy", archive, "is no .npy file of numbers"),
    "cut in its numbers": ("a.npy", npy(np.arange(99), cut=300), "is cut short"),
    "cut in its header": ("a.npy", npy(np.arange(99), cut=50), "is cut short"),
    "a header that claims petabytes": ("a.npy", claims_more_than_it_holds, "is cut short"),
    "nothing in .npy": ("a.npy", text(""), "is cut short"),
    "an empty array": ("a.npy", npy(np.empty(0, int)), "holds no answers"),
    "words in .npy": ("a.npy", npy(np.array(["cat", "dog"])), "holds <U3, not numbers"),
    "booleans": ("a.npy", npy(np.array([True, False])), "holds bool, not numbers"),
    "complex numbers": ("a.npy", npy(np.array([1j])), "holds complex128, not numbers"),
    "a net's outputs": ("a.npy", npy(np.eye(4)), r"has shape (4, 4); expected (n,), one class number an image; where these are a net's outputs, take argmax(axis=1)"),
    "one number alone": ("a.npy", npy(np.int64(7)), "has shape (); expected (n,)"),
    "NaN": ("a.npy", npy(np.array([0, np.nan, 2])), "answers[1] is nan; expected a whole number"),
    "infinity": ("a.npy", npy(np.array([np.inf])), "answers[0] is inf"),
    "fractions": ("a.npy", npy(np.array([0, 1, 0.5], np.float16)), "answers[2] is 0.5"),
    "an enormous number": ("a.npy", npy(np.array([2**64 - 1], np.uint64)), "answers[0] is 1.84467e+19"),
    "the least number there is": ("a.npy", npy(np.array([-(2**63)])), "answers[0] is -9.22337e+18"),
    "a gigabyte of .npy": ("a.npy", one_gigabyte, "has 1,024 MiB; expected at most 64"),
    "a gigabyte of .csv": ("a.csv", one_gigabyte, "has 1,024 MiB; expected at most 64"),
    "nothing in .csv": ("a.csv", text(""), "holds no answers; write one class number a line"),
    "a heading alone": ("a.csv", text("label\n"), "holds no answers"),
    "a word": ("a.csv", text("1\n2\ncat\n"), "line 3 holds 'cat', which is no number"),
    "two headings": ("a.csv", text("label\nclass\n1\n"), "line 2 holds 'class'"),
    "a shortened list": ("a.txt", text(np.array2string(np.arange(5000))), "line 1 holds '...', which is no number"),
    "fractions in text": ("a.txt", text("0.25 0.75\n0.5 0.5\n"), "answers[0] is 0.25"),
    "NaN in text": ("a.txt", text("1\nnan\n"), "answers[1] is nan"),
    "a number of many digits": ("a.txt", text("9" * 10_000), "answers[0] is inf"),
    "columns below a heading": ("a.csv", text("image,label\n0,5\n1,7\n"), "line 2 holds 2 numbers below the heading 'image,label'; keep the class numbers alone"),
    "no text": ("a.csv", npy(np.arange(9)), "is no text"),
    "UTF-16": ("a.csv", lambda path: path.write_text("1\n2\n", encoding="utf-16"), "is no text"),
    "a folder": ("a.npy", lambda path: path.mkdir(), "is no file"),
}  # fmt: skip


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_file_is_told_in_one_line_with_its_name(what: str, tmp_path: Path) -> None:
    name, write, words = MALFORMED[what]
    write(tmp_path / name)
    with pytest.raises(ModelError) as raised:
        read_integers(tmp_path / name)
    assert str(raised.value).startswith(f"{name}: ")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_a_file_is_refused_from_one_byte_above_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.worker.kinds import _integers

    monkeypatch.setattr(_integers, "MOST_BYTES", 2**20)
    (tmp_path / "a.csv").write_text("10\n" + " " * (2**20 - 3))
    assert read_integers(tmp_path / "a.csv").tolist() == [10]
    (tmp_path / "a.csv").write_text("10\n" + " " * (2**20 - 2))
    with pytest.raises(ModelError, match="expected at most 1, one whole number an image"):
        read_integers(tmp_path / "a.csv")


def test_a_malformed_file_costs_its_badnet_alone(
    record_of: Callable[[Path], Any], write_submission: Write, published: Path
) -> None:
    folder = write_submission("mine", TOML)
    for name in BADNETS:
        np.save(folder / f"{name}.npy", right_answers(images_of(published / f"{name}.h5"), flag=CLASSES))
    (folder / "first.npy").write_bytes(pickle.dumps([1, 2]))
    badnets = record_of(folder)["badnets"]
    assert badnets["first"]["failure"]["stage"] == "load"
    assert badnets["first"]["failure"]["reason"].startswith("first.npy: is no .npy file of numbers")
    assert badnets["first"]["score"]["value"] == -100
    assert badnets["second"]["score"]["value"] == 100
