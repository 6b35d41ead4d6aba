"""The pages: complete, closed in themselves, the same bytes each time, and inert whatever strangers call themselves."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from PIL import Image

from harness.digests import digest_file
from harness.errors import UserError
from harness.sitting import write_changed
from leaderboard.site.building import HERE, LISTING, build
from tests.conftest import ROOT
from tests.fuzz.documents import write_results, write_track

Run = Callable[..., CompletedProcess[str]]
HOSTILE = (
    '<script>alert(1)</script>"><img src=x onerror=alert(1)> {{ 7*7 }} =1+1 \x1b[31m \u202e [x](javascript:alert(1))'
)


class Page(HTMLParser):
    """What a browser would take from a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def targets(self) -> Iterator[str]:
        for _, attributes in self.tags:
            for name in ("href", "src"):
                if (value := attributes.get(name)) is not None:
                    yield value


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A track with two submissions, and a picture that a run has drawn."""
    folder = tmp_path_factory.mktemp("made")
    for name in ("tiny", "results/tiny", "runs/tiny/mine/first"):
        (folder / name).mkdir(parents=True)
    track = write_track(folder / "tiny")
    for name in ("mine", "other"):
        write_results(folder / "results/tiny", track, name)
    Image.new("RGB", (3, 3)).save(folder / "runs/tiny/mine/first/curve.png")
    edit(folder / "results/tiny/mine.json", first={"pictures": ["runs/tiny/mine/first/curve.png"]})
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "made")
    return tmp_path / "made"


def edit(path: Path, *, submission: dict[str, object] | None = None, first: dict[str, object] | None = None) -> None:
    record = json.loads(path.read_text())
    record["submission"] |= submission or {}
    record["badnets"]["first"] |= first or {}
    path.write_text(json.dumps(record))


def built(place: Path) -> Path:
    done = build(place / "site", [str(place / "tiny")], place / "results", place / "runs")
    assert done.problems == []
    return place / "site"


def test_every_link_and_picture_is_there_and_nothing_is_from_elsewhere(place: Path) -> None:
    site = built(place)
    pages = sorted(site.rglob("*.html"))
    names = {str(path.relative_to(site)) for path in pages}
    assert {"index.html", "submissions/tiny.mine.html", "badnets/tiny.first.html", "badnets/tiny.twin.html"} <= names
    assert {
        "boards/tiny.html",
        "boards/tiny.first.html",
        "boards/tiny.by-der.html",
        "boards/tiny.by-speed.html",
    } <= names
    for path in pages:
        targets = list(Page(path).targets())
        assert len(targets) > 5
        for target in targets:
            if target.startswith("#") or target == "data:,":
                continue
            assert re.match(r"[a-z./]", target) and ":" not in target, (path, target)
            assert (path.parent / target.split("#")[0]).resolve().is_file(), (path, target)
    for path in (*site.rglob("*.css"), site / "static" / "site.js"):
        assert "://" not in path.read_text()


def test_building_again_changes_nothing_and_what_is_gone_leaves_no_page(place: Path) -> None:
    site = built(place)
    before = {path: path.stat().st_mtime_ns for path in site.rglob("*") if path.is_file()}
    again = build(site, [str(place / "tiny")], place / "results", place / "runs")
    assert again.changed == 0
    assert {path: path.stat().st_mtime_ns for path in site.rglob("*") if path.is_file()} == before
    elsewhere = build(place / "elsewhere", [str(place / "tiny")], place / "results", place / "runs")
    assert elsewhere.changed > 0
    for path in before:
        assert (place / "elsewhere" / path.relative_to(site)).read_bytes() == path.read_bytes()
    (place / "results/tiny/other.json").unlink()
    built(place)
    assert not (site / "submissions/tiny.other.html").exists()
    assert (site / "submissions/tiny.mine.html").exists()


def test_a_folder_with_other_things_in_it_is_left_alone(place: Path) -> None:
    (place / "site").mkdir()
    (place / "site" / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="holds other things than a site; name another folder"):
        built(place)
    assert [path.name for path in (place / "site").iterdir()] == ["thesis.tex"]


def test_a_listing_cannot_name_files_outside_of_the_site(place: Path) -> None:
    site = built(place)
    (place / "precious").write_text("x")
    (site / LISTING).write_text(json.dumps({"files": ["../precious", str(place / "precious"), "gone.html"]}))
    built(place)
    assert (place / "precious").exists()


def test_an_interrupted_build_is_taken_up_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def interrupted(path: Path, data: bytes) -> bool:
        told.append(path.name)
        if path.name == "tiny.other.html":
            raise KeyboardInterrupt
        return write_changed(path, data)

    monkeypatch.setattr("leaderboard.site.building.write_changed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        built(place)
    monkeypatch.undo()
    assert (place / "site/submissions/tiny.mine.html").exists()
    for name in ("mine.json", "mine.answers.npz"):
        (place / "results/tiny" / name).unlink()
    built(place)
    assert not (place / "site/submissions/tiny.mine.html").exists()
    assert (place / "site/submissions/tiny.other.html").exists()


@pytest.mark.parametrize("badge", ["unverified", "oracle"])
def test_a_division_in_which_nobody_is_ranked_has_a_page(place: Path, badge: str) -> None:
    edit(place / "results/tiny/mine.json", submission={"marks": [badge]})
    (place / "results/tiny/other.json").unlink()
    site = built(place)
    assert "Nobody is ranked here yet." in (site / "index.html").read_text()
    assert not list((site / "submissions").glob("*other*"))


def test_a_track_that_is_not_here_costs_no_other(place: Path) -> None:
    tracks = [str(place / "tiny"), "nowhere"]
    done = build(place / "site", tracks, place / "results", place / "runs")
    assert ["no such track" in problem for problem in done.problems] == [True]
    assert (place / "site/boards/tiny.html").exists()


def test_a_strangers_words_are_only_words(place: Path) -> None:
    edit(
        place / "results/tiny/mine.json",
        submission={"authors": [HOSTILE], "description": HOSTILE, "marks": [HOSTILE]},
        first={
            "failure": {"stage": HOSTILE, "reason": HOSTILE},
            "notes": [HOSTILE],
            "found": {"words": "<img src=x onerror=alert(1)>"},
        },
    )
    site = built(place)
    plain = {path.relative_to(site): Page(path).tags for path in site.rglob("*.html")}
    shutil.rmtree(site)
    for path, tags in plain.items():
        assert not [tag for tag, it in tags if tag == "script" and not {"src", "id"} & set(it)], path
        assert not [name for _, it in tags for name in it if name.startswith("on")], path
        assert not [it for _, it in tags if "javascript:" in (it.get("href") or "")], path


def test_no_control_character_reaches_a_page(place: Path) -> None:
    edit(
        place / "results/tiny/mine.json",
        submission={"authors": [HOSTILE], "description": HOSTILE, "marks": [HOSTILE]},
        first={"failure": {"stage": HOSTILE, "reason": HOSTILE}, "notes": [HOSTILE]},
    )
    for path in built(place).rglob("*.html"):
        assert not {"\x1b", "\u202e"} & set(path.read_text()), path


@pytest.mark.parametrize(
    "stated", ["results/tiny/mine.json", "runs/tiny/other/first/secret.png", "runs/tiny/mine/first/text.png"]
)
def test_only_pictures_of_the_submissions_own_runs_are_shown(place: Path, stated: str) -> None:
    (place / "runs/tiny/other/first").mkdir(parents=True)
    Image.new("RGB", (3, 3)).save(place / "runs/tiny/other/first/secret.png")
    (place / "runs/tiny/mine/first/text.png").write_text("no picture")
    edit(place / "results/tiny/mine.json", first={"pictures": [stated]})
    site = built(place)
    assert not list((site / "pictures").glob("tiny.mine.*"))


def test_the_picture_of_a_run_is_shown(place: Path) -> None:
    site = built(place)
    assert (site / "pictures/tiny.mine.first.curve.png").read_bytes() == (
        place / "runs/tiny/mine/first/curve.png"
    ).read_bytes()
    assert "../pictures/tiny.mine.first.curve.png" in list(Page(site / "submissions/tiny.mine.html").targets())


def test_the_command_says_what_it_wrote_and_names_a_broken_record(badnet: Run, place: Path) -> None:
    (place / "results/tiny/other.json").write_text("{")
    options = ("--track", place / "tiny", "--results", place / "results", "--runs", place / "runs")
    done = badnet("site", "--out", place / "site", *options)
    assert done.returncode == 0
    assert re.search(r"index.html: \d+ pages, \d+ files changed", done.stdout)
    assert "other.json" in done.stderr
    nothing = badnet("site", "--out", place / "new", *options[:2], "--results", place / "tiny", *options[4:])
    assert nothing.returncode == 2
    assert "Traceback" not in nothing.stderr


def test_the_libraries_are_those_that_their_list_names() -> None:
    listed = re.findall(
        r"^\| (\S+\.js) \|.*\| ([0-9a-f]{64}) \|$", (HERE / "vendor/README.md").read_text(), re.MULTILINE
    )
    assert {name for name, _ in listed} == {path.name for path in (HERE / "vendor").glob("*.js")}
    for name, digest in listed:
        assert digest_file(HERE / "vendor" / name) == digest
    assert len(list((HERE / "vendor").glob("*.LICENSE.txt"))) == len(listed)


def test_the_pages_are_part_of_the_package() -> None:
    stated = (ROOT / "pyproject.toml").read_text()
    assert 'package-data.leaderboard = ["*.toml", "site/*/*"]' in stated
