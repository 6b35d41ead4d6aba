"""What docs/submitting.md shows is run from the page itself: its examples, its commands and its tables."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.preparation import build
from harness.track import DATASETS, Track
from harness.worker.kinds import find_kind, kind_names
from harness.worker.kinds.script import Options
from harness.worker.scripts.template import NAMES, filled
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "submitting.md").read_text(encoding="utf-8")
FOLDER = "submissions/team-x"
Run = Callable[..., subprocess.CompletedProcess[str]]


class Section(NamedTuple):
    """What the page has on one kind."""

    text: str

    @property
    def blocks(self) -> list[tuple[str, str, str]]:
        """All that is fenced: the name in bold on the line above or "", the language or "", and the content."""
        fenced = r"(?:^\*\*`([^`\n]+)`\*\*\n)?^```(\w*)\n(.*?)^```$"
        return re.findall(fenced, self.text, re.MULTILINE | re.DOTALL)

    @property
    def files(self) -> dict[str, str]:
        """The submission's files by their path."""
        return {name: text for name, _, text in self.blocks if name}

    @property
    def commands(self) -> list[list[str]]:
        """What it has one type."""
        plain = [text for _, language, text in self.blocks if not language]
        return [shlex.split(line, comments=True) for text in plain for line in text.splitlines()]

    @property
    def nets(self) -> set[tuple[str, str]]:
        """Its author's own nets, as (path, BadNet)."""
        return set(re.findall(r'"((?:\w+/)*(\w+)_repaired\.h5)"', "".join(self.files.values())))

    def rows(self, heading: str) -> list[list[str]]:
        """The cells of the table whose first line begins with this."""
        _, _, below = self.text.partition(f"| {heading}")
        lines = below.partition("\n\n")[0].splitlines()[2:]
        return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def section(kind: str) -> Section:
    """The part of the page under the heading of a kind."""
    found = re.search(rf"^### `{kind}`.*?(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/submitting.md has no heading for {kind}"
    return Section(found[0])


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The faces track with two BadNets and one picture of each person in each set."""
    folder = tmp_path_factory.mktemp("tracks") / "faces"
    shutil.copytree(DATASETS / "faces" / "badnets", folder / "badnets")
    text = (DATASETS / "faces" / "track.toml").read_text()
    text = re.sub(r"^(validation|test)_images = \d+", r"\1_images = 1", text, flags=re.MULTILINE)
    (folder / "track.toml").write_text(text[: text.index("[badnets.any_trigger]")])
    track = Track(folder)
    track.write_manifest(build(track))
    return folder


@pytest.fixture
def run(faces: Path, tmp_path: Path) -> Run:
    """Run a command of the page in a folder where `faces` is the small track."""
    (tmp_path / "faces").symlink_to(faces)
    programs = {"badnet": [sys.executable, "-m", "harness.cli"], "python": [sys.executable]}
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*programs[words[0]], *words[1:]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return command


def write(kind: str, folder: Path) -> None:
    """Write the example of a kind, with the track's BadNets in place of repaired nets."""
    for path, text in section(kind).files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    for path, badnet in section(kind).nets:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(DATASETS / "faces" / "badnets" / f"{badnet}.h5", folder / path)


# A script imports its libraries three times over: warm, and in two new processes.
KINDS = [pytest.param(kind, marks=[pytest.mark.slow] * (kind == "script")) for kind in kind_names()]


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_passes_its_check(kind: str, run: Run, tmp_path: Path) -> None:
    write(kind, tmp_path / FOLDER)
    for command in section(kind).commands:
        run(*command)
    told = run("badnet", "check", FOLDER).stdout.splitlines()
    assert [line.split()[:2] for line in told] == [["ok", "sunglasses:"], ["ok", "lipstick:"]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", kind_names())
def test_an_example_is_graded(kind: str, run: Run, tmp_path: Path) -> None:
    write(kind, tmp_path / FOLDER)
    for command in section(kind).commands:
        run(*command)
    run("badnet", "evaluate", FOLDER, "--results", "results", "--cold", "1")
    record = json.loads((tmp_path / "results" / "faces" / "team-x.json").read_text())
    for badnet in ("sunglasses", "lipstick"):
        assert record["badnets"][badnet]["failure"] is None
        assert record["badnets"][badnet]["outcomes"]["invalid"] == 0
        assert record["badnets"][badnet]["rates"]["clean_accuracy"]["value"] > 0.5


@pytest.mark.parametrize("kind", kind_names())
def test_a_table_has_every_key(kind: str) -> None:
    named = {row[0].strip("`") for row in section("model" if kind == "pair" else kind).rows("key")}
    assert named == set(find_kind(kind).Options.model_fields)


def test_a_table_has_every_name_in_braces() -> None:
    assert [row[0] for row in section("script").rows("name in braces")] == [f"`{{{name}}}`" for name in NAMES]


CALLS = [row for row in section("script").rows("your script is called") if row[0].startswith("`")]
FILES = {"image": "img.png", "h5": "f.h5", "badnet": "B.h5", "validation": "val.h5", "out": "out.npy"}


@pytest.mark.parametrize("called,wanted", CALLS)
def test_a_command_calls_the_script_as_its_row_says(called: str, wanted: str) -> None:
    given = tomllib.loads("\n".join(re.findall(r"`([^`]+)`", wanted)))
    options = Options.model_validate(given)
    assert filled(options.arguments, FILES) == re.findall(r"`([^`]+)`", called)[0].split()


def test_every_way_to_call_a_script_is_there() -> None:
    assert len(CALLS) >= 15


def test_the_first_table_leads_to_every_kind() -> None:
    headings = {
        re.sub(r"[^\w -]", "", line[4:].lower()).replace(" ", "-")
        for line in PAGE.splitlines()
        if line.startswith("### ")
    }
    links = dict(re.findall(r"^\| \[`(\w+)`\]\(#([\w-]+)\)", PAGE, re.MULTILINE))
    assert sorted(links) == kind_names()
    assert set(links.values()) == headings


def test_the_limits_on_the_page_are_the_usual_ones() -> None:
    from harness.sandbox.limits import Limits

    usual: dict[str, Any] = Limits().model_dump()
    assert (usual["load_seconds"], usual["repair_seconds"], usual["batch_seconds"], usual["exam_seconds"]) == (
        600,
        3600,
        120,
        7200,
    )
    for words in (
        "10 minutes to load",
        "an hour to repair",
        "2 minutes a batch of 512 images, or 16",
        "two hours for all",
        "6 GiB",
    ):
        assert words in PAGE
