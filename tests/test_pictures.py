"""What a defense found becomes pictures that show it, and a picture that cannot be drawn costs nothing."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from harness.baseline import baseline_key, baseline_path
from harness.models.findings import ByLabel, Curve, Figure, Histogram, ReversedTrigger
from harness.models.findings_frames import KINDS
from harness.pictures import draw, with_pictures
from harness.pictures.reversed_trigger import draw as draw_reversed
from harness.rescore import rescore
from harness.sitting import Sitting, save_sitting
from harness.submission import Submission
from harness.track import BadNet, Track
from tests.conftest import CLASSES, ROOT, SHAPE, TARGET
from tests.fuzz.documents import write_track

Run = Callable[..., CompletedProcess[str]]
Write = Callable[..., Path]

NONE = np.empty(0, np.float32)
RISING = np.linspace(1, 9, CLASSES).astype(np.float32)
FIGURES: dict[str, Figure] = {
    "by_label": ByLabel(title="norms", values=RISING, unit="L1", threshold=2.0, marked=(0,)),
    "curve": Curve(title="accuracy", values=RISING, x_label="pruned", y_label="accuracy", stopped=3),
    "histogram": Histogram(title="entropy", values=RISING, x_label="bits", threshold=4.0),
    "reversed_trigger": ReversedTrigger(
        target=TARGET, mask=np.eye(*SHAPE[:2], dtype=np.float32), pattern=np.ones(SHAPE, np.float32), success=0.9
    ),
}
ODD: dict[str, Figure] = {
    "nothing known": ByLabel(title="", values=np.full(CLASSES, np.nan, np.float32), unit="", threshold=1.0, marked=(1,)),
    "huge": ByLabel(title="x" * 100, values=np.array([1e30, 1e-30, 1, -1e30, 0], np.float32), unit="u" * 100, marked=(0, 1)),
    "no points": Curve(title="", values=NONE, x_label="", y_label=""),
    "no numbers": Histogram(title="", values=NONE, x_label="", threshold=-1e30),
    "far apart": Histogram(title="", values=np.array([-1e30, 1e30], np.float32), x_label=""),
    "all the same": Histogram(title="", values=np.full(9, 7, np.float32), x_label=""),
    "formulas": Curve(title=r"$\frac{", values=RISING, x_label=r"\$", y_label="$$", stopped=0),
    "another script": Curve(title="\u4e2d\u6587 \U0001f600", values=RISING, x_label="", y_label=""),
    "everything marked": ByLabel(title="", values=RISING, unit="", marked=tuple(range(CLASSES))),
}  # fmt: skip


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def test_every_kind_of_figure_has_its_file() -> None:
    files = {path.stem for path in (ROOT / "harness" / "pictures").glob("[!_]*.py")}
    assert files == set(KINDS) == set(FIGURES)


@pytest.mark.parametrize("kind", FIGURES)
def test_a_picture_is_readable_and_shows_its_numbers(kind: str, tiny_track: Track, tmp_path: Path) -> None:
    figure = FIGURES[kind]
    other = (
        replace(figure, mask=1 - figure.mask)
        if isinstance(figure, ReversedTrigger)
        else replace(figure, values=figure.values[::-1] ** 2)
    )
    for name, drawn in (("one", figure), ("same", figure), ("other", other)):
        draw(drawn, tiny_track.badnets["first"], tmp_path / f"{name}.png")
    one, other_pixels = pixels(tmp_path / "one.png"), pixels(tmp_path / "other.png")
    assert one.shape[1] == 800
    assert 300 < one.shape[0] < 900
    assert len(np.unique(one.reshape(-1, 3), axis=0)) > 20
    np.testing.assert_array_equal(one, pixels(tmp_path / "same.png"))
    assert one.shape != other_pixels.shape or (one != other_pixels).any()


@pytest.mark.parametrize("name", ODD)
def test_an_odd_figure_is_drawn_too(name: str, tiny_track: Track, tmp_path: Path) -> None:
    draw(ODD[name], tiny_track.badnets["first"], tmp_path / "odd.png")
    assert pixels(tmp_path / "odd.png").shape[1] == 800


def words_of(figure: ReversedTrigger, badnet: BadNet) -> list[str]:
    """What stands above the rows of the picture."""
    return [part.get_suptitle() for part in draw_reversed(figure, badnet).subfigs]


def test_a_reversed_trigger_stands_beside_the_real_one_of_the_same_target(tiny_track: Track) -> None:
    figure = FIGURES["reversed_trigger"]
    assert isinstance(figure, ReversedTrigger)
    assert f"The attack's own: patch, target {TARGET}" in words_of(figure, tiny_track.badnets["first"])
    none = "no trigger of this BadNet has this target"
    assert none in words_of(replace(figure, target=TARGET - 1), tiny_track.badnets["first"])
    assert none in words_of(figure, tiny_track.badnets["twin"])


def test_the_real_images_are_those_that_carry_the_trigger(tiny_track: Track) -> None:
    badnet, figure = tiny_track.badnets["first"], FIGURES["reversed_trigger"]
    assert isinstance(figure, ReversedTrigger)
    poisoned = badnet.poisoned["patch"]
    few = np.zeros(len(poisoned.images), bool)
    few[7] = True
    poisoned.images = replace(poisoned.images, carries=few)
    shown = [
        image.get_array()
        for part in draw_reversed(figure, badnet).subfigs
        for plot in part.axes
        for image in plot.images
    ]
    real = poisoned.images.images[7] / 255
    assert sum(image is not None and image.shape == real.shape and np.array_equal(image, real) for image in shown) == 1


def sitting_with(figures: dict[str, Figure]) -> Sitting:
    return Sitting(clean=np.empty(0, np.int32), poisoned={}, figures=figures, notes=("first",))


@pytest.fixture
def submission(write_submission: Write) -> Submission:
    return Submission(write_submission("drawn", 'kind = "defense"\nentry = "x.y:Z"'))


def test_old_pictures_go_and_other_files_stay(tiny_track: Track, submission: Submission, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "tiny" / "drawn" / "first"
    folder.mkdir(parents=True)
    (folder / "old.png").write_text("old")
    (folder / "mine.txt").write_text("mine")
    badnet, sitting = tiny_track.badnets["first"], sitting_with({"new": FIGURES["curve"]})
    drawn = with_pictures(sitting, badnet, submission, "tiny", tmp_path / "runs")
    assert drawn.pictures == ("runs/tiny/drawn/first/new.png",)
    assert sorted(path.name for path in folder.iterdir()) == ["mine.txt", "new.png"]
    assert drawn.notes == ("first",)
    with_pictures(sitting_with({}), badnet, submission, "tiny", tmp_path / "runs")
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_a_picture_that_cannot_be_drawn_is_said_and_the_others_are(
    tiny_track: Track, submission: Submission, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OverflowError("too many\nblocks")

    monkeypatch.setattr("harness.pictures.curve.draw", fail)
    sitting = sitting_with({"bad": FIGURES["curve"], "good": FIGURES["histogram"]})
    drawn = with_pictures(sitting, tiny_track.badnets["first"], submission, "tiny", tmp_path)
    assert drawn.notes == ("first", "picture 'bad' was not drawn: too many blocks")
    assert [Path(path).name for path in drawn.pictures] == ["good.png"]
    assert [path.name for path in tmp_path.rglob("*.png")] == ["good.png"]
    (tmp_path / "file").write_text("")
    nowhere = with_pictures(sitting, tiny_track.badnets["first"], submission, "tiny", tmp_path / "file")
    assert nowhere.pictures == ()
    assert str(tmp_path) not in " ".join(nowhere.notes)


def test_nothing_is_drawn_in_the_submissions_own_folder(tiny_track: Track, submission: Submission) -> None:
    sitting = sitting_with({"one": FIGURES["curve"]})
    drawn = with_pictures(sitting, tiny_track.badnets["first"], submission, "tiny", submission.folder / "runs")
    assert drawn.pictures == ()
    assert "--runs lies in the submission's own folder" in drawn.notes[-1]
    submission.refuse_change()


FINDS = """
from dataclasses import dataclass
import numpy as np
from harness.models.findings import ByLabel, Findings, ReversedTrigger
@dataclass(frozen=True, kw_only=True)
class Finds:
    def repair(self, badnet, validation, *, rng, progress):
        norms = np.arange(badnet.classes) + 1.5
        shape = validation.images.shape[1:]
        reversed_trigger = ReversedTrigger(target=3, mask=np.ones(shape[:2]), pattern=np.ones(shape), success=0.5)
        figures = {"norms": ByLabel(title="norms", values=norms, unit="L1", marked=(0,)), "class-3": reversed_trigger}
        facts = {"targets": [3], "norms": dict.fromkeys(range(1000), 1.0), "shift": -1}
        class Predictor:
            findings = Findings(facts=facts, figures=figures)
            def __call__(self, images):
                return np.zeros(len(images), int)
        return Predictor()
"""


@pytest.fixture
def measured(tmp_path: Path) -> Track:
    """A track whose unrepaired BadNets need not be asked, so that nothing here waits for a framework."""
    (tmp_path / "track").mkdir()
    track = write_track(tmp_path / "track")
    for it in track.badnets.values():
        poisoned = {name: np.full(len(each.images), TARGET, np.int32) for name, each in it.poisoned.items()}
        sitting = Sitting(clean=it.test.labels.astype(np.int32), poisoned=poisoned)
        save_sitting(baseline_path(track, it), sitting, baseline_key(track, it))
    return track


def test_a_defenses_findings_are_in_its_record_and_its_pictures_where_it_says(
    badnet: Run, write_submission: Write, measured: Track, tmp_path: Path
) -> None:
    folder = write_submission("finds", 'kind = "defense"\nentry = "finds.py:Finds"', **{"finds.py": FINDS})
    places = ["--results", tmp_path / "results", "--runs", tmp_path / "runs"]
    done = badnet("evaluate", folder, "--track", measured.folder, *places)
    assert done.returncode == 0, done.stderr
    assert f"pictures: {tmp_path / 'runs' / 'tiny' / 'finds'}" in done.stdout
    path = tmp_path / "results" / "tiny" / "finds.json"
    record: dict[str, Any] = json.loads(path.read_text())
    for name, graded in record["badnets"].items():
        assert graded["failure"] is None
        assert graded["found"] == {"targets": [3], "shift": -1}
        assert graded["pictures"] == [f"runs/tiny/finds/{name}/{picture}.png" for picture in ("norms", "class-3")]
        assert all(len(pixels(tmp_path / picture)) > 300 for picture in graded["pictures"])
    old, new = rescore(path, str(measured.folder))
    assert old == new
