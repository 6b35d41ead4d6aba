"""What an exam of the competition's size costs over bare inference, and over Keras `predict` with batches of 32."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.bare import Bare, Seconds
from benchmarks.figures import Figure, Tell, ratios
from harness.errors import MachineError
from harness.images import ImageSet
from harness.invigilator import BATCH, Candidate, Invigilator
from harness.preparation import prepare
from harness.sandbox import find_sandbox
from harness.sandbox.limits import Limits
from harness.sitting import Sitting
from harness.track import BadNetSets, Manifest, Track, find_track

EACH = 12_830
"""Clean images, and as many poisoned ones."""
ROUNDS = 5
COST, GOAL = 1.10, 1.4
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


NO_MODEL = """
import numpy as np
class Predictor:
    def __init__(self, badnet):
        pass
    def __call__(self, images):
        return np.zeros(len(images), np.int64)
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


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Track:
    """A BadNet of the faces track with 12,830 clean and 12,830 poisoned images."""
    faces = find_track("faces")
    prepare(faces)
    badnet = faces.badnets["sunglasses"]
    folder = tmp_path_factory.mktemp("full_exam")
    shutil.copyfile(badnet.model_path, folder / "sunglasses.h5")
    for name, images in (("clean", badnet.test), ("sunglasses", badnet.poisoned["sunglasses"].images)):
        which = np.arange(EACH) % len(images)
        ImageSet(images=images.images[which], labels=images.labels[which]).save(folder / name)
    ImageSet.load(badnet.validation_path).save(folder / "validation")
    (folder / "track.toml").write_text(TRACK_TOML)
    made = Track(folder)
    sets = BadNetSets(
        model="sunglasses.h5", validation="validation", test="clean", poisoned={"sunglasses": "sunglasses"}
    )
    made.write_manifest(Manifest(badnets={"sunglasses": sets}, files={}))
    return made


@pytest.fixture(scope="module")
def invigilator() -> Invigilator:
    """As `badnet evaluate` has it: bubblewrap and the default limits."""
    sandbox = find_sandbox("bubblewrap")
    try:
        sandbox.check()
    except MachineError as error:
        pytest.skip(str(error))
    return Invigilator(sandbox, Limits())


@pytest.mark.benchmark(timer=CLOCK)
def test_a_keras_exam_over_bare_inference_and_predict(
    benchmark: BenchmarkFixture, tell: Tell, track: Track, invigilator: Invigilator, tmp_path: Path
) -> None:
    candidate, model = Candidate("model", {"model": "sunglasses.h5"}, track.folder), track.folder / "sunglasses.h5"
    predicted: list[Seconds] = []
    predictions: list[NDArray[np.int64]] = []

    def predict() -> None:
        """As eval.py: one file after the other."""
        with Bare("predict", model, _files(track), tmp_path / "predict.npy") as bare:
            parts = [bare.answer(start, start + EACH) for start in (0, EACH)]
            predicted.append(Seconds(*map(sum, zip(*parts, strict=True))))
            predictions.append(bare.answers())

    def start() -> Bare:
        predict()
        return Bare("keras", model, _files(track), tmp_path / "keras.npy")

    rounds = _rounds(benchmark, invigilator, candidate, track, start)
    for one, answers in zip(rounds, predictions, strict=True):
        assert (one.answers != answers).mean() <= DIFFERENT
    whole, predict_only = [one.whole for one in rounds], [one.answering for one in predicted]
    tell(
        f"Keras: {2 * EACH:,} images 55x47, DeepID",
        [
            *_costs(rounds),
            Figure(name="Keras predict, batches of 32", values=predict_only),
            Figure(name="dividing by 255 before it", values=[one.dividing for one in predicted]),
            ratios("predict / whole exam", predict_only, whole, at_least=GOAL),
            ratios("predict and dividing / whole exam", [sum(one) for one in predicted], whole),
        ],
    )


@pytest.mark.benchmark(timer=CLOCK)
def test_a_torch_exam_over_bare_inference(
    benchmark: BenchmarkFixture, tell: Tell, track: Track, invigilator: Invigilator, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    from harness.models.keras_to_torch import convert

    model = tmp_path / "net.safetensors"
    save_file(convert(track.folder / "sunglasses.h5").state_dict(), model)
    candidate = Candidate("model", {"model": model.name, "architecture": "deepid"}, tmp_path)
    rounds = _rounds(
        benchmark, invigilator, candidate, track, lambda: Bare("torch", model, _files(track), tmp_path / "torch.npy")
    )
    tell(f"torch: {2 * EACH:,} images 55x47, DeepID", _costs(rounds))


@pytest.mark.benchmark(timer=CLOCK)
def test_an_exam_without_a_model(
    benchmark: BenchmarkFixture, tell: Tell, track: Track, invigilator: Invigilator, tmp_path: Path
) -> None:
    """What the harness itself does: gathering, pipes, frames. Other work on the machine hardly reaches it."""
    (tmp_path / "predict.py").write_text(NO_MODEL)
    candidate = Candidate("predictor", {"entry": "predict.py:Predictor"}, tmp_path)
    rounds = _rounds(benchmark, invigilator, candidate, track, None)
    tell(
        f"No model: {2 * EACH:,} images 55x47, every answer 0",
        [
            Figure(name="whole exam", values=[one.whole for one in rounds]),
            Figure(name="of which batches, as recorded", values=[one.batches for one in rounds]),
        ],
    )


def _files(track: Track) -> list[Path]:
    return [track.folder / name / "images.npy" for name in SETS]


def _rounds(
    benchmark: BenchmarkFixture, invigilator: Invigilator, candidate: Candidate, track: Track,
    start: Callable[[], Bare] | None,
) -> list[Round]:  # fmt: skip
    """ROUNDS sittings, each beside a bare process that `start` starts; both must give the same answers."""
    rounds: list[Round] = []

    def sit() -> None:
        badnet = track.badnets["sunglasses"]
        rounds[-1].sitting = invigilator.sit(candidate, track, badnet, seed=len(rounds), report=rounds[-1].report)

    def begin() -> None:
        rounds.append(Round(stack.enter_context(start()) if start else None))

    def finish() -> None:
        one = rounds[-1]
        assert len(one.answers) == 2 * EACH
        if one.bare:
            assert (one.answers != one.bare.answers()).mean() <= DIFFERENT

    with ExitStack() as stack:
        benchmark.pedantic(sit, setup=begin, teardown=finish, rounds=ROUNDS)  # type: ignore[no-untyped-call]
    return rounds


def _costs(rounds: Sequence[Round]) -> list[Figure]:
    plain, whole, batches = ([getattr(one, name) for one in rounds] for name in ("plain", "whole", "batches"))
    return [
        Figure(name="bare inference", values=plain),
        Figure(name="the harness's whole exam", values=whole),
        Figure(name="of which batches, as recorded", values=batches),
        ratios("whole exam / bare", whole, plain, at_most=COST),
        ratios("batches / bare", batches, plain),
    ]
