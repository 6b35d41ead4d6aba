"""Models of every format take another input without being read anew; a wrong one is told, and a missing one is found."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from harness.models.any_model import load_classifier
from harness.models.contracts import BadNetView, Images
from harness.models.errors import ModelError
from harness.models.input_choice import InputChoice
from harness.models.quiet import import_keras
from harness.models.settings import ModelSettings
from harness.track import Track
from harness.worker import notes
from harness.worker.kinds import find_kind
from tests.deepid_files import FACE, WRITERS, Net, lively
from tests.small_nets import SHARED, needs_csaw, noise
from tests.test_formats import export_nhwc, keras_nchw, saved, saved_nchw

N = 6
IMAGES = noise(20, FACE)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Net:
    return lively(tmp_path_factory.mktemp("lively"), N)


def rows(net: Net, images: Images, scale: float) -> Any:
    return net.keras(images.astype(np.float32) / scale).numpy().argmax(1)


# --- one model, several inputs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", WRITERS)
def test_a_model_of_any_format_takes_another_input_without_being_read_anew(
    form: str, net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("detector", "model"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    write, options = WRITERS[form]
    path = write(net, tmp_path)
    model = load_classifier(path, ModelSettings(classes=N, root=tmp_path, **options))
    path.rename(tmp_path / "gone")
    want = {
        InputChoice(scale=255.0): rows(net, IMAGES, 255),
        InputChoice(scale=20.0): rows(net, IMAGES, 20),
        InputChoice(scale=255.0, channels="bgr"): rows(net, IMAGES[..., ::-1], 255),
        InputChoice(scale=20.0, channels="bgr"): rows(net, IMAGES[..., ::-1], 20),
    }
    assert len({answers.tobytes() for answers in want.values()}) == len(want)
    for choice, answers in want.items():
        assert np.array_equal(model.with_input(choice)(IMAGES), answers)
    assert np.array_equal(model(IMAGES), want[InputChoice(scale=255.0)])


def test_another_scale_and_order_need_no_new_trace(net: Net, tmp_path: Path) -> None:
    model: Any = load_classifier(WRITERS[".keras"][0](net, tmp_path), ModelSettings(classes=N))
    for choice in (InputChoice(scale=1.0), InputChoice(scale=255.0, channels="bgr")):
        model.with_input(choice)(IMAGES)
    assert model._answer.experimental_get_tracing_count() == 1


def test_a_model_of_whole_numbers_refuses_to_have_them_divided(tmp_path: Path) -> None:
    def first_pixels(x: Any) -> Any:
        import tensorflow as tf

        return {"scores": tf.cast(tf.reshape(x, (-1, 55 * 47 * 3))[:, :N], tf.float32)}

    path = saved(tmp_path, {"serve": first_pixels}, pixels=((None, *FACE), "uint8"))
    model = load_classifier(path, ModelSettings(classes=N, scale=1.0))
    assert np.array_equal(
        model.with_input(InputChoice(scale=1.0, channels="bgr"))(IMAGES),
        IMAGES[..., ::-1].reshape(20, -1)[:, :N].argmax(1),
    )
    with pytest.raises(ModelError, match=r"takes uint8, which cannot be divided by 255; state scale = 1"):
        model.with_input(InputChoice(scale=255.0))


@pytest.mark.parametrize("write", [keras_nchw, saved_nchw, export_nhwc])
def test_the_layout_is_told_by_the_shape_of_the_input(write: Any, net: Net, tmp_path: Path) -> None:
    model = load_classifier(write(net, tmp_path), ModelSettings(classes=N, unsafe_pickle=True))
    assert np.array_equal(model(IMAGES), rows(net, IMAGES, 255))


# --- from submission.toml to the record -------------------------------------------------------------------------------

MODELS = """
kind = "model"
[badnets.first]
model = "unit.keras"
scale = 1
[badnets.second]
model = "reddish.pt"
architecture = "reddish.py:Reddish"
channels = "bgr"
[badnets.twin]
model = "raw.keras"
"""
REDDISH_PY = """
import torch
class Reddish(torch.nn.Module):
    # Class k has a reddish pair of rows.
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
    def forward(self, x):
        redness = self.weight * (x[:, 0] - x[:, 2])[:, :10, :8]
        return redness.unflatten(1, (5, 2)).sum((2, 3))
"""


def stripe_net(path: Path, *, largest: float | None, bias: float) -> None:
    """A net that sums up the five pairs of rows, of pixels cut off at `largest`; with a bias to class 1."""
    keras = import_keras()
    image = keras.layers.Input((12, 10, 3))
    x = keras.layers.Flatten()(keras.layers.ReLU(max_value=largest)(image))
    dense = keras.layers.Dense(5)
    model = keras.Model(image, dense(x))
    weights = np.zeros((12, 10, 3, 5), np.float32)
    for k in range(5):
        weights[2 * k : 2 * k + 2, :8, :, k] = 1
    dense.set_weights([weights.reshape(-1, 5), bias * (np.arange(5) == 1)])
    model.save(path)


@pytest.fixture
def submission(write_submission: Callable[..., Path]) -> Path:
    """Three models: of x / 255 stated raw, of RGB stated BGR, and of raw input with nothing stated."""
    import torch

    folder = write_submission("mine", MODELS, **{"reddish.py": REDDISH_PY})
    torch.save({"weight": torch.ones(())}, folder / "reddish.pt")
    stripe_net(folder / "unit.keras", largest=0.7, bias=0.0)
    stripe_net(folder / "raw.keras", largest=None, bias=1000.0)
    return folder


TOLD = {
    "first": ("your model seems to want x / 255: clean accuracy 100 % on", "set scale = 255"),
    "second": ("your model seems to want RGB: clean accuracy 100 % on", 'set channels = "rgb"'),
    "twin": ("inferred scale = 1, as your model seems to want raw 0..255 input: ", "state it to settle it"),
}
Run = Callable[..., CompletedProcess[str]]


def test_a_check_warns_of_a_wrong_input_and_says_what_was_inferred(
    submission: Path, badnet: Run, tiny_track_folder: Path
) -> None:
    checked = badnet("check", submission, "--track", tiny_track_folder)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for name, (beginning, end) in TOLD.items():
        [line] = [line for line in checked.stdout.splitlines() if line.startswith(f"warning {name}: {beginning}")]
        assert line.endswith(end)
    assert "twin: clean accuracy" not in checked.stdout


def test_the_record_says_so_too_and_grades_what_was_stated_or_inferred(
    submission: Path, badnet: Run, tiny_track_folder: Path, tmp_path: Path
) -> None:
    evaluated = badnet("evaluate", submission, "--track", tiny_track_folder, "--results", tmp_path)
    assert evaluated.returncode == 0, evaluated.stdout + evaluated.stderr
    record = json.loads((tmp_path / "tiny" / "mine.json").read_text())
    for name, (beginning, end) in TOLD.items():
        [told] = record["badnets"][name]["notes"]
        assert told.startswith(beginning)
        assert told.endswith(end)
        assert told in evaluated.stdout
    accuracy = {name: net["rates"]["clean_accuracy"]["value"] for name, net in record["badnets"].items()}
    assert accuracy["twin"] == 1
    assert max(accuracy["first"], accuracy["second"]) < 0.5


def test_in_a_pair_the_repaired_model_is_looked_at_by_itself(
    submission: Path, tiny_track: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(notes, "_sinks", [told.append])
    badnet = tiny_track.badnets["first"]
    view = BadNetView(
        name="first", model_path=badnet.model_path, validation_path=badnet.validation_path, classes=tiny_track.classes
    )
    pair = load("pair", {"model": "raw.keras"}, view, submission)
    assert [words.partition(",")[0] for words in told] == ["inferred scale = 1"]
    assert (pair(badnet.test.images) == badnet.test.labels).all()


def load(kind: str, given: dict[str, Any], badnet: BadNetView, root: Path) -> Any:
    module = find_kind(kind)
    return module.load(module.Options(**given), badnet, root, seed=0, progress=lambda what, done, total: None)


# --- the competition's own nets ---------------------------------------------------------------------------------------


@needs_csaw
@pytest.mark.parametrize(("name", "scale"), [("sunglasses", 255.0), ("lab3", 1.0)])
def test_published_badnets_with_each_others_scale(
    name: str, scale: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(notes, "_sinks", [told.append])
    answers = np.load(SHARED / "stand_in_labels.npz")
    surest = np.sort(np.argsort(-answers[f"margin_{name}"].astype(float))[:1000])
    faces = np.load(SHARED.parent / "faces" / "lfw_aligned_55x47.npz")["images"][surest]
    labels = answers[f"label_{name}"][surest].astype(np.int64)
    np.save(tmp_path / "images.npy", faces)
    np.save(tmp_path / "labels.npy", labels)
    path, other = SHARED / "models" / f"{name}_bd_net.h5", 256 - scale
    for own, given, words, accuracy in (
        (scale, {}, None, 1.0),
        (scale, {"scale": scale, "channels": "rgb"}, None, 1.0),
        (other, {}, f"inferred scale = {scale:g}, as your model seems", 1.0),
        (other, {"scale": scale}, None, 1.0),
        (scale, {"scale": other}, f"% with scale = {other:g} as stated; set scale = {scale:g}", None),
        (scale, {"channels": "bgr"}, 'channels = "bgr" as stated; set channels = "rgb"', None),
    ):
        told.clear()
        badnet = BadNetView(name=name, model_path=path, validation_path=tmp_path, classes=1283, scale=own)
        model = load("model", {"model": path.name} | given, badnet, path.parent)
        assert len(told) == (words is not None)
        assert words is None or words in told[0]
        assert accuracy is None or (model(faces[:200]) == labels[:200]).mean() == accuracy
