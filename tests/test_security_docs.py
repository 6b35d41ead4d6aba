"""docs/security.md tells what the tests show: its table is that of the hostile suite, and its limits are the defaults."""

import re
import subprocess
import sys
from pathlib import Path

from harness.sandbox.limits import GIB, MIB, Limits
from tests.conftest import ROOT
from tests.hostile.table import BEGIN, END

PAGE = ROOT / "docs" / "security.md"


def rows(page: Path) -> list[tuple[str, ...]]:
    made = page.read_text().partition(BEGIN)[2].partition(END)[0]
    return [tuple(line.strip("| ").split(" | ")) for line in made.splitlines() if line.startswith("| ")]


def test_the_table_is_that_of_the_hostile_suite_and_every_row_passed(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(f"{BEGIN}\n{END}")
    command = [sys.executable, "-m", "pytest", "tests/hostile", "--collect-only", "--security-table"]
    subprocess.run([*command, str(tmp_path / "page.md")], cwd=ROOT, check=True, capture_output=True, timeout=300)
    assert [row[:2] for row in rows(PAGE)] == [row[:2] for row in rows(tmp_path / "page.md")], "run `make security`"
    assert {row[2] for row in rows(PAGE)} == {"test", "---", "passed"}


def test_the_limits_are_the_defaults() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE))
    units = {"GiB": GIB, "MiB": MIB}
    for name, default in Limits().model_dump().items():
        number, _, unit = told.pop(name).replace(",", "").partition(" ")
        assert float(number) * units.get(unit, 1) == default, name
    assert told == {}
