"""Pickles are read only where the submission allows it; their classes are found in it, or named."""

import pickle
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from torch import nn

from harness.models.any_model import load_classifier
from harness.models.settings import ModelSettings
from harness.record import Record
from leaderboard.contenders import contender
from tests import small_nets
from tests.small_nets import CLASSES, noise

IMAGES = noise(30)
CODE = """
import numpy as np
import torch
class Brightest:
    def __init__(self, classes=4):
        self.classes = classes
    def predict(self, images):
        assert images.dtype == np.float32 and images.ndim == 4
        return images.reshape(len(images), -1)[:, :self.classes].argmax(1)
class Fractions(Brightest):
    def predict(self, images):
        return np.resize([1.0, 2.5, np.nan, np.inf, 3.0], len(images))
class Truths(Brightest):
    def predict(self, images):
        return np.ones(len(images), bool)
class Short(Brightest):
    def predict(self, images):
        return np.zeros(2, int)
class Failing(Brightest):
    def predict(self, images):
        raise ValueError("no such\\nfeature")
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(12 * 10 * 3, 4)
    def forward(self, x):
        return self.fc(x.flatten(1))
"""
WANT = IMAGES.reshape(30, -1)[:, :4].argmax(1)


@pytest.fixture
def detectors(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module in which the pickled classes are; a test forgets it before it reads the pickle."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = ModuleType("detectors")
    monkeypatch.setitem(sys.modules, "detectors", module)
    exec(CODE, vars(module))
    return module


def write(path: Path, made: Any, *, code: bool = True) -> Path:
    """Pickle an object as its author did, and leave its module to be found in the submission."""
    if path.suffix == ".joblib":
        joblib.dump(made, path)
    else:
        path.write_bytes(pickle.dumps(made))
    if code:
        (path.parent / "detectors.py").write_text(CODE)
    del sys.modules["detectors"]
    return path


def answers(path: Path, **options: Any) -> Any:
    given: dict[str, Any] = {"classes": CLASSES, "root": path.parent, "unsafe_pickle": True} | options
    return load_classifier(path, ModelSettings(**given))(IMAGES)


error = partial(small_nets.error, images=IMAGES, unsafe_pickle=True)


@pytest.mark.parametrize("name", ["detector.pkl", "detector.pickle", "detector.joblib"])
def test_a_detector_answers_where_unsafe_pickle_is_stated(name: str, detectors: Any, tmp_path: Path) -> None:
    path = write(tmp_path / name, detectors.Brightest())
    assert "state unsafe_pickle = true" in error(path, unsafe_pickle=False)
    assert np.array_equal(answers(path), WANT)


def test_a_function_may_stand_for_a_detector(tmp_path: Path, detectors: Any) -> None:
    path = write(tmp_path / "detector.pkl", detectors.Brightest().predict)
    assert np.array_equal(answers(path), WANT)


def test_what_is_no_class_number_is_invalid(detectors: Any, tmp_path: Path) -> None:
    assert answers(write(tmp_path / "detector.pkl", detectors.Fractions()))[:5].tolist() == [1, -1, -1, -1, 3]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Truths", "gives bool (30,) for 30 images; one class number or one row of outputs an image is expected"),
        ("Short", "gives int64 (2,) for 30 images"),
        ("Failing", "cannot be run (ValueError: no such feature)"),
    ],
)
def test_a_detector_that_gives_something_else_is_told(name: str, expected: str, detectors: Any, tmp_path: Path) -> None:
    assert expected in error(write(tmp_path / "detector.pkl", getattr(detectors, name)()))


def test_a_pickled_number_is_no_detector(detectors: Any, tmp_path: Path) -> None:
    assert "holds a int, which has no predict(images) and is no function" in error(write(tmp_path / "detector.pkl", 7))


def test_a_missing_module_is_named(detectors: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "detector.pkl", detectors.Brightest(), code=False)
    assert "needs the module 'detectors', which is neither in the submission nor installed" in error(path)


def test_a_missing_class_is_named(detectors: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "detector.pkl", detectors.Brightest(), code=False)
    (tmp_path / "detectors.py").write_text("")
    assert "needs the class 'Brightest' of detectors, which defines no such name" in error(path)


@pytest.mark.parametrize("library", ["pickle", "torch"])
def test_a_class_that_lay_in_main_is_named_and_can_be_given(
    library: str, detectors: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = detectors.Brightest() if library == "pickle" else detectors.Net()
    name = type(made).__name__
    type(made).__module__ = "__main__"
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, name, type(made), raising=False)
    path = tmp_path / ("net.pkl" if library == "pickle" else "net.pt")
    if library == "pickle":
        write(path, made)
        want = WANT
    else:
        torch.save(made, path)
        (tmp_path / "detectors.py").write_text(CODE)
        with torch.inference_mode():
            want = made((torch.from_numpy(IMAGES) / 255).permute(0, 3, 1, 2)).argmax(1).numpy()
    monkeypatch.delattr(main, name)
    assert f"its class {name!r} was pickled from __main__" in error(path)
    assert f'architecture = "model.py:{name}"' in error(path)
    assert np.array_equal(answers(path, custom_objects={name: f"detectors.py:{name}"}), want)
    assert not hasattr(main, name)


@pytest.mark.parametrize("held", ["module", "checkpoint"])
def test_a_pickled_torch_module_needs_no_architecture(held: str, detectors: Any, tmp_path: Path) -> None:
    net = detectors.Net()
    torch.save(net if held == "module" else {"epoch": 3, "model": net}, tmp_path / "net.pt")
    assert "state unsafe_pickle = true" in error(tmp_path / "net.pt", unsafe_pickle=False)
    with torch.inference_mode():
        want = net((torch.from_numpy(IMAGES) / 255).permute(0, 3, 1, 2)).argmax(1).numpy()
    assert np.array_equal(answers(tmp_path / "net.pt"), want)
    write(tmp_path / "plain.pkl", net)
    assert np.array_equal(answers(tmp_path / "plain.pkl"), want)


def test_a_checkpoint_with_other_objects_is_read_where_that_is_allowed(detectors: Any, tmp_path: Path) -> None:
    net, path = detectors.Net(), tmp_path / "net.pkl"  # torch.save under pickle's ending
    torch.save({"state_dict": net.state_dict(), "arguments": detectors.Brightest()}, path)
    options: dict[str, Any] = {"architecture": "detectors.py:Net"}
    write(tmp_path / "unused.pkl", 0)
    assert "state unsafe_pickle = true" in error(path, **options, unsafe_pickle=False)
    with torch.inference_mode():
        want = net((torch.from_numpy(IMAGES) / 255).permute(0, 3, 1, 2)).argmax(1).numpy()
    assert np.array_equal(answers(path, **options), want)


def test_joblib_is_named_where_it_is_missing(detectors: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "detector.joblib", detectors.Brightest())
    monkeypatch.setitem(sys.modules, "joblib", None)
    assert "joblib is not installed; save the object with pickle instead, as a .pkl" in error(path)


def test_a_pickle_is_marked_on_the_board_and_never_runs_without_a_sandbox(
    badnet: Callable[..., CompletedProcess[str]],
    write_submission: Callable[..., Path],
    tiny_track_folder: Path,
    tmp_path: Path,
) -> None:
    table = 'kind = "model"\nunsafe_pickle = true\n[badnets.first]\nmodel = "net.pth"\n'
    folder = write_submission("pickled", table)
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(360, 5)), folder / "net.pth")
    options = ("--track", tiny_track_folder, "--results", tmp_path)
    done = badnet("evaluate", folder, *options, "--sandbox", "unconfined")
    assert done.returncode == 2
    assert "only in a sandbox" in done.stderr
    assert badnet("evaluate", folder, *options).returncode == 0
    record = Record.model_validate_json((tmp_path / "tiny" / "pickled.json").read_bytes())
    assert record.badnets["first"].failure is None
    assert "unsafe pickle" in contender(record).badges
