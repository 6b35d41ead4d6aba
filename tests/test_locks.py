"""A lock is held by one process, however it ends, and nothing in its place is followed or waited for."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.errors import MachineError, UserError
from harness.locks import Held, locked
from tests.conftest import ROOT

HOLD = """
import sys, time
from pathlib import Path
from harness.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds `lock`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_that_another_process_holds_is_refused_with_its_number(
    other: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    with pytest.raises(Held, match=f"^process {other.pid}$"), locked(tmp_path / "lock"):
        pass


def test_the_lock_of_a_killed_process_is_free(other: "subprocess.Popen[str]", tmp_path: Path) -> None:
    other.kill()
    other.wait()
    with locked(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_who_waits_is_told_for_whom_and_then_has_the_lock(other: "subprocess.Popen[str]", tmp_path: Path) -> None:
    told = []

    def waiting(holder: str) -> None:
        told.append(holder)
        other.kill()

    with locked(tmp_path / "lock", waiting):
        pass
    assert told == [f"process {other.pid}"]


def test_a_lock_is_free_after_an_error_and_for_the_next_one(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), locked(tmp_path / "new" / "lock"):
            raise ZeroDivisionError


def test_a_child_process_does_not_inherit_the_lock(tmp_path: Path) -> None:
    with locked(tmp_path / "lock"):
        child = subprocess.Popen(["sleep", "600"], close_fds=False)
    try:
        with locked(tmp_path / "lock"):
            pass
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda path: path.symlink_to(path.with_name("victim")), "is a link"),
        (lambda path: path.symlink_to("/dev/null"), "is a link"),
        (Path.mkdir, "or a folder"),
        (os.mkfifo, "is a pipe where a lock should be; remove it"),
    ],
)
def test_what_stands_in_its_place_is_refused(make: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("12345678901234567890")
    make(tmp_path / "lock")
    with pytest.raises(UserError, match=words), locked(tmp_path / "lock"):
        pass
    assert (tmp_path / "victim").read_text() == "12345678901234567890"


def test_a_folder_that_cannot_be_written_is_the_machines_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot be written"), locked(tmp_path / "file" / "lock"):
        pass
