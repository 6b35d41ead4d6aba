"""How long people wait for commands, from the shell's point of view."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.bare import Bare
from benchmarks.conftest import ROOT
from benchmarks.figures import Figure, Tell, ratios
from harness.invigilator import BATCH
from harness.preparation import prepare
from harness.track import Track, find_track

HELP_SECONDS, EVALUATE_SECONDS = 0.5, 20.0
JOBS = 2
"""Bare processes at the same time: as many as the harness has workers."""
HELP_ROUNDS, CHECK_ROUNDS, EVALUATE_ROUNDS = 10, 3, 3


@pytest.fixture(scope="module")
def faces() -> Track:
    """The faces track, its images made."""
    track = find_track("faces")
    prepare(track)
    return track


@pytest.fixture
def submission(faces: Track, tmp_path: Path) -> Path:
    """The BadNets themselves as a model submission."""
    folder = tmp_path / "own-nets"
    folder.mkdir()
    tables = ""
    for name, badnet in faces.badnets.items():
        shutil.copyfile(badnet.model_path, folder / f"{name}.h5")
        tables += f'[badnets.{name}]\nmodel = "{name}.h5"\n'
    (folder / "submission.toml").write_text(f'name = "own-nets"\nkind = "model"\ntrack = "faces"\n{tables}')
    return folder


def test_help(benchmark: BenchmarkFixture, tell: Tell) -> None:
    command = [str(Path(sys.executable).parent / "badnet"), "--help"]
    ours, plain = _interleaved(
        benchmark, HELP_ROUNDS, lambda: _run(*command), lambda: _run(sys.executable, "-c", "import typer")
    )
    tell(
        "badnet --help",
        [
            Figure(name="badnet --help", values=ours, at_most=HELP_SECONDS),
            Figure(name="python -c 'import typer'", values=plain),
            ratios("help / import", ours, plain),
        ],
    )


def test_evaluate(benchmark: BenchmarkFixture, tell: Tell, faces: Track, submission: Path, tmp_path: Path) -> None:
    """As `make evaluate`, set-up done: images made, baselines measured."""
    command = ("evaluate", str(submission), "--results", str(tmp_path / "results"))
    _badnet(*command)
    images = {
        name: [badnet.test_path, *(poisoned.folder for poisoned in badnet.poisoned.values())]
        for name, badnet in faces.badnets.items()
    }
    ours, plain = _interleaved(
        benchmark, EVALUATE_ROUNDS, lambda: _badnet(*command), lambda: _answer(faces, images, tmp_path)
    )
    tell(
        f"badnet evaluate: a model submission on faces, {len(images)} BadNets",
        [
            Figure(name="badnet evaluate", values=ours, at_most=EVALUATE_SECONDS),
            Figure(name="bare processes, two at a time, same images", values=plain),
            ratios("evaluate / bare", ours, plain),
        ],
    )


def test_check(benchmark: BenchmarkFixture, tell: Tell, faces: Track, submission: Path, tmp_path: Path) -> None:
    """Beside bare processes that answer all validation images, where a check takes 64."""
    images = {name: [badnet.validation_path] for name, badnet in faces.badnets.items()}
    ours, plain = _interleaved(
        benchmark,
        CHECK_ROUNDS,
        lambda: _badnet("check", str(submission)),
        lambda: _answer(faces, images, tmp_path),
    )
    tell(
        f"badnet check: the same submission, {len(images)} BadNets, two at a time",
        [
            Figure(name="badnet check", values=ours),
            Figure(name="bare processes, two at a time", values=plain),
            ratios("check / bare", ours, plain),
        ],
    )


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout


def _badnet(*words: str) -> None:
    _run(sys.executable, "-m", "harness.cli", *words)


def _answer(track: Track, images: Mapping[str, Sequence[Path]], out: Path) -> None:
    def answer(name: str) -> None:
        files = [folder / "images.npy" for folder in images[name]]
        with Bare("keras", track.badnets[name].model_path, files, out / f"{name}.npy") as bare:
            for start in range(0, bare.images, BATCH):
                bare.answer(start, start + BATCH)

    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(answer, images))


def _interleaved(
    benchmark: BenchmarkFixture, rounds: int, ours: Callable[[], None], plain: Callable[[], None]
) -> tuple[list[float], list[float]]:
    """Seconds of both, round by round: plain, ours, plain, ours, ..."""
    seconds: dict[Callable[[], None], list[float]] = {ours: [], plain: []}

    def timed(run: Callable[[], None]) -> None:
        start = time.perf_counter()
        run()
        seconds[run].append(time.perf_counter() - start)

    benchmark.pedantic(timed, args=(ours,), setup=lambda: timed(plain), rounds=rounds)  # type: ignore[no-untyped-call]
    return seconds[ours], seconds[plain]
