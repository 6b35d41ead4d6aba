"""Records can be recomputed from their answers bit for bit, and are ranked."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from harness.digests import digest_file
from harness.errors import UserError
from harness.record import Record, parse_record, schema
from harness.rescore import differences
from leaderboard import kept
from leaderboard.asked import Answer, Request, answer, render
from leaderboard.contenders import contender
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


@pytest.fixture
def forged(results: Path, tmp_path: Path) -> Path:
    """A record that states a better score than its answers have, among copies of the others."""
    shutil.copytree(results / "tiny", tmp_path / "tiny")
    path = tmp_path / "tiny" / "nothing.json"
    record = json.loads(path.read_text())
    record["score"]["value"] = 99.5
    path.write_text(json.dumps(record))
    return path


def test_a_figure_that_was_changed_by_hand_is_found_and_mended(
    forged: Path, results: Path, badnet: Run, tiny_track_folder: Path
) -> None:
    done = badnet("rescore", forged, "--track", tiny_track_folder)
    assert done.returncode == 2
    assert "score.value: 99.5 -> 0.0" in done.stdout
    assert badnet("rescore", forged, "--track", tiny_track_folder, "--write").returncode == 0
    assert json.loads(forged.read_text()) == json.loads((results / "tiny" / "nothing.json").read_text())


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


def asked(results: Path, track: Path) -> Answer:
    return answer(results, Request([str(track)]))


def test_submissions_are_ranked_by_score_and_ties_share_a_rank(results: Path, tiny_track_folder: Path) -> None:
    [board], problems = asked(results, tiny_track_folder)
    assert problems == []
    found = [(row.rank, row.submission) for row in board.rows]
    assert [found[0], *sorted(found[1:3]), found[3]] == [  # the two stand by their time
        (1, "oracle"), (2, "all-flags"), (2, "nothing"), (None, "broken"),
    ]  # fmt: skip
    assert "failed" in board.rows[-1].badges


def test_the_board_has_the_figures_of_the_records(results: Path, tiny_track_folder: Path) -> None:
    for row in asked(results, tiny_track_folder).boards[0].rows:
        record = read(results, row.submission)
        assert (row.value, (row.low, row.high)) == (record.score.value, record.score.interval)
        assert (row.weakest, row.weakest_value) == (record.score.weakest, record.badnets[row.weakest].score.value)


def test_a_figure_in_a_record_that_its_answers_do_not_have_moves_nothing(
    forged: Path, results: Path, tiny_track_folder: Path
) -> None:
    assert asked(forged.parent.parent, tiny_track_folder) == asked(results, tiny_track_folder)


def test_answers_that_are_not_the_records_own_cost_the_record(
    results: Path, tiny_track_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(results / "tiny", tmp_path / "tiny")
    shutil.copy(tmp_path / "tiny" / "oracle.answers.npz", tmp_path / "tiny" / "nothing.answers.npz")
    (tmp_path / "tiny" / "all-flags.answers.npz").unlink()
    [board], problems = asked(tmp_path, tiny_track_folder)
    assert [row.submission for row in board.rows] == ["oracle", "broken"]
    assert ["not the answers that" in line for line in problems] == [True, True]


def test_what_was_read_before_is_not_read_again(
    results: Path, tiny_track_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(results / "tiny", tmp_path / "tiny")
    shutil.rmtree(tmp_path / "tiny" / ".unfinished", ignore_errors=True)
    parsed: list[str] = []

    def parse(path: Path, data: bytes) -> Record:
        parsed.append(path.stem)
        return parse_record(path, data)

    monkeypatch.setattr("leaderboard.reading.parse_record", parse)
    first = asked(tmp_path, tiny_track_folder)
    assert sorted(parsed) == ["all-flags", "broken", "nothing", "oracle"]
    parsed.clear()
    assert asked(tmp_path, tiny_track_folder) == first
    assert parsed == []
    path = tmp_path / "tiny" / "nothing.json"
    path.write_text(path.read_text() + " ")
    assert asked(tmp_path, tiny_track_folder) == first
    assert parsed == ["nothing"]
    file = tmp_path / "tiny" / kept.FILE
    for damage in (b"", b"PK", file.read_bytes()[:-40]):
        file.write_bytes(damage)
        assert asked(tmp_path, tiny_track_folder) == first


def test_a_record_that_was_renamed_is_no_record_whatever_was_read_before(
    results: Path, tiny_track_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(results / "tiny", tmp_path / "tiny")
    asked(tmp_path, tiny_track_folder)
    for end in (".json", ".answers.npz"):
        (tmp_path / "tiny" / f"oracle{end}").rename(tmp_path / "tiny" / f"better{end}")
    [board], problems = asked(tmp_path, tiny_track_folder)
    assert "oracle" not in board.by_name
    assert ["name it oracle.json, or remove it" in line for line in problems] == [True]


def test_times_of_answering_are_the_clocks_readings_not_what_a_record_states(
    results: Path, tiny_track_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(results / "tiny", tmp_path / "tiny")
    path = tmp_path / "tiny" / "nothing.json"
    record = json.loads(path.read_text())
    for badnet in record["badnets"].values():
        badnet["timing"] |= {"images_per_second": 1e15, "exam_seconds": 0.0}
    path.write_text(json.dumps(record))
    request = Request([str(tiny_track_folder)], measure="speed")
    [before], [after] = answer(results, request).boards, answer(tmp_path, request).boards
    assert after == before
    stated = read(results, "nothing").badnets
    assert before.by_name["nothing"].value == np.mean(
        [it.timing.images_per_second for it in stated.values() if it.triggers]
    )
    assert before.by_name["broken"].value == 0


def test_answers_that_may_not_be_read_cost_their_record_alone(
    results: Path, tiny_track_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(results / "tiny", tmp_path / "tiny")

    def digest(path: Path) -> str | None:
        if path.name == "oracle.answers.npz":
            raise PermissionError(13, "Permission denied")
        return digest_file(path)

    monkeypatch.setattr("leaderboard.reading.digest_file", digest)
    [board], problems = asked(tmp_path, tiny_track_folder)
    assert "oracle" not in board.by_name
    assert problems == [f"{tmp_path}/tiny/oracle.answers.npz: cannot be read (Permission denied)"]


def test_a_board_without_any_record_is_written_over_no_other(
    results: Path, badnet: Run, tiny_track_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(results / "tiny", tmp_path / "tiny")
    for path in (tmp_path / "tiny").glob("*.json"):
        path.write_text("{")
    page = tmp_path / "board.md"
    page.write_text("the last one")
    done = badnet("leaderboard", "--track", tiny_track_folder, "--results", tmp_path, "--out", page)
    assert done.returncode == 2
    assert "no record can be shown; " in done.stderr
    assert "(3 more like it)" in done.stderr
    assert page.read_text() == "the last one"


def test_a_track_of_clean_twins_has_no_board(results: Path, tiny_track_folder: Path, tmp_path: Path) -> None:
    track = tmp_path / "twins"
    shutil.copytree(tiny_track_folder, track)
    stated = (track / "track.toml").read_text()
    (track / "track.toml").write_text(re.sub(r"triggers\..*\n", "", stated))
    manifest = json.loads((track / "manifest.json").read_text())
    for files in manifest["badnets"].values():
        files["poisoned"] = {}
    (track / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="has no BadNet with a backdoor"):
        answer(results, Request([str(track)]))


def test_the_whole_format_is_the_same_bytes_each_time_and_an_unchanged_file_is_left_alone(
    results: Path, badnet: Run, tiny_track_folder: Path, tmp_path: Path
) -> None:
    page = tmp_path / "board.json"
    command = ("leaderboard", "--track", tiny_track_folder, "--results", results, "--format", "json", "--out", page)
    assert badnet(*command).returncode == 0
    before, touched = page.read_bytes(), page.stat().st_mtime_ns
    assert badnet(*command).returncode == 0
    assert (page.read_bytes(), page.stat().st_mtime_ns) == (before, touched)


def test_an_unconfined_record_is_shown_but_not_ranked(results: Path) -> None:
    oracle = read(results, "oracle")
    loose = oracle.model_copy(update={"provenance": oracle.provenance.model_copy(update={"sandbox": "unconfined"})})
    assert not contender(loose).ranked
    assert "unconfined" in contender(loose).badges


def test_the_board_is_written_as_markdown_and_for_a_terminal(
    results: Path, badnet: Run, tiny_track_folder: Path, tmp_path: Path
) -> None:
    done = badnet(
        "leaderboard", "--track", tiny_track_folder, "--results", results, "--format", "markdown",
        "--out", tmp_path / "board.md",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    boards = asked(results, tiny_track_folder).boards
    assert (tmp_path / "board.md").read_text() == render(boards, "markdown")
    shown = badnet("leaderboard", "--track", tiny_track_folder, "--results", results).stdout
    assert all(row.submission in shown for row in boards[0].rows)


@pytest.mark.parametrize(
    "options,words",
    [
        (["--format", "pdf"], "--format 'pdf': no such format; one of csv, json, latex, markdown, terminal, text"),
        (["--by", "scor"], "--by 'scor': no such measure; did you mean 'score'?"),
        (["--badnet", "frist"], "has none with a backdoor of that name; did you mean 'first'?"),
        (["--badnet", "twin"], "has none with a backdoor of that name"),
        (["--trigger", "patch"], "of which BadNet? name one with --badnet"),
        (["--badnet", "first", "--trigger", "hat"], "first has no such trigger; one of patch"),
        (["--badnet", "first", "--trigger", "patch", "--by", "speed"], "leave out --trigger"),
        (["--out", "."], "--out .: is a folder; name a file in it"),
        (["--results", "nowhere"], "no records; run `make evaluate"),
        (["--track", "nowhere"], "no such track"),
    ],
)
def test_what_is_asked_wrongly_is_said_in_one_line(
    results: Path, badnet: Run, tiny_track_folder: Path, options: list[str], words: str
) -> None:
    chosen = ["--track", tiny_track_folder, "--results", results]
    chosen = [it for name in chosen[::2] if name not in options for it in (name, chosen[chosen.index(name) + 1])]
    done = badnet("leaderboard", *chosen, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_damaged_record_is_named_without_losing_the_others(
    results: Path, badnet: Run, tiny_track_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(results / "tiny", tmp_path / "tiny")
    (tmp_path / "tiny" / "nothing.json").write_text('{"schema_version": 1, "score": ')
    done = badnet("leaderboard", "--track", tiny_track_folder, "--results", tmp_path)
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
