"""What every reference defense costs a net; Neural Cleanse by labels a second, and over all labels of a real net."""

import dataclasses
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.at_work import Cost, apart, repair
from benchmarks.conftest import ROOT
from benchmarks.figures import Figure, Tell, ratios
from benchmarks.reversals import FIRST, rates, scan_all
from harness.defenders import defender_names, find_defender
from harness.models.contracts import OracleView
from harness.oracle import given_to_oracle
from harness.preparation import prepare
from harness.track import Track, find_track
from tests.stand_in import competition_track, view_of

T = TypeVar("T")
BADNET = "sunglasses"
"""Of both tracks."""
LABELS, ALONE, ROUNDS = 64, 8, 3
AGREE = 0.75
"""Of the labels: whether a step succeeds may hang on how one image's sums are rounded."""
SCAN_SECONDS = 600.0
ORACLES = {
    submission["entry"]
    for submission in (tomllib.loads(path.read_text()) for path in ROOT.glob("submissions/*/submission.toml"))
    if submission.get("oracle")
}


@pytest.fixture(scope="module")
def faces() -> Track:
    """The faces track, its images made."""
    track = find_track("faces")
    prepare(track)
    return track


@pytest.fixture(scope="module")
def poisoned(faces: Track) -> Iterator[Path]:
    """What an oracle is given besides."""
    with given_to_oracle(faces.badnets[BADNET], seed=0) as folder:
        yield Path(folder)


@pytest.fixture
def competition(shared: Path, tmp_path: Path) -> Track:
    """A real net of the competition with 2,000 validation images, stand-ins, which it is sure of; skips without them."""
    return competition_track(tmp_path, BADNET)


@pytest.mark.parametrize("name", defender_names())
def test_a_repair(name: str, benchmark: BenchmarkFixture, tell: Tell, faces: Track, poisoned: Path) -> None:
    """One round: the slowest take minutes."""
    badnet = view_of(faces, BADNET)
    entry = find_defender(name, faces, [BADNET], []).tables[BADNET]["entry"]
    if entry in ORACLES:
        badnet = OracleView(**dataclasses.asdict(badnet), poisoned_path=poisoned)
    cost = once(benchmark, repair, entry, badnet)
    tell(f"{name}, default options: one BadNet of faces, {len(badnet.validation().labels)} images", figures(cost))


@pytest.mark.parametrize("track", ["faces", "competition"])
def test_labels_at_once_and_one_at_a_time(
    track: str, benchmark: BenchmarkFixture, tell: Tell, request: pytest.FixtureRequest
) -> None:
    """In turn, in one process. One at a time goes through fewer labels: the rate is the same for all."""
    badnet = view_of(request.getfixturevalue(track), BADNET)
    found = once(benchmark, rates, badnet, labels=LABELS, alone=ALONE, rounds=ROUNDS)
    tell(
        f"Neural Cleanse, {track}: {badnet.classes:,} classes, {FIRST.steps} steps of {FIRST.images} images a label",
        [
            Figure(name=f"{LABELS} labels at once", values=found.at_once, unit="labels/s"),
            Figure(name="one at a time", values=found.one_at_a_time, unit="labels/s"),
            ratios("at once / one at a time", found.at_once, found.one_at_a_time),
        ],
    )
    assert found.agree >= AGREE


def test_a_scan_of_all_labels_of_a_real_net(benchmark: BenchmarkFixture, tell: Tell, competition: Track) -> None:
    badnet = view_of(competition, BADNET)
    found = once(benchmark, scan_all, badnet, alone=ALONE)
    scanned, alone = [badnet.classes / found.cost.seconds], [found.one_at_a_time]
    tell(
        f"Neural Cleanse, {badnet.name} of the competition: the scan of all {badnet.classes:,} labels",
        [
            *figures(found.cost, at_most=SCAN_SECONDS),
            Figure(name="the scan", values=scanned, unit="labels/s"),
            Figure(name="one at a time, all of its steps", values=alone, unit="labels/s"),
            ratios("scan / one at a time", scanned, alone),
        ],
    )
    assert set(found.targets) == {it.target for it in competition.spec.badnets[BADNET].triggers.values()}


def once(benchmark: BenchmarkFixture, work: Callable[..., T], *told: Any, **more: Any) -> T:
    """One round in a new process, whose start pytest-benchmark counts; what `work` measured leaves it out."""
    result: T = benchmark.pedantic(apart, args=(work, *told), kwargs=more, rounds=1)  # type: ignore[no-untyped-call]
    return result


def figures(cost: Cost, *, at_most: float | None = None) -> list[Figure]:
    """Time, which may have a budget, and memory."""
    return [
        Figure(name="time", values=[cost.seconds], at_most=at_most),
        Figure(name="peak memory", values=[cost.peak_bytes / 1e9], unit="GB"),
    ]
