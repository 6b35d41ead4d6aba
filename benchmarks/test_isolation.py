"""What the sandbox costs an honest submission: the same worker without namespaces, filter and watchdog, batch by batch."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.figures import Figure, Tell, ratios
from benchmarks.rounds import isolating, repeated_faces
from harness.exam import Exam
from harness.images import silent
from harness.invigilator import BATCH, Invigilator
from harness.room import Candidate, Room
from harness.sandbox.limits import Limits
from harness.sandbox.process import SandboxedProcess
from harness.track import Track

EACH = 6_000
ROUNDS = 7
COST = 1.03
# Many small system calls for each image, and hardly any other work: the worst case for a filter of calls.
FILES = """
import tempfile
import numpy as np
class Predictor:
    def __init__(self, badnet):
        pass
    def __call__(self, images):
        for image in images:
            with tempfile.TemporaryFile(dir="/dev/shm") as file:
                file.write(image.tobytes())
                file.seek(0)
                file.read()
        return np.zeros(len(images), np.int64)
"""


class Plain:
    """No sandbox, no limits, nobody who watches: the worker as any program."""

    name, isolates, counts_anew, gpu = "plain", False, False, False

    def check(self) -> None:
        pass

    def place(self, mounts: Mapping[str, Path]) -> "Plain":
        self.paths: Mapping[str, str] = {inside: str(path.resolve()) for inside, path in mounts.items()}
        return self

    def run(self, command: Sequence[str], *, environment: Mapping[str, str], limits: Limits) -> SandboxedProcess:
        with patch("harness.sandbox.process.Watchdog"):
            return SandboxedProcess(command, environment=environment, limits=limits, end=end)


def end(process: "subprocess.Popen[bytes]") -> None:
    os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def seated(invigilator: Invigilator, candidate: Candidate, track: Track) -> Iterator[Room]:
    room = Room(invigilator, candidate, track, track.badnets["sunglasses"], 1)
    try:
        room.seat(silent)
        yield room
    finally:
        room.clear()


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Track:
    return repeated_faces(tmp_path_factory.mktemp("isolation"), EACH)


@pytest.mark.parametrize("what", ["a Keras net", "a torch net", "files for every image"])
def test_an_honest_submission_in_the_sandbox_and_without_it(
    what: str, benchmark: BenchmarkFixture, tell: Tell, track: Track, tmp_path: Path
) -> None:
    candidate = candidate_of(what, track, tmp_path)
    exam = Exam(track.badnets["sunglasses"], 1)
    batches = [np.arange(start, min(start + BATCH, len(exam))) for start in range(0, len(exam), BATCH)]
    isolated: list[float] = []
    plain: list[float] = []
    with ExitStack() as stack:
        rooms = [
            stack.enter_context(seated(invigilator, candidate, track))
            for invigilator in (isolating(), Invigilator(Plain(), Limits()))
        ]

        def one_round() -> None:
            seconds, answers = [0.0, 0.0], [[], []]  # type: ignore[var-annotated]
            for room in rooms:
                room.begin()
            for number, batch in enumerate(batches):
                images = exam.images_at(batch)
                for which in (0, 1) if number % 2 else (1, 0):
                    taken, given = rooms[which].ask(images)
                    seconds[which] += taken
                    answers[which].append(given)
            assert (np.concatenate(answers[0]) == np.concatenate(answers[1])).all()
            isolated.append(seconds[0])
            plain.append(seconds[1])

        benchmark.pedantic(one_round, rounds=ROUNDS, warmup_rounds=1)  # type: ignore[no-untyped-call]
    tell(
        f"{what}: {len(exam):,} images in the sandbox and without it",
        [
            Figure(name="without", values=plain[1:]),
            Figure(name="in the sandbox", values=isolated[1:]),
            ratios("in the sandbox / without", isolated[1:], plain[1:], at_most=COST),
        ],
    )


def candidate_of(what: str, track: Track, folder: Path) -> Candidate:
    if what == "a Keras net":
        return Candidate("model", {"model": "sunglasses.h5"}, track.folder)
    if what == "files for every image":
        (folder / "predict.py").write_text(FILES)
        return Candidate("predictor", {"entry": "predict.py:Predictor"}, folder)
    from safetensors.torch import save_file

    from harness.models.keras_to_torch import convert

    save_file(convert(track.folder / "sunglasses.h5").state_dict(), folder / "net.safetensors")
    return Candidate("model", {"model": "net.safetensors", "architecture": "deepid"}, folder)
