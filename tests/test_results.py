"""Records can be recomputed from their answers bit for bit, and are ranked."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from harness.record import Record, schema
from harness.rescore import differences
from leaderboard.ranking import rank
from leaderboard.render import cells
from leaderboard.render.markdown import render
from tests.conftest import ROOT
from tests.test_evaluate import BACKDOORED, ORACLE, PREDICTOR

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, tiny_track_folder: Path) -> Path:
    """Records of four submissions on the tiny track."""
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("results")
    codes = {
        "oracle": ORACLE,
        "nothing": BACKDOORED,
        "all-flags": "import numpy as np\nclass Predictor:\n def __init__(self, b): self.n = b.classes\n def __call__(self, x): return np.full(len(x), self.n)",
        "broken": "raise RuntimeError('\\x1b[31m<b>red</b>')",
    }
    for name, code in codes.items():
        submission = folder / "submissions" / name
        submission.mkdir(parents=True)
        (submission / "submission.toml").write_text(f'name = "{name}"\n{PREDICTOR}')
        (submission / "predict.py").write_text(code)
        command = ["evaluate", submission, "--track", tiny_track_folder, "--results", folder]
        subprocess.run(
            [sys.executable, "-m", "harness.cli", *map(str, command)], check=True, capture_output=True, cwd=ROOT
        )
    return folder


def read(results: Path, name: str) -> Record:
    return Record.model_validate_json((results / "tiny" / f"{name}.json").read_bytes())


def test_every_figure_is_recomputed_bit_for_bit(results: Path, badnet: Run, tiny_track_folder: Path) -> None:
    done = badnet("rescore", results / "tiny", "--track", tiny_track_folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("every figure as recorded") == 4


def test_a_figure_that_was_changed_by_hand_is_found_and_mended(
    results: Path, badnet: Run, tiny_track_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(results / "tiny", tmp_path / "tiny")
    path = tmp_path / "tiny" / "nothing.json"
    record = json.loads(path.read_text())
    record["score"]["value"] = 99.5
    path.write_text(json.dumps(record))
    done = badnet("rescore", path, "--track", tiny_track_folder)
    assert done.returncode == 2
    assert "score.value: 99.5 -> 0.0" in done.stdout
    assert badnet("rescore", path, "--track", tiny_track_folder, "--write").returncode == 0
    assert json.loads(path.read_text()) == json.loads((results / "tiny" / "nothing.json").read_text())


def test_answers_that_do_not_belong_to_the_record_are_refused(
    results: Path, badnet: Run, tiny_track_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(results / "tiny", tmp_path / "tiny")
    shutil.copy(tmp_path / "tiny" / "oracle.answers.npz", tmp_path / "tiny" / "nothing.answers.npz")
    done = badnet("rescore", tmp_path / "tiny" / "nothing.json", "--track", tiny_track_folder)
    assert done.returncode == 2
    assert "not the answers that nothing.json was made from" in done.stderr


def test_answers_stand_in_each_sets_own_order(results: Path) -> None:
    with np.load(results / "tiny" / "oracle.answers.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["first/clean"], np.repeat(np.arange(5), 30))
        assert (file["first/poisoned/patch"] == 5).all()
        assert (file["first/baseline/poisoned/patch"] == 3).all()


def test_submissions_are_ranked_by_score_and_ties_share_a_rank(results: Path) -> None:
    entries = rank(read(results, name) for name in ("broken", "nothing", "oracle", "all-flags"))
    assert [(entry.rank, entry.submission) for entry in entries] == [
        (1, "oracle"), (2, "all-flags"), (2, "nothing"), (4, "broken"),
    ]  # fmt: skip
    assert "failed on some" in entries[-1].badges


def test_an_unconfined_record_is_shown_but_not_ranked(results: Path) -> None:
    oracle = read(results, "oracle")
    loose = oracle.model_copy(update={"provenance": oracle.provenance.model_copy(update={"sandbox": "unconfined"})})
    entry = rank([loose])[0]
    assert entry.rank is None
    assert "unconfined" in entry.badges


def test_the_board_is_written_as_markdown_and_for_a_terminal(results: Path, badnet: Run, tmp_path: Path) -> None:
    done = badnet(
        "leaderboard", "--track", "tiny", "--results", results, "--format", "markdown", "--out", tmp_path / "board.md"
    )
    assert done.returncode == 0, done.stderr
    entries = rank(read(results, name) for name in ("oracle", "nothing", "all-flags", "broken"))
    assert (tmp_path / "board.md").read_text() == render(entries, "tiny")
    shown = badnet("leaderboard", "--track", "tiny", "--results", results).stdout
    assert all(cells(entry)[1] in shown for entry in entries)
    assert badnet("leaderboard", "--track", "tiny", "--results", results, "--format", "pdf").returncode == 2


def test_a_damaged_record_is_named_without_losing_the_others(results: Path, badnet: Run, tmp_path: Path) -> None:
    shutil.copytree(results / "tiny", tmp_path / "tiny")
    (tmp_path / "tiny" / "nothing.json").write_text('{"schema_version": 1, "score": ')
    done = badnet("leaderboard", "--track", "tiny", "--results", tmp_path)
    assert done.returncode == 0
    assert "nothing.json" in done.stderr
    assert "oracle" in done.stdout


def test_a_strangers_words_reach_the_terminal_without_escape_codes(results: Path, badnet: Run) -> None:
    reason = read(results, "broken").badnets["first"].failure
    assert reason is not None
    assert "\x1b" not in reason.reason
    assert "<b>red</b>" in reason.reason


def test_the_committed_schema_is_that_of_the_code() -> None:
    path = ROOT / "docs" / "record.schema.json"
    assert json.loads(path.read_text()) == json.loads(json.dumps(schema()))


def test_differences_name_the_keys() -> None:
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 4}) == ["a.c: 2 -> 3", "d: None -> 4"]
