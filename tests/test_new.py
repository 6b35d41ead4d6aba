"""`badnet new` writes a submission of each kind that is graded as it is."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from harness import starting
from harness.console import Desk
from harness.errors import MachineError, UserError
from harness.images import silent
from harness.starting import MADE, STARTERS, TABLE, start, starter_names, usual_folder
from harness.submission import FILE, Submission
from harness.track import Track
from harness.worker.kinds import kind_names
from tests.conftest import ROOT
from tests.test_bad_input import matches, one_line

Run = Callable[..., CompletedProcess[str]]
DESK = Desk(lambda name: silent, lambda name, words: None)


@pytest.fixture(scope="module")
def one_badnet(tiny_track_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny track with its first BadNet alone."""
    folder = tmp_path_factory.mktemp("tracks") / "tiny"
    shutil.copytree(tiny_track_folder, folder)
    text = (tiny_track_folder / "track.toml").read_text()
    (folder / "track.toml").write_text(text[: text.index("[badnets.second]")])
    return folder


# A script imports its libraries three times over: warm, and in two new processes.
KINDS = [pytest.param(kind, marks=[pytest.mark.slow] * (kind == "script")) for kind in kind_names()]


def test_every_kind_has_a_starter() -> None:
    assert starter_names() == kind_names()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_passes_its_check(kind: str, badnet: Run, one_badnet: Path, tmp_path: Path) -> None:
    written = badnet("new", "mine", "--kind", kind, "--track", one_badnet, "--out", tmp_path / "new" / "mine")
    assert written.returncode == 0, written.stderr
    assert (tmp_path / "new" / "mine" / FILE).is_file()
    first, check, evaluate = written.stdout.splitlines()
    assert str(tmp_path / "new" / "mine" / FILE) in first
    assert shlex.split(evaluate)[:2] == ["badnet", "evaluate"]
    checked = badnet(*shlex.split(check)[1:])
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert [line.split()[:2] for line in checked.stdout.splitlines()] == [["ok", "first:"]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", kind_names())
def test_what_is_written_scores_as_its_comment_says(kind: str, badnet: Run, one_badnet: Path, tmp_path: Path) -> None:
    written = badnet("new", "mine", "--kind", kind, "--track", one_badnet, "--out", tmp_path / "mine")
    evaluate = shlex.split(written.stdout.splitlines()[-1])
    done = badnet(*evaluate[1:], "--results", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "results" / "tiny" / "mine.json").read_text())
    assert record["badnets"]["first"]["failure"] is None
    says_0 = "scores 0" in " ".join((STARTERS / kind / FILE).read_text().split())
    assert (record["score"]["value"] == 0) == says_0
    assert record["score"]["value"] >= 0


@pytest.mark.parametrize("kind", kind_names())
def test_there_is_a_table_for_each_badnet_of_any_track(kind: str, tiny_track: Track, tmp_path: Path) -> None:
    start("mine", kind, tiny_track, tmp_path / "mine", DESK)
    submission = Submission(tmp_path / "mine")
    assert (submission.name, submission.spec.kind, submission.spec.track) == ("mine", kind, "tiny")
    assert list(submission.tables(tiny_track.badnets)) == ["first", "second", "twin"]
    assert "$" not in submission.path.read_text()


def test_the_files_that_are_made_are_the_badnet_and_a_flag_for_each_image(tiny_track: Track, tmp_path: Path) -> None:
    first = tiny_track.badnets["first"]
    assert (tmp_path / MADE["model"](tmp_path, first, tiny_track)).read_bytes() == first.model_path.read_bytes()
    answers = (tmp_path / MADE["answers"](tmp_path, first, tiny_track)).read_text()
    assert answers.split() == ["5"] * (5 * 30 + 5 * 12)


def test_a_submission_goes_where_its_author_looks_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    assert usual_folder("mine") == Path("submissions/mine")
    monkeypatch.chdir(ROOT / "docs")
    assert usual_folder("mine") == ROOT / "submissions" / "mine"
    monkeypatch.chdir(tmp_path)
    assert usual_folder("mine") == Path("mine")


REFUSED = {
    "a name with other letters": (("Team X!", "--kind", "model"), "name 'Team X!': .* such as 'team-x'"),
    "a name that leads elsewhere": (("../x", "--kind", "model"), r"name '\.\./x': .* such as 'x'"),
    "a name with a line end": (("x\n", "--kind", "model"), r"name 'x': use"),
    "a name that is too long": (("x" * 65, "--kind", "model"), "at most 64"),
    "no kind": (("mine",), "--kind missing; one of answers, .*script"),
    "an unknown kind": (("mine", "--kind", "modle"), "--kind 'modle': no such kind; did you mean 'model'"),
    "an unknown track": (("mine", "--kind", "model", "--track", "nowhere"), "track 'nowhere': no such track"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_mistake_is_told_in_one_line_and_nothing_is_written(what: str, badnet: Run, tmp_path: Path) -> None:
    arguments, words = REFUSED[what]
    done = badnet("new", "--out", tmp_path / "mine", *arguments)
    assert matches(words, one_line(done))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_left_alone(badnet: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    done = badnet("new", "mine", "--kind", "predictor", "--out", tmp_path / "mine")
    assert f"{tmp_path / 'mine'}: is there already" in one_line(done)
    assert not list((tmp_path / "mine").iterdir())


def test_a_badnet_whose_name_leads_elsewhere_is_refused(tiny_track_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "track.toml").write_text(
        (tiny_track_folder / "track.toml").read_text().replace("[badnets.first]", '[badnets."../first"]')
    )
    manifest = (tiny_track_folder / "manifest.json").read_text().replace('"first":', '"../first":')
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(UserError, match=r"badnets\.\.\./first.*should match pattern"):
        start("mine", "model", Track(tmp_path), tmp_path / "new" / "mine", DESK)
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_written_whole_is_not_left_in_part(
    tiny_track: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> str:
        raise OSError("no space left")

    monkeypatch.setitem(starting.MADE, "model", full_disk)
    with pytest.raises(MachineError, match=r"mine: cannot be written \(no space left\)"):
        start("mine", "model", tiny_track, tmp_path / "mine", DESK)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", starter_names())
def test_a_starter_repeats_what_stands_from_its_first_table_on(kind: str) -> None:
    head, table, rows = (STARTERS / kind / FILE).read_text().partition(TABLE)
    assert "$badnet" not in head
    assert bool(table) == bool(rows)
