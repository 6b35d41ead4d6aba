"""Sittings in a track of the competition's size, each beside a bare process that answers the same images."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.bare import Bare
from benchmarks.figures import Figure, ratios
from harness.errors import MachineError
from harness.images import ImageSet
from harness.invigilator import BATCH, Invigilator
from harness.preparation import prepare
from harness.room import Candidate
from harness.sandbox import find_sandbox
from harness.sandbox.limits import Limits
from harness.sitting import Sitting
from harness.track import BadNetSets, Manifest, Track, find_track

COST = 1.10
DIFFERENT = 0.001
"""The share of answers that may differ between batch sizes and libraries: two classes as good as equal."""
SETS = ("clean", "sunglasses")
TRACK_TOML = """
name = "full_exam"
title = "the faces track's images again and again"
classes = 100
shape = [55, 47, 3]
source = "synthetic_faces"
[badnets.sunglasses]
model = "sunglasses.h5"
triggers.sunglasses.target = 0
"""


class Clock:
    """Seconds, without those in which a baseline had its turn."""

    def __init__(self) -> None:
        self._paused = 0.0

    def __call__(self) -> float:
        return time.perf_counter() - self._paused

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stand still until the end of the block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._paused += time.perf_counter() - start


CLOCK = Clock()


class Round:
    """One sitting. After each batch the bare process has as many images: what slows one of the two slows the other."""

    def __init__(self, bare: Bare | None) -> None:
        self.bare = bare
        self.answered: list[float] = []
        self.bare_seconds: list[float] = []
        self.sitting: Sitting | None = None

    def report(self, what: str, done: int, _total: int) -> None:
        """A `Report` that notes when each batch was answered."""
        if what != "answering":
            return
        self.answered.append(CLOCK())
        if self.bare:
            with CLOCK.paused():
                self.bare_seconds.append(self.bare.answer(len(self.bare_seconds) * BATCH, done).answering)

    @property
    def plain(self) -> float:
        """Seconds of the bare process for all images."""
        return sum(self.bare_seconds)

    @property
    def batches(self) -> float:
        """Seconds that the record states: from the first byte of each batch to its last answer, all batches together."""
        assert self.sitting
        return float(self.sitting.batch_seconds.sum())

    @property
    def whole(self) -> float:
        """Seconds of everything between the first batch and the last answer, the gathering of images too."""
        assert self.sitting
        return self.answered[-1] - self.answered[0] + float(self.sitting.batch_seconds[0])

    @property
    def answers(self) -> NDArray[np.int32]:
        """In the order of the files."""
        assert self.sitting and self.sitting.failure is None, self.sitting
        return np.concatenate([self.sitting.clean, self.sitting.poisoned["sunglasses"]])


def repeated_faces(folder: Path, each: int) -> Track:
    """A BadNet of the faces track with so many clean and as many poisoned images."""
    faces = find_track("faces")
    prepare(faces)
    badnet = faces.badnets["sunglasses"]
    shutil.copyfile(badnet.model_path, folder / "sunglasses.h5")
    for name, images in (("clean", badnet.test), ("sunglasses", badnet.poisoned["sunglasses"].images)):
        which = np.arange(each) % len(images)
        ImageSet(images=images.images[which], labels=images.labels[which]).save(folder / name)
    ImageSet.load(badnet.validation_path).save(folder / "validation")
    (folder / "track.toml").write_text(TRACK_TOML)
    made = Track(folder)
    sets = BadNetSets(
        model="sunglasses.h5", validation="validation", test="clean", poisoned={"sunglasses": "sunglasses"}
    )
    made.write_manifest(Manifest(badnets={"sunglasses": sets}, files={}))
    return made


def isolating() -> Invigilator:
    """As `badnet evaluate` has it: bubblewrap and the default limits; skips where this machine cannot isolate."""
    sandbox = find_sandbox("bubblewrap")
    try:
        sandbox.check()
    except MachineError as error:
        pytest.skip(str(error))
    return Invigilator(sandbox, Limits())


def image_files(track: Track) -> list[Path]:
    """The track's images in the order of an exam's sections."""
    return [track.folder / name / "images.npy" for name in SETS]


def sit_rounds(
    benchmark: BenchmarkFixture, invigilator: Invigilator, candidate: Candidate, track: Track,
    start: Callable[[], Bare] | None, *, rounds: int,
) -> list[Round]:  # fmt: skip
    """Sittings, each beside a bare process that `start` starts; both must give the same answers."""
    sat: list[Round] = []

    def sit() -> None:
        badnet = track.badnets["sunglasses"]
        sat[-1].sitting = invigilator.sit(candidate, track, badnet, seed=len(sat), report=sat[-1].report)

    def begin() -> None:
        sat.append(Round(stack.enter_context(start()) if start else None))

    def finish() -> None:
        one = sat[-1]
        if one.bare:
            assert (one.answers != one.bare.answers()).mean() <= DIFFERENT

    with ExitStack() as stack:
        benchmark.pedantic(sit, setup=begin, teardown=finish, rounds=rounds)  # type: ignore[no-untyped-call]
    return sat


def costs(rounds: Sequence[Round]) -> list[Figure]:
    plain, whole, batches = ([getattr(one, name) for one in rounds] for name in ("plain", "whole", "batches"))
    return [
        Figure(name="bare inference", values=plain),
        Figure(name="the harness's whole exam", values=whole),
        Figure(name="of which batches, as recorded", values=batches),
        ratios("whole exam / bare", whole, plain, at_most=COST),
        ratios("batches / bare", batches, plain),
    ]
