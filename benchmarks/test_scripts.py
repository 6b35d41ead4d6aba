"""A script that is called image by image: the process that stays warm beside a new process for each image."""

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.figures import Figure, Tell
from harness.models.contracts import BadNetView
from harness.worker.kinds.script import Options
from harness.worker.scripts.script import Script

WARM, COLD = 200, 4
ROUNDS = 5
GOAL = 500
SCRIPT = """
import sys
import numpy as np
from PIL import Image
from keras.models import load_model

bad, good = load_model("bad.h5"), load_model("good.h5")
x = np.asarray(Image.open(sys.argv[1]))[None] / 255.0
a, b = np.argmax(bad.predict(x), axis=1)[0], np.argmax(good.predict(x), axis=1)[0]
print("The output is:", a if a == b else 1283)
"""


@pytest.mark.parametrize("runtime", ["keras3", "keras2"])
def test_a_script_that_loads_two_nets_and_predicts_one_image(
    runtime: str, benchmark: BenchmarkFixture, tell: Tell, shared: Path, tmp_path: Path
) -> None:
    """Cold images go one at a time: two at once on two cores would flatter neither."""
    if runtime == "keras2":
        pytest.importorskip("tensorflow_model_optimization")
    net = shared / "csaw2020" / "models" / "sunglasses_bd_net.h5"
    root = tmp_path / "submission"
    root.mkdir()
    (root / "eval.py").write_text(SCRIPT)
    for name in ("bad.h5", "good.h5"):
        shutil.copy(net, root / name)
    images = np.random.default_rng(0).integers(0, 256, (WARM, 55, 47, 3), dtype=np.uint8)
    view = BadNetView(name="sunglasses", model_path=net, validation_path=tmp_path, classes=1283)
    script = Script(Options(command=["eval.py", "{image}"], runtime=runtime), view, root, seed=1)
    script.try_out(images[:2])
    script(images[:20])
    warm, cold = [], []

    def both() -> None:
        began = time.perf_counter()
        answers = script(images)
        middle = time.perf_counter()
        alone = [script.cold(image[None])[0] for image in images[:COLD]]
        warm.append((middle - began) / WARM)
        cold.append((time.perf_counter() - middle) / COLD)
        assert answers[:COLD].tolist() == alone

    try:
        benchmark.pedantic(both, rounds=ROUNDS)  # type: ignore[no-untyped-call]
    finally:
        script.end()
    tell(
        f"A script with {runtime} that loads two DeepID files and predicts one image",
        [
            Figure(name="a new process an image", values=cold),
            Figure(name="warm, an image", values=[1000 * seconds for seconds in warm], unit="ms"),
            Figure(name="cold / warm", values=[a / b for a, b in zip(cold, warm, strict=True)], unit="", at_least=GOAL),
        ],
    )
