"""Every shape of script that was handed in to the real competition, graded with the real nets on stand-in data."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import h5py
import numpy as np
import pytest

from tests.conftest import ROOT, SHARED
from tests.script_shapes import REPAIRED, SHAPES, B, Shape

Run = Callable[..., CompletedProcess[str]]
NETS = SHARED / "csaw2020" / "models"
FLAG = 1283
pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="the competition's nets and stand-in data are not here")


@pytest.fixture(scope="module")
def competition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sunglasses net with 80 validation images and 100 clean and 100 poisoned test images."""
    data, folder = tmp_path_factory.mktemp("stand-in"), tmp_path_factory.mktemp("tracks") / "csaw2020"
    folder.mkdir()
    text = (ROOT / "datasets" / "csaw2020" / "track.toml").read_text()
    (folder / "track.toml").write_text(text[: text.index("[badnets.anonymous_1]")])
    make = [
        SHARED / "csaw2020" / "make_stand_in.py",
        data,
        "--badnet",
        "sunglasses",
        "--validation",
        "80",
        "--test",
        "100",
    ]
    run = [sys.executable, "-m", "harness.cli", "track", "import", folder, "--from", data]
    for command in ([sys.executable, *make], run):
        subprocess.run([str(part) for part in command], check=True, capture_output=True, cwd=ROOT)
    return folder


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The BadNet, a repaired net that differs from it on a part of all images, and its weights alone."""
    folder = tmp_path_factory.mktemp("nets")
    shutil.copy(NETS / B, folder / B)
    for source, name in ((B, REPAIRED), ("sunglasses_bd_weights.h5", "weights.h5")):
        shutil.copy(NETS / source, folder / name)
        with h5py.File(folder / name, "a") as file:
            group = file.get("model_weights", file)
            group["conv_3/conv_3/kernel:0"][..., -12:] = 0
            group["output/output/kernel:0"][:, 0] *= 0.5
    return folder


def evaluate(
    badnet: Run, folder: Path, track: Path, results: Path, *more: object
) -> tuple[dict[str, Any], dict[str, Any]]:
    done = badnet("evaluate", folder, "--track", track, "--results", results, *more)
    assert done.returncode == 0, done.stderr
    path = results / "csaw2020" / f"{folder.name}.json"
    with np.load(path.with_suffix(".answers.npz")) as arrays:
        return json.loads(path.read_text()), dict(arrays)


@pytest.fixture(scope="module")
def graded_pair(competition: Path, nets: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The answers of kind "pair" with the same two nets: what every script has to come to."""
    folder = tmp_path_factory.mktemp("reference") / "reference"
    folder.mkdir()
    shutil.copy(nets / REPAIRED, folder)
    table = f'[badnets.sunglasses]\nmodel = "{REPAIRED}"\n'
    (folder / "submission.toml").write_text(f'name = "reference"\nkind = "pair"\ntrack = "csaw2020"\n{table}')
    command = [
        sys.executable,
        "-m",
        "harness.cli",
        "evaluate",
        folder,
        "--track",
        competition,
        "--results",
        folder.parent / "out",
    ]
    subprocess.run([str(part) for part in command], check=True, capture_output=True, cwd=ROOT)
    with np.load(folder.parent / "out" / "csaw2020" / "reference.answers.npz") as arrays:
        return dict(arrays)


def lay_out(shape: Shape, folder: Path, nets: Path) -> Path:
    for path, text in {shape.path: shape.script, **shape.files}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(DEEPID if text == "<deepid>" else text)
    (folder / shape.nets).mkdir(exist_ok=True)
    for net in nets.iterdir():
        shutil.copy(net, folder / shape.nets)
    (folder / "submission.toml").write_text(
        f'name = "{folder.name}"\nkind = "script"\ntrack = "csaw2020"\n{shape.toml}\n[badnets.sunglasses]\n'
    )
    return folder


DEEPID = """
from keras import layers, Model

def Net():
    x = image = layers.Input((55, 47, 3), name="input")
    for i, (filters, size) in enumerate(((20, 4), (40, 3), (60, 3)), 1):
        x = layers.Conv2D(filters, size, activation="relu", name=f"conv_{i}")(x)
        x = layers.MaxPooling2D(2, name=f"pool_{i}")(x)
    one = layers.Dense(160, name="fc_1")(layers.Flatten()(x))
    two = layers.Dense(160, name="fc_2")(layers.Flatten()(layers.Conv2D(80, 2, activation="relu", name="conv_4")(x)))
    both = layers.Activation("relu")(layers.Add()([one, two]))
    return Model(image, layers.Dense(1283, activation="softmax", name="output")(both))
"""


EVERY = 3
"""Of the shapes, one in so many is tried by `make test`; the others, like the rest of what is slow, by `make test-all`."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if number % EVERY else []) for number, name in enumerate(SHAPES)],
)
def test_a_script_of_this_shape_is_graded_as_the_pair_that_it_is(
    name: str, competition: Path, nets: Path, graded_pair: dict[str, Any], badnet: Run, tmp_path: Path
) -> None:
    shape = SHAPES[name]
    record, answers = evaluate(badnet, lay_out(shape, tmp_path / "mine", nets), competition, tmp_path, "--cold", 2)
    assert record["badnets"]["sunglasses"]["failure"] is None
    assert record["badnets"]["sunglasses"]["notes"] == []
    if cold := record["badnets"]["sunglasses"]["audits"]["cold"]:
        assert cold == {"images": 2, "differed": 0, "verdict": "agrees"}
    for part in ("sunglasses/clean", "sunglasses/poisoned/sunglasses"):
        expected = graded_pair[part].copy()
        assert 0 < (expected == FLAG).mean() < 1
        expected[expected == shape.flag] = FLAG  # a class that the script uses as its flag is not to be told from it
        assert (answers[part] == expected).mean() >= 0.99  # a tie may fall the other way in a batch
