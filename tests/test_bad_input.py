"""Every mistake of a user is told in one line, with exit code 2, and before anything is run."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Run = Callable[..., CompletedProcess[str]]
Write = Callable[..., Path]

MISTAKES = {
    "broken TOML": ('kind = "model', "not valid TOML"),
    "no kind": ("", "kind: missing key"),
    "an unknown kind": ('kind = "modle"', "kind: no such kind 'modle'; one of answers, .*model, pair"),
    "an unknown BadNet": ('kind = "model"\n[badnets.frist]\nmodel = "m.h5"', "badnets.frist: .* did you mean 'first'"),
    "an unknown key": ('kind = "model"\n[badnets.first]\nmodle = "m.h5"', "badnets.first: .*model"),
    "a missing key": ('kind = "model"\n[badnets.first]\n', "badnets.first: model: missing key"),
    "a wrong value": (
        'kind = "model"\n[badnets.first]\nmodel = "m.h5"\nscale = "big"',
        "badnets.first: scale: .*'big'",
    ),
    "no table at all": ('kind = "model"', r"no \[badnets.<name>\] table; write one for each of first, second, twin"),
    "a missing model": (
        'kind = "model"\n[badnets.first]\nmodel = "m.h5"',
        "badnets.first.model: no file 'm.h5' in .*did you mean 'empty.h5'",
    ),
    "an empty model": (
        'kind = "model"\n[badnets.first]\nmodel = "empty.h5"',
        "badnets.first.model: 'empty.h5' is empty",
    ),
    "a path that leaves": ('kind = "model"\n[badnets.first]\nmodel = "../m.h5"', "badnets.first: model: .*inside"),
    "an absolute path": ('kind = "model"\n[badnets.first]\nmodel = "/etc/passwd"', "badnets.first: model: .*inside"),
    "an entry that is none": ('kind = "predictor"\nentry = "predict.py"', "entry: .*file.py:Name"),
    "an entry whose file is missing": ('kind = "predictor"\nentry = "x.py:P"', "entry: no file 'x.py'"),
}


@pytest.mark.parametrize("what", MISTAKES)
@pytest.mark.parametrize("verb", ["evaluate", "check"])
def test_a_mistake_in_submission_toml_names_file_key_and_fix(
    what: str, verb: str, badnet: Run, write_submission: Write, tiny_track_folder: Path, tmp_path: Path
) -> None:
    toml, words = MISTAKES[what]
    folder = write_submission("mine", toml, **{"empty.h5": "", "there.h5": "x"})
    done = badnet(verb, folder, "--track", tiny_track_folder)
    one_line(done)
    assert str(folder / "submission.toml") in done.stderr
    assert matches(words, done.stderr)


def test_a_folder_that_is_not_there_is_named_with_a_near_one(badnet: Run, write_submission: Write) -> None:
    folder = write_submission("mine", 'kind = "model"')
    done = badnet("evaluate", folder.parent / "mien")
    one_line(done)
    assert "no such folder; did you mean 'mine'?" in done.stderr


def test_a_folder_without_submission_toml_is_told_what_to_write(badnet: Run, tmp_path: Path) -> None:
    done = badnet("evaluate", tmp_path)
    one_line(done)
    assert "has no submission.toml" in done.stderr


@pytest.mark.parametrize("name", ["../x", "A", "x" * 65, "", "x/y", ".x", "a b", "x\\u001b[31m"])
def test_a_name_that_could_leave_its_place_is_refused(name: str, badnet: Run, tmp_path: Path) -> None:
    (tmp_path / "submission.toml").write_text(f'name = "{name}"\nkind = "model"\n')
    done = badnet("evaluate", tmp_path)
    one_line(done)
    assert "name: " in done.stderr
    assert "\x1b" not in done.stderr


def test_an_unknown_track_and_sandbox_are_named_with_the_choice(badnet: Run, write_submission: Write) -> None:
    folder = write_submission("mine", 'kind = "predictor"\nentry = "p.py:P"', **{"p.py": "P = int"})
    assert "one of csaw2020, csaw2020_lab, faces" in one_line(badnet("evaluate", folder, "--track", "nowhere"))
    assert "did you mean 'unconfined'" in one_line(
        badnet("evaluate", folder, "--track", "faces", "--sandbox", "unconfind")
    )


def test_a_changed_file_of_the_track_is_named(
    badnet: Run, write_submission: Write, tiny_track_folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "tiny"
    shutil.copytree(tiny_track_folder, copy)
    (copy / "first.h5").write_bytes(b"other")
    folder = write_submission("mine", 'kind = "predictor"\nentry = "p.py:P"', **{"p.py": "P = int"})
    assert f"{copy / 'first.h5'}: missing, or not the file" in one_line(badnet("evaluate", folder, "--track", copy))


def test_a_track_that_was_not_imported_says_how(badnet: Run, write_submission: Write, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    text = (
        'name = "new"\ntitle = "t"\nclasses = 2\nshape = [1, 1, 3]\nsource = "csaw_h5"\n[badnets.b]\nmodel = "b.h5"\n'
    )
    (tmp_path / "new" / "track.toml").write_text(text)
    folder = write_submission("mine", 'kind = "predictor"\nentry = "p.py:P"', **{"p.py": "P = int"})
    assert "badnet track import new --from DIR" in one_line(badnet("evaluate", folder, "--track", tmp_path / "new"))


def test_a_folder_that_cannot_be_written_is_the_machines_failure(
    badnet: Run, write_submission: Write, tiny_track_folder: Path, tmp_path: Path
) -> None:
    code = "import numpy as np\nclass P:\n def __init__(self, b): pass\n def __call__(self, x): return np.zeros(len(x), int)"
    folder = write_submission("mine", 'kind = "predictor"\nentry = "p.py:P"', **{"p.py": code})
    (tmp_path / "file").write_text("not a folder")
    done = badnet("evaluate", folder, "--track", tiny_track_folder, "--results", tmp_path / "file")
    assert done.returncode == 3
    assert "cannot be written" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_results_do_not_go_into_the_submission(badnet: Run, write_submission: Write, tiny_track_folder: Path) -> None:
    folder = write_submission("mine", 'kind = "predictor"\nentry = "p.py:P"', **{"p.py": "P = int"})
    done = badnet("evaluate", folder, "--track", tiny_track_folder, "--results", folder / "out")
    assert "lies in the submission's own folder" in one_line(done)


def test_debug_shows_where(badnet: Run, tmp_path: Path) -> None:
    done = badnet("evaluate", tmp_path / "none", "--debug")
    assert "Traceback" in done.stderr
    assert "UserError" in done.stderr


def one_line(done: CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("track ")]
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


def matches(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None
