"""What benchmarks share: where the real material is, and tables below pytest-benchmark's own."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.figures import Figure, Tell, table

ROOT = Path(__file__).resolve().parent.parent
TABLES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for text in config.stash[TABLES]:
        terminalreporter.write_line(f"\n{text}")


@pytest.fixture
def tell(benchmark: BenchmarkFixture, pytestconfig: pytest.Config) -> Tell:
    """Show figures at the end of the run, and keep their medians and budgets as the benchmark's extra_info."""

    def tell(title: str, figures: Sequence[Figure]) -> None:
        pytestconfig.stash[TABLES].append(table(title, figures))
        for figure in figures:
            benchmark.extra_info[figure.name] = {
                "median": figure.median, "unit": figure.unit, "values": list(figure.values),
                "at_most": figure.at_most, "at_least": figure.at_least, "kept": figure.kept,
            }  # fmt: skip

    return tell


@pytest.fixture
def shared() -> Path:
    """The folder with the competition's nets and triggers, which cannot be in the repository."""
    folder = ROOT.parent / "shared"
    if not (folder / "csaw2020/models").is_dir():
        pytest.skip(f"the competition's nets and triggers are not in {folder}")
    return folder
