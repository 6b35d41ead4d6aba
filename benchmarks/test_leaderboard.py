"""A board of a thousand records: how long people wait, and how much memory it takes."""

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import ROOT
from benchmarks.figures import Figure, Tell
from benchmarks.many_records import BADNETS, write_records, write_track
from benchmarks.memory import watched

RECORDS = 1000
BOARD_SECONDS, BOARD_GIGABYTES, SITE_SECONDS = 5.0, 1.0, 60.0
ROUNDS, SITE_ROUNDS = 5, 3


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A track of six BadNets, and a thousand records on it."""
    folder = tmp_path_factory.mktemp("many")
    for name in ("track", "results/many"):
        (folder / name).mkdir(parents=True)
    write_records(folder / "results/many", write_track(folder / "track"), RECORDS)
    return folder


def test_board(benchmark: BenchmarkFixture, tell: Tell, many: Path) -> None:
    """The first time every record is read, then none; beside it, what only reading their bytes takes."""
    words = ("leaderboard", *_options(many), "--format", "json", "--out", str(many / "board.json"))
    first = _command(words, many)
    seconds, gigabytes, plain = [], [], []

    def run() -> None:
        took, peak = _command(words, many)
        seconds.append(took)
        gigabytes.append(peak)

    def read() -> None:
        start = time.perf_counter()
        for path in sorted((many / "results/many").iterdir()):
            if path.is_file():
                path.read_bytes()
        plain.append(time.perf_counter() - start)

    benchmark.pedantic(run, setup=read, rounds=ROUNDS)  # type: ignore[no-untyped-call]
    tell(
        f"badnet leaderboard: {RECORDS:,} records, {len(BADNETS)} BadNets, 2,000 draws",
        [
            Figure(name="badnet leaderboard", values=seconds, at_most=BOARD_SECONDS),
            Figure(name="peak memory", values=gigabytes, unit="GB", at_most=BOARD_GIGABYTES),
            Figure(name="the first time, nothing read before", values=[first[0]]),
            Figure(name="reading the files' bytes alone", values=plain),
        ],
    )


def test_site(benchmark: BenchmarkFixture, tell: Tell, many: Path) -> None:
    """All pages anew, and again where nothing changed."""
    words = ("site", *_options(many), "--out", str(many / "site"), "--runs", str(many / "runs"))
    seconds, gigabytes = [], []

    def run() -> None:
        took, peak = _command(words, many)
        seconds.append(took)
        gigabytes.append(peak)

    def remove() -> None:
        shutil.rmtree(many / "site", ignore_errors=True)

    benchmark.pedantic(run, setup=remove, rounds=SITE_ROUNDS)  # type: ignore[no-untyped-call]
    tell(
        f"badnet site: {RECORDS:,} records, {len(BADNETS)} BadNets, 24 boards",
        [
            Figure(name="badnet site", values=seconds, at_most=SITE_SECONDS),
            Figure(name="peak memory", values=gigabytes, unit="GB"),
            Figure(name="again, nothing changed", values=[_command(words, many)[0]]),
        ],
    )


def _options(many: Path) -> Sequence[str]:
    return "--track", str(many / "track"), "--results", str(many / "results")


def _command(words: Sequence[str], many: Path) -> tuple[float, float]:
    """Seconds and peak memory, in GB, of a command in a process of its own."""
    done = watched([sys.executable, "-m", "harness.cli", *words], directory=ROOT, log=many / "log.txt")
    assert done.exit_code == 0, done.output
    return done.seconds, done.peak_bytes / 1e9
