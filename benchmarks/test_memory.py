"""Memory on data files of the competition's full size and dtypes, 3.7 GB: import, baselines, evaluation."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import ROOT
from benchmarks.figures import Figure, Tell
from benchmarks.full_size_files import NETS, write_full_size
from benchmarks.memory import Run, watched

BUDGET_GB = 2.0
NEEDED_BYTES = 6 * 10**9
"""The files, and the image sets that are made of them."""


@pytest.fixture
def folder(shared: Path) -> Iterator[Path]:
    """Full-size files in `files`, the nets themselves as a submission in `own-nets`, an empty track in `track`."""
    with tempfile.TemporaryDirectory(prefix="full_size_") as name:
        folder = Path(name)
        if shutil.disk_usage(folder).free < NEEDED_BYTES:
            pytest.skip(f"{folder}: less than {NEEDED_BYTES / 1e9:g} GB free")
        write_full_size(folder / "files", shared)
        submission, track = folder / "own-nets", folder / "track"
        submission.mkdir()
        tables = ""
        for net in NETS:
            shutil.copyfile(shared / f"csaw2020/models/{net}_bd_net.h5", submission / f"{net}.h5")
            tables += f'[badnets.{net}]\nmodel = "{net}.h5"\n'
        (submission / "submission.toml").write_text(f'name = "own-nets"\nkind = "model"\ntrack = "csaw2020"\n{tables}')
        track.mkdir()
        shutil.copyfile(ROOT / "datasets/csaw2020/track.toml", track / "track.toml")
        yield folder


def test_memory_on_files_of_full_size(benchmark: BenchmarkFixture, tell: Tell, folder: Path) -> None:
    """One round: what is asked for is a peak, which other work on the machine does not change."""

    def badnet(*words: str) -> Run:
        run = watched([sys.executable, "-m", "harness.cli", *words], directory=ROOT, log=folder / "log.txt")
        assert run.exit_code == 0, run.output
        return run

    def both() -> tuple[Run, Run]:
        track, results = str(folder / "track"), str(folder / "results")
        return (
            badnet("track", "import", track, "--from", str(folder / "files")),
            badnet("evaluate", str(folder / "own-nets"), "--track", track, "--results", results),
        )

    runs = benchmark.pedantic(both, rounds=1)  # type: ignore[no-untyped-call]
    size = sum(path.stat().st_size for path in (folder / "files").rglob("*") if path.is_file())
    figures = []
    for name, run in zip(("track import, with baselines", "evaluate"), runs, strict=True):
        figures.append(Figure(name=f"{name}: peak memory", values=[run.peak_bytes / 1e9], unit="GB", at_most=BUDGET_GB))
        figures.append(Figure(name=f"{name}: time", values=[run.seconds]))
    tell(f"Files of the competition's size, {size / 1e9:.1f} GB: all processes together", figures)
