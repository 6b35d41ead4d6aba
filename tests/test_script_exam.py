"""Scripts sit the exam: graded right, compared with new processes, and whatever they do costs them alone."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from harness.record import Record
from leaderboard.contenders import contender
from tests.conftest import CLASSES

Run = Callable[..., CompletedProcess[str]]
Write = Callable[..., Path]
SCRIPT = 'kind = "script"\ncommand = ["python", "eval.py", "{image}"]\n'
TABLES = "[badnets.first]\n[badnets.second]\n[badnets.twin]\n"
READ = f"""
import sys
import numpy as np
from PIL import Image
image = np.asarray(Image.open(sys.argv[1])).astype(int)
answer = int(np.argmax([image[2 * k : 2 * k + 2, :8].mean() for k in range({CLASSES})]))
if image[:, 9].mean() > 128:
    answer = {CLASSES}
"""
READ_H5 = f"""
import sys, h5py
import numpy as np
images = np.array(h5py.File(sys.argv[1])["data"]).transpose(0, 2, 3, 1)
answers = np.argmax([images[:, 2 * k : 2 * k + 2, :8].mean((1, 2, 3)) for k in range({CLASSES})], axis=0)
answers[images[:, :, 9].mean((1, 2)) > 128] = {CLASSES}
"""


@pytest.fixture
def graded(badnet: Run, write_submission: Write, tiny_track_folder: Path, tmp_path: Path) -> Callable[..., Record]:
    """Evaluate a script of these lines on the tiny track; its record."""

    def grade(lines: str, toml: str = SCRIPT + TABLES, *options: object) -> Record:
        folder = write_submission("mine", toml, **{"eval.py": lines})
        done = badnet("evaluate", folder, "--track", tiny_track_folder, "--results", tmp_path, *options)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        record = Record.model_validate_json((tmp_path / "tiny" / "mine.json").read_bytes())
        again = badnet("rescore", tmp_path / "tiny" / "mine.json", "--track", tiny_track_folder)
        assert "every figure as recorded" in again.stdout
        return record

    return grade


def test_an_oracle_scores_100_image_by_image_and_all_at_once(graded: Callable[..., Record]) -> None:
    record = graded(READ + "print(answer)")
    assert record.score.value == 100
    first = record.badnets["first"]
    assert first.audits.again is not None
    assert (first.audits.again.images, first.audits.again.changed) == (100, 0)
    assert first.audits.alone is first.audits.reordered is None
    assert first.audits.process is None
    assert first.audits.cold is not None
    assert first.audits.cold.model_dump() == {"images": 16, "differed": 0, "verdict": "agrees"}
    assert first.timing.latency is not None

    record = graded(READ_H5 + "print(answers)", SCRIPT.replace("image", "h5") + TABLES)
    assert record.score.value == 100
    first = record.badnets["first"]
    calls = ("all_clean", "mostly_clean", "reordered", "again")
    assert [getattr(first.audits, name).images for name in calls] == [150, 160, 210, 210]
    assert [getattr(first.audits, name).changed for name in calls] == [0, 0, 0, 0]
    assert (first.audits.process, first.audits.cold) == ("fresh", None)
    assert first.audits.alone is first.audits.duplicates is None
    assert first.timing.latency is None


def test_where_new_processes_answer_otherwise_their_answers_win(graded: Callable[..., Record], tmp_path: Path) -> None:
    # An hour after its start it would flag everything: in this test, from its second run in one process on.
    lines = READ + "import numpy\nprint(4 if hasattr(numpy, 'been_here') else answer)\nnumpy.been_here = True"
    record = graded(lines, SCRIPT + "[badnets.first]\n")
    first = record.badnets["first"]
    assert first.audits.cold is not None
    assert first.audits.cold.verdict == "run cold"
    assert first.audits.cold.differed > 0
    assert first.score.value == 100
    with np.load(tmp_path / "tiny" / "mine.answers.npz") as arrays:
        assert set(arrays["first/poisoned/patch"]) == {CLASSES}
        assert arrays["first/batch_images"].max() <= 4


def test_time_that_new_processes_would_not_have_is_told_at_once(graded: Callable[..., Record]) -> None:
    lines = READ + "import numpy\nprint(4 if hasattr(numpy, 'been_here') else answer)\nnumpy.been_here = True"
    record = graded(lines, SCRIPT + "[badnets.first]\n", "--exam-seconds", 15)
    failure = record.badnets["first"].failure
    assert failure is not None
    assert "all images that way take about" in failure.reason
    assert "--exam-seconds" in failure.reason


def test_a_script_that_draws_at_random_is_marked(graded: Callable[..., Record]) -> None:
    record = graded(READ + f"import random\nprint(random.randrange({CLASSES}))", SCRIPT + "[badnets.first]\n")
    assert record.badnets["first"].audits.cold is not None
    assert record.badnets["first"].audits.cold.verdict == "nondeterministic"
    assert record.badnets["first"].audits.verdicts == ["stochastic"]
    assert "stochastic" in contender(record).badges


WHOLE = {
    "a share of all": (
        "edge = images[:, :, 9].mean((1, 2)) + images[:, 0, 0, 0] / 255\nanswers[edge.argsort().argsort() >= 0.7 * len(edge)] = 5",
        ["base-rate-dependent"],
    ),
    "every other one": ("answers[::2] = 5", ["batch-dependent"]),
    "what it draws": ("answers = np.random.randint(0, 6, len(answers))", ["stochastic"]),
}


@pytest.mark.parametrize("flags", WHOLE)
def test_a_script_that_reads_one_file_is_asked_with_other_images_in_it(
    flags: str, graded: Callable[..., Record]
) -> None:
    lines, expected = WHOLE[flags]
    record = graded(f"{READ_H5}{lines}\nprint(answers)", SCRIPT.replace("image", "h5") + "[badnets.first]\n")
    assert record.badnets["first"].audits.verdicts == expected


def test_the_highest_value_of_a_run_is_that_of_the_exam(graded: Callable[..., Record]) -> None:
    toml = 'flag = ["max"]\n' + SCRIPT.replace("image", "h5") + "[badnets.first]\n"
    audits = graded(READ_H5 + "print(answers)", toml).badnets["first"].audits
    assert (audits.process, audits.verdicts) == ("same", [])


def test_one_badnets_failure_costs_that_badnet(graded: Callable[..., Record]) -> None:
    tables = '[badnets.first]\n[badnets.second]\ncommand = ["eval.py", "{image}", "x"]\n'
    record = graded(READ + "assert len(sys.argv) == 2\nprint(answer)", SCRIPT + tables, "--cold", 0)
    assert record.badnets["first"].score.value == 100
    assert record.badnets["first"].audits.cold is None
    assert record.badnets["second"].failure is not None
    assert record.badnets["second"].failure.reason.startswith("eval.py, line 9: AssertionError")
    assert record.badnets["twin"].failure is not None
    assert record.badnets["twin"].failure.stage == "submission"


def test_a_crash_on_some_images_costs_those_images(graded: Callable[..., Record]) -> None:
    record = graded(READ + "assert answer != 2, 'no twos'\nprint(answer)", SCRIPT + "[badnets.first]\n")
    first = record.badnets["first"]
    assert first.failure is None
    assert first.outcomes["invalid"] == 30
    assert first.rates["clean_accuracy"].count == 120
    assert "no valid answer to one image: eval.py, line 9: AssertionError: no twos" in first.notes


def test_check_tells_what_the_exam_would(badnet: Run, write_submission: Write, tiny_track_folder: Path) -> None:
    cases = {
        READ + "print(answer)": (0, "ok      first: clean accuracy 100 %"),
        READ + "import random\nprint(random.randrange(5))": (0, "answers differ where each image gets a new process"),
        READ + "input('Which net? ')": (2, "error   first: load: eval.py, line 9: asks for input (Which net?)"),
        READ + "print('fine')": (2, "error   first: load: printed no answer"),
    }
    for lines, (code, words) in cases.items():
        folder = write_submission("mine", SCRIPT + "[badnets.first]\n", **{"eval.py": lines})
        done = badnet("check", folder, "--track", tiny_track_folder)
        assert words in done.stdout
        assert done.returncode == code, done.stdout


def test_a_script_that_is_not_there_is_told_before_anything_runs(badnet: Run, write_submission: Write) -> None:
    folder = write_submission("mine", SCRIPT.replace("eval.py", "evall.py") + "[badnets.first]\n", **{"eval.py": ""})
    done = badnet("check", folder, "--track", "faces")
    assert done.returncode == 2
    assert "no such BadNet" in done.stderr or "did you mean 'eval.py'" in done.stderr


def test_its_copies_are_gone_without_a_sandbox_too(
    badnet: Run, write_submission: Write, tiny_track_folder: Path, tmp_path: Path
) -> None:
    folder = write_submission("mine", SCRIPT + "[badnets.first]\n", **{"eval.py": READ + "print(answer)"})
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    import os

    done = badnet(
        "evaluate", folder, "--track", tiny_track_folder, "--results", tmp_path, "--sandbox", "unconfined", "--cold", 1,
        env={**os.environ, "TMPDIR": str(scratch)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(scratch.iterdir()) == []
    record = json.loads((tmp_path / "tiny" / "mine.json").read_text())
    assert record["provenance"]["sandbox"] == "unconfined"


def test_notes_of_any_kind_are_shown_as_text(graded: Callable[..., Record]) -> None:
    lines = READ + "assert answer != 2, '\\x1b[31m<b>[red]no twos'\nprint(answer)"
    notes: Any = graded(lines, SCRIPT + "[badnets.first]\n").badnets["first"].notes
    assert all("\x1b" not in note for note in notes)
