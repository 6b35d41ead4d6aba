"""The doctor says what is there, what is missing, and what to do about it."""

import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from harness.doctor import examine, subjects
from harness.doctor.isolation import control_groups, user_namespaces
from harness.doctor.machine import disk, memory, python
from harness.errors import MachineError
from harness.sandbox import bubblewrap
from harness.sandbox.gpu import gpu_devices, gpu_names
from harness.sandbox.limits import GIB


def sysctls(folder: Path, **values: int) -> Path:
    for name, value in values.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{value}\n")
    return folder


def test_it_examines_this_machine_and_ends_well(badnet: Callable[..., CompletedProcess[str]]) -> None:
    done = badnet("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert all(re.match(r"(ok|warning|error) +(isolation|libraries|machine): ", line) for line in lines)
    assert any("bubblewrap" in line and "isolates here" in line for line in lines)
    assert any("tensorflow" in line and "loads in the sandbox" in line for line in lines)


def test_it_names_the_fix_where_nothing_isolates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "candidates", lambda: iter([]))
    bubblewrap.find_bwrap.cache_clear()
    try:
        found = [finding for subject, finding in examine() if finding.level == "error"]
    finally:
        bubblewrap.find_bwrap.cache_clear()
    assert found
    assert "bubblewrap is not installed" in found[0].words
    assert "apt-get install bubblewrap" in found[0].fix


def test_its_subjects_are_the_files_of_its_folder() -> None:
    assert subjects() == ["isolation", "libraries", "machine"]


@pytest.mark.parametrize(
    ("values", "root", "level", "words", "fix"),
    [
        ({"user__max_user_namespaces": 0}, True, "error", "switched off", "sysctl -w user.max_user_namespaces"),
        ({"kernel__unprivileged_userns_clone": 0}, False, "error", "for root alone", "unprivileged_userns_clone=1"),
        ({"kernel__unprivileged_userns_clone": 0}, True, "warning", "for root alone", "unprivileged_userns_clone=1"),
        ({"kernel__apparmor_restrict_unprivileged_userns": 1}, False, "error", "Ubuntu 24.04", "/etc/apparmor.d/bwrap"),
    ],
)
def test_what_forbids_user_namespaces_has_its_remedy(
    values: dict[str, int], root: bool, level: str, words: str, fix: str, tmp_path: Path
) -> None:
    (found,) = user_namespaces(sysctls(tmp_path, **values), root=root)
    assert found.level == level
    assert words in found.words
    assert fix in found.fix


def test_a_machine_that_allows_them_is_passed_over_in_silence(tmp_path: Path) -> None:
    allowing: dict[str, Any] = {
        "user__max_user_namespaces": 9999, "kernel__unprivileged_userns_clone": 1,
        "kernel__apparmor_restrict_unprivileged_userns": 0,
    }  # fmt: skip
    assert list(user_namespaces(sysctls(tmp_path, **allowing), root=False)) == []
    assert list(user_namespaces(tmp_path / "none", root=False)) == []


@pytest.mark.parametrize(("free", "level"), [(1, "warning"), (4, "warning"), (9, "ok")])
def test_memory_is_compared_with_what_workers_need(free: int, level: str) -> None:
    assert memory(f"MemTotal: {16 * 2**20} kB\nMemAvailable: {free * 2**20} kB\nHugePages: 0\n").level == level


def test_a_full_disk_and_an_old_interpreter_are_told() -> None:
    assert disk(Path("/x"), GIB).level == "warning"
    assert disk(Path("/x"), 3 * GIB).level == "ok"
    assert python((3, 9)).fix.startswith("install Python 3.11")
    assert python((3, 12)).level == "ok"


def test_control_groups_are_named_where_they_are_delegated(tmp_path: Path) -> None:
    assert str(tmp_path) in control_groups(tmp_path).words
    assert "Delegate=yes" in control_groups(None).fix


def test_a_gpu_is_one_with_a_number(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="no NVIDIA device"):
        gpu_devices(tmp_path)
    for name in ("nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    with pytest.raises(MachineError, match="no NVIDIA device"):
        gpu_devices(tmp_path)
    (tmp_path / "nvidia0").touch()
    assert [path.name for path in gpu_devices(tmp_path)] == ["nvidia-uvm", "nvidia0", "nvidiactl"]
    (tmp_path / "0000:00:01.0").mkdir()
    (tmp_path / "0000:00:01.0" / "information").write_text("Model: \t NVIDIA \x1b[31mH100\nIRQ: 3\n")
    assert gpu_names(tmp_path) == ["NVIDIA \N{REPLACEMENT CHARACTER}[31mH100"]
