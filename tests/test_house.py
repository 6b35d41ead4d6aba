"""The house keeps its rules: the host loads no framework, the worker knows nothing of the host, --help comes at once."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

INSIDE = ("harness.models", "harness.worker", "harness.protocol", "harness.wording")
"""What code that runs in the sandbox may import of the harness."""
BELOW = {
    "leaderboard": ("harness", "leaderboard"),
    "harness": ("harness", "leaderboard.asked", "leaderboard.config", "leaderboard.site.building"),
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
    return found


def ours(names: set[str]) -> set[str]:
    houses = ("harness", "leaderboard", "reference_attacks", "reference_defenses", "tests", "benchmarks")
    return {name for name in names if name.split(".")[0] in houses}


@pytest.mark.parametrize("folder", ["harness/worker", "harness/models", "reference_defenses"])
def test_code_inside_the_sandbox_never_imports_the_host_side(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        strangers = {name for name in ours(imports(path)) if not name.startswith((*INSIDE, "reference_defenses"))}
        assert strangers == set(), path


@pytest.mark.parametrize("package", BELOW)
def test_imports_point_one_way(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        strangers = {name for name in ours(imports(path)) if not name.startswith(BELOW[package])}
        assert strangers == set(), path


def test_nothing_imports_the_command_line() -> None:
    for package in ("harness", "leaderboard", "reference_attacks", "reference_defenses"):
        for path in (ROOT / package).rglob("*.py"):
            assert "harness.cli" not in imports(path)


def test_the_host_side_imports_no_framework() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for folder in ("harness", "leaderboard")
        for path in (ROOT / folder).rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py") and not {"models", "starters"} & set(path.parts)
    ]
    code = f"import sys, importlib\nfor m in {modules}: importlib.import_module(m)\nprint({{'tensorflow', 'torch', 'keras'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, harness.cli\nprint({'numpy', 'pandas', 'h5py', 'pydantic', 'leaderboard'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"


def test_no_file_is_too_large_to_commit() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=False, cwd=ROOT)
    if listed.returncode:
        pytest.skip("not a git checkout")
    sizes = {
        name: (ROOT / name).stat().st_size for name in listed.stdout.split("\0") if name and (ROOT / name).exists()
    }
    assert max(sizes.values()) < 5_000_000
