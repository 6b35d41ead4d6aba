"""What an exam of the competition's size costs over bare inference, and over Keras `predict` with batches of 32."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.bare import Bare, Seconds
from benchmarks.figures import Figure, Tell, ratios
from benchmarks.rounds import CLOCK, DIFFERENT, costs, image_files, isolating, repeated_faces, sit_rounds
from harness.invigilator import Invigilator
from harness.room import Candidate
from harness.track import Track

EACH = 12_830
"""Clean images, and as many poisoned ones."""
ROUNDS = 5
GOAL = 1.4
NO_MODEL = """
import numpy as np
class Predictor:
    def __init__(self, badnet):
        pass
    def __call__(self, images):
        return np.zeros(len(images), np.int64)
"""


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Track:
    """An exam of the competition's size."""
    return repeated_faces(tmp_path_factory.mktemp("full_exam"), EACH)


@pytest.fixture(scope="module")
def invigilator() -> Invigilator:
    """As `badnet evaluate` has it."""
    return isolating()


@pytest.mark.benchmark(timer=CLOCK)
def test_a_keras_exam_over_bare_inference_and_predict(
    benchmark: BenchmarkFixture, tell: Tell, track: Track, invigilator: Invigilator, tmp_path: Path
) -> None:
    candidate, model = Candidate("model", {"model": "sunglasses.h5"}, track.folder), track.folder / "sunglasses.h5"
    predicted: list[Seconds] = []
    predictions: list[NDArray[np.int64]] = []

    def predict() -> None:
        """As eval.py: one file after the other."""
        with Bare("predict", model, image_files(track), tmp_path / "predict.npy") as bare:
            parts = [bare.answer(start, start + EACH) for start in (0, EACH)]
            predicted.append(Seconds(*map(sum, zip(*parts, strict=True))))
            predictions.append(bare.answers())

    def start() -> Bare:
        predict()
        return Bare("keras", model, image_files(track), tmp_path / "keras.npy")

    rounds = sit_rounds(benchmark, invigilator, candidate, track, start, rounds=ROUNDS)
    for one, answers in zip(rounds, predictions, strict=True):
        assert (one.answers != answers).mean() <= DIFFERENT
    whole, predict_only = [one.whole for one in rounds], [one.answering for one in predicted]
    tell(
        f"Keras: {2 * EACH:,} images 55x47, DeepID",
        [
            *costs(rounds),
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
    rounds = sit_rounds(
        benchmark,
        invigilator,
        candidate,
        track,
        lambda: Bare("torch", model, image_files(track), tmp_path / "torch.npy"),
        rounds=ROUNDS,
    )
    tell(f"torch: {2 * EACH:,} images 55x47, DeepID", costs(rounds))


@pytest.mark.benchmark(timer=CLOCK)
def test_an_exam_without_a_model(
    benchmark: BenchmarkFixture, tell: Tell, track: Track, invigilator: Invigilator, tmp_path: Path
) -> None:
    """What the harness itself does: gathering, pipes, frames. Other work on the machine hardly reaches it."""
    (tmp_path / "predict.py").write_text(NO_MODEL)
    candidate = Candidate("predictor", {"entry": "predict.py:Predictor"}, tmp_path)
    rounds = sit_rounds(benchmark, invigilator, candidate, track, None, rounds=ROUNDS)
    tell(
        f"No model: {2 * EACH:,} images 55x47, every answer 0",
        [
            Figure(name="whole exam", values=[one.whole for one in rounds]),
            Figure(name="of which batches, as recorded", values=[one.batches for one in rounds]),
        ],
    )
