"""The machine fails, the clock leaps, and others work on the same files: no record is wrong, torn or lost."""

import ast
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from harness.baseline import baseline_path, known_baseline
from harness.errors import UserError
from harness.locks import locked
from harness.preparation import build, prepare
from harness.record import read_record
from harness.track import Track
from tests.conftest import ROOT
from tests.fuzz.documents import write_track
from tests.running import Running, write_waiting
from tests.test_sandbox import is_alive

Run = Callable[..., CompletedProcess[str]]
Write = Callable[..., Path]
PART = "the harness's own world"


@pytest.mark.threat(
    PART, does="the kernel kills a worker in its exam", outcome="that BadNet is its worst case, and says so"
)
def test_a_killed_worker_costs_one_badnet(write_submission: Write, tiny_track_folder: Path, tmp_path: Path) -> None:
    folder = write_waiting(write_submission, "slow", "first answers")
    with Running(folder, tiny_track_folder, tmp_path) as running:
        os.kill(running.waiting(), signal.SIGKILL)
        code, told = running.ended()
    assert code == 0, told
    badnets = read_record(tmp_path / "tiny" / "slow.json").badnets
    failure = badnets["first"].failure
    assert failure is not None
    assert (failure.stage, failure.reason) == ("answer", "was ended by signal 9 without an answer")
    assert badnets["first"].score.value == -100
    assert [badnets[name].failure for name in ("second", "twin")] == [None, None]


@pytest.mark.threat(
    PART, does="the kernel kills the harness", outcome="its workers end too; the next run goes on from there"
)
def test_a_killed_host_takes_its_workers_along(
    write_submission: Write, tiny_track_folder: Path, tmp_path: Path
) -> None:
    folder = write_waiting(write_submission, "slow", "second loads")
    with Running(folder, tiny_track_folder, tmp_path) as running:
        running.waiting()
        workers = running.workers()
        running.process.kill()
        running.process.communicate()
    deadline = time.monotonic() + 10
    while any(is_alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in workers if is_alive(pid)] == []
    with Running(folder, tiny_track_folder, tmp_path) as again:
        code, told = again.ended()
    assert code == 0, told
    assert "first: finished in the run before this one" in told
    assert read_record(tmp_path / "tiny" / "slow.json").badnets["second"].failure is None


@pytest.mark.threat(
    PART, does="the disk is full as a record is replaced", outcome="the old record stays whole; exit code 3"
)
def test_a_record_is_whole_or_the_old_one_when_the_disk_is_full(
    write_submission: Write, tiny_track_folder: Path, tmp_path: Path, badnet: Run
) -> None:
    folder = write_waiting(write_submission, "slow")
    command = ["evaluate", folder, "--track", tiny_track_folder, "--results", tmp_path]
    assert badnet(*command).returncode == 0
    record = tmp_path / "tiny" / "slow.json"
    before = record.read_bytes()
    # A limit on the size of files fails as a full disk does: in the middle of writing.
    kilobytes = (len(before) - 1) // 1024
    assert record.with_suffix(".answers.npz").stat().st_size < 1024 * kilobytes
    done = in_bash(f"ulimit -f {kilobytes}; exec {words_of(command)}")
    assert done.returncode == 3, done.stderr
    assert "slow.json: cannot be written (File too large)" in done.stderr.splitlines()[-1]
    assert record.read_bytes() == before
    assert [path.name for path in record.parent.iterdir() if path.name.startswith(".slow")] == []
    assert badnet(*command).stderr.count("finished in the run before this one") == 3


@pytest.mark.threat(
    PART, does="the disk is full from the start", outcome="one line with the path; no torn file; exit code 3"
)
def test_nothing_torn_is_left_on_a_tiny_disk(write_submission: Write, tiny_track_folder: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    disk = f"mount -t tmpfs -o size=12k none {results}"
    alone = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"]), "bash", "-c"]
    if subprocess.run([*alone, disk], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount")
    folder = write_waiting(write_submission, "slow")
    command = ["evaluate", folder, "--track", tiny_track_folder, "--results", results]
    script = f"{disk} && {{ {words_of(command)}; code=$?; find {results} -type f; exit $code; }}"
    done = subprocess.run([*alone, script], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3, done.stderr
    assert "cannot be written (No space left on device)" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    left = {Path(line).name for line in done.stdout.splitlines() if line.startswith("/")}
    assert left <= {"slow.lock", "first.npz", "second.npz", "twin.npz"}


def words_of(command: list[Any]) -> str:
    return " ".join([sys.executable, "-m", "harness.cli", *map(str, command)])


def in_bash(script: str) -> CompletedProcess[str]:
    return subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def changed(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("file", ["data/test/images.npy", "first.h5"])
@pytest.mark.parametrize("spoil", [
    pytest.param(spoil, id=does, marks=pytest.mark.threat(PART, does=f"a file of the track {does}", outcome="refused: named, with the fix"))
    for does, spoil in {"became a folder": a_folder, "became a pipe": a_pipe, "was cut short": cut_short, "has one other bit": changed}.items()
])  # fmt: skip
def test_a_spoilt_file_of_the_track_is_named(spoil: Callable[[Path], None], file: str, tmp_path: Path) -> None:
    track = write_track(tmp_path)
    prepare(track)
    spoil(tmp_path / file)
    with pytest.raises(UserError) as caught:
        prepare(Track(tmp_path))
    assert str(caught.value).startswith(
        f"{tmp_path / file}: missing, or not the file that the manifest names; get it back"
    )


@pytest.mark.threat(
    PART, does="a file of the track is cut short after it was checked", outcome="refused: cannot be read"
)
def test_a_file_that_is_cut_short_after_the_check(tmp_path: Path) -> None:
    track = write_track(tmp_path)
    prepare(track)
    cut_short(tmp_path / "data" / "test" / "images.npy")
    with pytest.raises(UserError, match="cannot read the image set"):
        len(track.badnets["first"].test)


@pytest.mark.threat(PART, does="kept answers of an unrepaired BadNet are spoilt", outcome="measured anew")
def test_spoilt_answers_of_a_badnet_are_not_used(tmp_path: Path) -> None:
    track = write_track(tmp_path)
    path = baseline_path(track, track.badnets["first"])
    path.parent.mkdir()
    for data in (b"", b"x" * 100):
        path.write_bytes(data)
        assert known_baseline(track, track.badnets["first"]) is None
    a_folder(path)
    assert known_baseline(track, track.badnets["first"]) is None


@pytest.mark.threat(
    PART, does="the clock leaps by thirty years at every look", outcome="every duration is right; it is not read"
)
def test_durations_do_not_depend_on_the_clock(write_submission: Write, tiny_track_folder: Path, tmp_path: Path) -> None:
    folder = write_waiting(write_submission, "slow")
    began = time.monotonic()
    with Running(folder, tiny_track_folder, tmp_path, program="-m tests.leaping_clock") as running:
        code, told = running.ended()
    whole = time.monotonic() - began
    assert code == 0, told
    record = read_record(tmp_path / "tiny" / "slow.json")
    for badnet in record.badnets.values():
        assert badnet.failure is None
        timing = badnet.timing
        assert timing.latency is not None
        for seconds in (timing.start_seconds, timing.load_seconds, timing.exam_seconds, timing.latency.p99):
            assert seconds is not None
            assert 0 < seconds < whole
    assert abs(int(record.provenance.started[:4]) - time.gmtime().tm_year) in (0, 29, 30, 31)


@pytest.mark.threat(
    PART, does="somebody measures time by the clock on the wall", outcome="a test of the house finds it"
)
def test_no_figure_is_read_from_the_clock_on_the_wall() -> None:
    inside_only = ROOT / "harness" / "worker"  # compares with the times of files, which the same clock made
    for package in ("harness", "leaderboard"):
        for path in (ROOT / package).rglob("*.py"):
            if not path.is_relative_to(inside_only):
                assert not wall_clocks(ast.parse(path.read_text())), path
    assert wall_clocks(ast.parse("import time\nx = time.time()"))
    assert wall_clocks(ast.parse("from time import time_ns"))


def wall_clocks(tree: ast.AST) -> set[str]:
    found = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    found |= {
        f"{node.module}.{name.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    return found & {"time.time", "time.time_ns", "time.clock_gettime"}


@pytest.mark.threat(
    PART, does="two evaluations of one submission run at once", outcome="the second ends at once, and says why"
)
def test_the_second_of_two_evaluations_ends_at_once(
    write_submission: Write, tiny_track_folder: Path, tmp_path: Path, badnet: Run
) -> None:
    folder = write_waiting(write_submission, "slow", "second loads")
    with Running(folder, tiny_track_folder, tmp_path) as running:
        running.waiting()
        done = badnet("evaluate", folder, "--track", tiny_track_folder, "--results", tmp_path)
        pid = running.process.pid
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1] == (
            f"error: {folder}: 'slow' is being evaluated on track 'tiny' by process {pid}; wait until that has ended, or "
            "name other --results"
        )
        code, told = running.ended()
    assert code == 0, told
    assert read_record(tmp_path / "tiny" / "slow.json").badnets["second"].failure is None


@pytest.mark.threat(PART, does="a submission is changed while it is examined", outcome="refused: no record is written")
def test_a_submission_that_was_changed_meanwhile_gets_no_record(
    write_submission: Write, tiny_track_folder: Path, tmp_path: Path
) -> None:
    folder = write_waiting(write_submission, "slow", "second loads")
    with Running(folder, tiny_track_folder, tmp_path) as running:
        running.waiting()
        (folder / "p.py").write_text("Waiting = print")
        code, told = running.ended()
    assert code == 2
    assert told.splitlines()[-1] == f"error: {folder}: 'p.py' was changed while it was examined; evaluate it again"
    assert not (tmp_path / "tiny" / "slow.json").exists()
    assert [path.name for path in (tmp_path / "tiny" / ".unfinished" / "slow").iterdir()] == ["first.npz"]


FACES = """
name = "small"
title = "nine people"
classes = 9
shape = [55, 47, 3]
source = "synthetic_faces"
options = { seed = 1, training_images = 1, validation_images = 1, test_images = 1 }
[badnets.sunglasses]
model = "net.h5"
triggers.sunglasses.target = 0
"""


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A track whose images are painted at first use, with its images."""
    folder = tmp_path_factory.mktemp("faces") / "small"
    folder.mkdir()
    (folder / "track.toml").write_text(FACES)
    (folder / "net.h5").write_text("a net")
    track = Track(folder)
    track.write_manifest(build(track))
    return folder


@pytest.fixture
def unpainted(painted: Path, tmp_path: Path) -> Path:
    """A copy without them."""
    shutil.copytree(painted, tmp_path / "small", ignore=shutil.ignore_patterns("data"))
    return tmp_path / "small"


def first_use(track: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "harness.cli", "track", "show", str(track), "--out", str(track.parent / "x.png")]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.threat(
    PART, does="a track is used for the first time twice at once", outcome="the second waits, and says so"
)
def test_the_second_first_use_waits_for_the_first(painted: Path, unpainted: Path) -> None:
    with locked(unpainted / "data" / ".lock"):
        second = first_use(unpainted)
        assert second.stderr
        assert second.stderr.readline() == f"small: waiting for process {os.getpid()}, which makes its images\n"
        shutil.copytree(painted / "data", unpainted / "data", dirs_exist_ok=True)
    _, told = second.communicate(timeout=60)
    assert second.returncode == 0
    assert told == ""  # nothing was painted


@pytest.mark.threat(PART, does="four first uses race", outcome="all find the same images")
def test_first_uses_that_race_find_the_same_images(unpainted: Path) -> None:
    racing = [first_use(unpainted) for _ in range(4)]
    told = [process.communicate(timeout=120)[1] for process in racing]
    assert [process.returncode for process in racing] == [0] * 4, told
    assert Track(unpainted).changed_files() == []
    assert not (unpainted / "data" / ".unfinished").exists()


@pytest.mark.threat(PART, does="the harness is killed as it paints", outcome="the next use paints anew")
def test_a_killed_painter_leaves_no_half_painted_set(unpainted: Path) -> None:
    process = first_use(unpainted)
    deadline = time.monotonic() + 60
    while not list(unpainted.glob("data/.unfinished/data/*/*.npy")) and time.monotonic() < deadline:
        assert process.poll() is None
    process.kill()
    process.communicate()
    assert list(unpainted.glob("data/.unfinished/data/*/*.npy"))
    prepare(Track(unpainted))
    assert Track(unpainted).changed_files() == []
    assert not (unpainted / "data" / ".unfinished").exists()


@pytest.mark.slow
@pytest.mark.threat(
    PART, does="two submissions are evaluated at once, and both measure the unrepaired BadNets", outcome="both graded"
)
def test_two_evaluations_may_measure_the_badnets_at_once(
    write_submission: Write, tiny_track_folder: Path, tmp_path: Path
) -> None:
    track = tmp_path / "tiny"
    shutil.copytree(tiny_track_folder, track, ignore=shutil.ignore_patterns("baseline"))
    folders = [write_waiting(write_submission, name) for name in ("one", "two")]
    with Running(folders[0], track, tmp_path) as first, Running(folders[1], track, tmp_path) as second:
        told = [running.ended() for running in (first, second)]
    assert [code for code, _ in told] == [0, 0], told
    assert all("unrepaired first: measured (once)" in words for _, words in told)
    assert [read_record(tmp_path / "tiny" / f"{name}.json").score.value for name in ("one", "two")] == [0, 0]
