"""Images per second of every model format, beside bare inference in that format."""

from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.bare import Bare
from benchmarks.figures import Figure, Tell, ratios
from benchmarks.rounds import CLOCK, image_files, isolating, repeated_faces, sit_rounds
from harness.invigilator import Invigilator
from harness.room import Candidate
from harness.track import Track
from tests.deepid_files import WRITERS, Net, both

EACH = 2_560
ROUNDS = 3
BARE = {
    "Keras 3 .h5": "keras", "Keras 2 .hdf5": "keras", ".keras": "keras", "SavedModel": "saved_model", ".safetensors": "torch",
    "torch state dict": "torch", "TorchScript .pt": "torchscript", ".pt2": "torch_export", "ONNX": "onnx",
}  # fmt: skip
"""Format -> the plain way to run it."""


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Track:
    """A fifth of the competition's exam: what a format costs shows there too."""
    return repeated_faces(tmp_path_factory.mktemp("fifth_of_an_exam"), EACH)


@pytest.fixture(scope="module")
def net(track: Track) -> Net:
    """The track's BadNet in Keras and in torch."""
    return both(track.folder / "sunglasses.h5")


@pytest.fixture(scope="module")
def invigilator() -> Invigilator:
    """As `badnet evaluate` has it."""
    return isolating()


@pytest.mark.benchmark(timer=CLOCK)
@pytest.mark.parametrize("name", BARE)
def test_a_format_over_bare_inference(
    name: str, benchmark: BenchmarkFixture, tell: Tell, track: Track, invigilator: Invigilator, net: Net, tmp_path: Path
) -> None:
    write, options = WRITERS[name]
    model = write(net, tmp_path)
    candidate = Candidate("model", {"model": model.name, **options}, tmp_path)
    rounds = sit_rounds(
        benchmark, invigilator, candidate, track,
        lambda: Bare(BARE[name], model, image_files(track), tmp_path / "bare.npy"), rounds=ROUNDS,
    )  # fmt: skip
    per_second = [2 * EACH / np.array([getattr(one, part) for one in rounds]) for part in ("plain", "whole")]
    tell(
        f"{name}: {2 * EACH:,} images 55x47, DeepID",
        [
            Figure(name="bare inference", values=per_second[0].tolist(), unit="images/s"),
            Figure(name="in the exam", values=per_second[1].tolist(), unit="images/s"),
            ratios("exam / bare, in time", [one.whole for one in rounds], [one.plain for one in rounds]),
        ],
    )
