"""Limits are the same for all, hold for a whole tree of processes, and cannot be raised from inside."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.sandbox.cgroup import Cgroup, delegated
from harness.sandbox.limits import GIB, MIB, SHARED_MEMORY, Limits, limits_of
from harness.sandbox.watchdog import Usage, descendants, folder_bytes, usage


def test_any_limit_can_be_stated_by_its_name() -> None:
    limits = limits_of(["processes=7", "scratch_bytes=1048576"], memory_bytes=3 * MIB)
    assert (limits.processes, limits.scratch_bytes, limits.memory_bytes) == (7, MIB, 3 * MIB)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("procesess=7", "no such limit; did you mean 'processes'"),
        ("processes", "processes: Input should be a valid integer"),
        ("processes=many", "got 'many'"),
        ("open_files=3", "open_files: Input should be greater than or equal to 64"),
        ("cpu_seconds=0", "cpu_seconds: Input should be greater than 0"),
        ("cpu_seconds=nan", "cpu_seconds: "),
        ("=", "no such limit"),
    ],
)
def test_a_limit_that_is_none_is_named(words: str, message: str) -> None:
    with pytest.raises(UserError, match=r"^--limit") as raised:
        limits_of([words])
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("used", "words"),
    [
        (Usage(1, 1, 1), ""),
        (Usage(99, 1, 1), "ran more than 10 processes and threads"),
        (Usage(1, 2 * GIB, 1), "used more than 1 GiB of memory"),
        (Usage(1, 1, 9), "used more than 5 s of processor time"),
        (Usage(99, 2 * GIB, 9), "ran more than 10 processes and threads"),
    ],
)
def test_the_limit_that_was_passed_is_told(used: Usage, words: str) -> None:
    assert used.exceeded(Limits(processes=10, memory_bytes=GIB, cpu_seconds=5)) == words


def test_usage_is_that_of_the_whole_tree() -> None:
    code = "import os, time, threading\nx = bytearray(b'x') * 2**25\nif os.fork(): os.fork()\nelse: threading.Thread(target=time.sleep, args=[60]).start()\nt = time.time()\nwhile time.process_time() < 0.3: pass\ntime.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        deadline = time.monotonic() + 20
        while (used := usage(process.pid)).tasks < 4 or used.cpu_seconds < 0.8:
            assert time.monotonic() < deadline, used
            time.sleep(0.05)
        assert used.resident_bytes > 3 * 32 * MIB
        assert len(descendants(process.pid)) == 2
    finally:
        family = descendants(process.pid)
        process.kill()
        process.wait()
        for pid in family:
            subprocess.run(["kill", "-9", str(pid)], check=False)
    assert usage(process.pid) == Usage()


def test_a_folder_is_measured_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"x" * MIB)
    (tmp_path / "deep" / "up").symlink_to(tmp_path)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**40)
    assert MIB <= folder_bytes(tmp_path, GIB) < 2 * MIB


def test_folders_too_deep_to_measure_are_too_much(tmp_path: Path) -> None:
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        for _ in range(30):
            os.mkdir("x" * 200)
            os.chdir("x" * 200)
        assert folder_bytes(tmp_path, GIB) > GIB
    finally:
        os.chdir(before)
        subprocess.run(["rm", "-rf", *tmp_path.iterdir()], check=True)


# --- control groups: a folder with the kernel's file names stands for a delegated group ------------------------------


@pytest.fixture
def group(tmp_path: Path) -> Path:
    made = tmp_path / "user.slice"
    made.mkdir()
    for name, text in {"controllers": "cpu memory pids", "procs": "11\n12\n", "subtree_control": ""}.items():
        (made / f"cgroup.{name}").write_text(text)
    try:
        os.setxattr(made, "user.delegate", b"1")
    except OSError as error:
        pytest.skip(f"this file system keeps no marks on folders ({error})")
    return made


def own(tmp_path: Path, line: str) -> Path:
    (tmp_path / "own").write_text(line)
    return tmp_path / "own"


def test_a_delegated_group_hands_its_controllers_on(group: Path, tmp_path: Path) -> None:
    assert delegated(tmp_path, own(tmp_path, "3:cpu:/\n0::/user.slice\n")) == group
    assert (group / "cgroup.subtree_control").read_text() == "+memory +pids"
    assert (group / "badnet-host" / "cgroup.procs").read_text() == "12"


@pytest.mark.parametrize("line", ["0::/", "4:memory:/user.slice", "0::/nowhere", ""])
def test_elsewhere_there_is_none(line: str, group: Path, tmp_path: Path) -> None:
    assert delegated(tmp_path, own(tmp_path, line)) is None


def test_a_group_that_is_not_handed_over_is_none(group: Path, tmp_path: Path) -> None:
    os.setxattr(group, "user.delegate", b"0")
    assert delegated(tmp_path, own(tmp_path, "0::/user.slice")) is None
    os.removexattr(group, "user.delegate")
    assert delegated(tmp_path, own(tmp_path, "0::/user.slice")) is None
    assert not (group / "badnet-host").exists()


def test_the_next_run_uses_the_same_group(group: Path, tmp_path: Path) -> None:
    assert delegated(tmp_path, own(tmp_path, "0::/user.slice/badnet-host")) == group


def test_a_group_without_memory_is_none(group: Path, tmp_path: Path) -> None:
    (group / "cgroup.controllers").write_text("cpu pids")
    assert delegated(tmp_path, own(tmp_path, "0::/user.slice")) is None


def test_a_worker_joins_a_group_with_its_limits(group: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.sandbox.cgroup.delegated", lambda: group)
    made = Cgroup.make(Limits(memory_bytes=GIB, scratch_bytes=MIB, processes=9))
    assert made is not None
    assert int((made.folder / "memory.max").read_text()) == GIB + MIB + SHARED_MEMORY
    assert (made.folder / "pids.max").read_text() == "9\n"
    subprocess.run(["/bin/sh", "-c", made.joining], check=True)
    assert (made.folder / "cgroup.procs").read_text() == "0\n"
    assert made.exceeded == ""
    (made.folder / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    assert made.exceeded == "used more than 1 GiB of memory"
