"""Nothing finished is lost: Ctrl-C, a killed host and a full disk leave finished BadNets and whole files behind."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.sandbox.process import descendants
from tests.conftest import ROOT
from tests.test_sandbox import is_alive

Write = Callable[..., Path]

# The second BadNet hangs for as long as a file says so; each load leaves a line in the log of its BadNet.
SLOW = """
import time, numpy as np
from pathlib import Path
class Predictor:
    def __init__(self, badnet):
        while badnet.name == "second" and "hang" in (Path(__file__).parent / "mode.txt").read_text():
            time.sleep(0.05)
    def __call__(self, images):
        return np.zeros(len(images), int)
"""


class Running:
    """An evaluation in a process of its own."""

    def __init__(self, folder: Path, track: Path, results: Path) -> None:
        command = [
            sys.executable,
            "-m",
            "harness.cli",
            "evaluate",
            str(folder),
            "--track",
            str(track),
            "--results",
            str(results),
            "--jobs",
            "1",
        ]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.unfinished = results / "tiny" / ".unfinished" / folder.name

    def wait_until_it_hangs_in_the_second(self) -> list[int]:
        """Wait until the first BadNet is kept and the second runs; its processes."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            workers = [pid for pid in descendants(self.process.pid) if "harness.worker" in command_line(pid)]
            if (self.unfinished / "first.npz").exists() and len(workers) >= 2:
                return workers
            time.sleep(0.05)
        self.process.kill()
        raise AssertionError(f"never came to the second BadNet: {self.process.communicate()}")


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:  # gone in between
        return ""


@pytest.fixture
def hanging(write_submission: Write, tiny_track_folder: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    folder = write_submission(
        "slow", 'kind = "predictor"\nentry = "p.py:Predictor"', **{"p.py": SLOW, "mode.txt": "hang"}
    )
    return folder, tiny_track_folder, tmp_path / "results"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_all_children_and_the_next_run_goes_on(
    hanging: tuple[Path, Path, Path], number: signal.Signals
) -> None:
    running = Running(*hanging)
    workers = running.wait_until_it_hangs_in_the_second()
    running.process.send_signal(number)
    _, told = running.process.communicate(timeout=20)
    assert running.process.returncode == 130
    assert told.splitlines()[-1] == "interrupted; finished BadNets are kept, the same command goes on from them"
    assert [pid for pid in workers if is_alive(pid)] == []
    assert not (hanging[2] / "tiny" / "slow.json").exists()
    told = finish(hanging)
    # The submission was changed between the runs, so that nothing of the first may be taken over.
    assert "finished in the run before this one" not in told


def test_a_killed_host_takes_its_workers_along_and_the_next_run_goes_on(hanging: tuple[Path, Path, Path]) -> None:
    running = Running(*hanging)
    workers = running.wait_until_it_hangs_in_the_second()
    running.process.kill()
    running.process.communicate(timeout=20)
    deadline = time.monotonic() + 10
    while any(is_alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in workers if is_alive(pid)] == []
    again = Running(*hanging)
    try:
        again.wait_until_it_hangs_in_the_second()
    finally:
        again.process.send_signal(signal.SIGINT)
        _, told = again.process.communicate(timeout=20)
    assert "first: finished in the run before this one" in told


def test_a_record_is_whole_or_not_there_when_the_disk_is_full(hanging: tuple[Path, Path, Path]) -> None:
    folder, track, results = hanging
    (folder / "mode.txt").write_text("go")
    finish(hanging)
    before = (results / "tiny" / "slow.json").read_bytes()
    # A limit on the size of files fails as a full disk does: in the middle of writing.
    kilobytes = (len(before) - 1) // 1024
    assert (results / "tiny" / "slow.answers.npz").stat().st_size < 1024 * kilobytes
    script = f"ulimit -f {kilobytes}; exec {sys.executable} -m harness.cli evaluate {folder} --track {track} --results {results}"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3, done.stderr
    assert "slow.json: cannot be written (File too large)" in done.stderr.splitlines()[-1]
    assert (results / "tiny" / "slow.json").read_bytes() == before
    assert [path.name for path in (results / "tiny").iterdir() if path.name.startswith(".slow")] == []
    told = finish(hanging)
    assert told.count("finished in the run before this one") == 3


def finish(hanging: tuple[Path, Path, Path]) -> str:
    (hanging[0] / "mode.txt").write_text("go")
    running = Running(*hanging)
    _, told = running.process.communicate(timeout=120)
    assert running.process.returncode == 0, told
    record = json.loads((hanging[2] / "tiny" / "slow.json").read_text())
    assert record["badnets"]["second"]["failure"] is None
    assert not running.unfinished.exists()
    return told
