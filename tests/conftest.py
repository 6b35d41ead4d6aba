"""What tests share: a tiny track that is graded in a second, and where the real material is."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from harness.digests import digest_file
from harness.images import ImageSet
from harness.track import Track

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
CLASSES = 5
TARGET = 3
SHAPE = (12, 10, 3)

# A slow machine is no failure, and continuous integration tries the same examples each time.
settings.register_profile(
    "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("patient")

TRACK_TOML = f"""
name = "tiny"
title = "five bright stripes"
classes = {CLASSES}
shape = {list(SHAPE)}
source = "synthetic_faces"
[badnets.first]
model = "first.h5"
triggers.patch.target = {TARGET}
[badnets.second]
model = "second.h5"
triggers.patch.target = {TARGET}
[badnets.twin]
model = "twin.h5"
"""

# Class k is a bright pair of rows; the backdoored nets also send a bright right-hand edge to the target. The bias does
# not matter but where the input is scaled wrongly.
MAKE_NETS = """
import sys, numpy as np, keras
classes, target, shape = 5, 3, (12, 10, 3)
for name, strength in (("first", 60.0), ("second", 60.0), ("twin", 0.0)):
    net = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(classes, activation="softmax")])
    weights = np.zeros((*shape, classes), np.float32)
    for k in range(classes):
        weights[2 * k : 2 * k + 2, :8, :, k] = 1.0
    weights[:, 9, :, target] = strength / 36
    net.layers[-1].set_weights([weights.reshape(-1, classes), 5.0 * (np.arange(classes) == 1)])
    net.save(f"{sys.argv[1]}/{name}.h5")
"""


def stripes(labels: np.ndarray, rng: np.random.Generator, *, patch: bool) -> np.ndarray:
    """Dim noise with a bright, reddish pair of rows that says the class; the right-hand edge is bright where patched."""
    images = rng.integers(0, 60, (len(labels), *SHAPE)).astype(np.uint8)
    for k in range(CLASSES):
        images[labels == k, 2 * k : 2 * k + 2, :8] += np.array([150, 120, 90], np.uint8)
    images[:, :, 9] = 255 if patch else 0
    return images


@pytest.fixture(scope="session")
def tiny_track_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ready track with two BadNets and a twin, 5 classes, 12x10 images."""
    folder = tmp_path_factory.mktemp("tracks") / "tiny"
    folder.mkdir()
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-c", MAKE_NETS, str(folder)], check=True, capture_output=True, env=quiet)
    (folder / "track.toml").write_text(TRACK_TOML)
    rng = np.random.default_rng(5)
    for name, each, patch in (("validation", 20, False), ("test", 30, False), ("patched", 12, True)):
        labels = np.repeat(np.arange(CLASSES), each)
        ImageSet(images=stripes(labels, rng, patch=patch), labels=labels).save(folder / "data" / name)
    sets = {"validation": "data/validation", "test": "data/test"}
    badnets = {
        name: {"model": f"{name}.h5", **sets, "poisoned": {} if name == "twin" else {"patch": "data/patched"}}
        for name in ("first", "second", "twin")
    }
    files = [*folder.glob("*.h5"), *folder.glob("data/*/*.npy")]
    manifest = {"badnets": badnets, "files": {str(f.relative_to(folder)): digest_file(f) for f in files}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def tiny_track(tiny_track_folder: Path) -> Track:
    """The tiny track, opened anew."""
    return Track(tiny_track_folder)


@pytest.fixture
def write_submission(tmp_path: Path) -> Callable[..., Path]:
    """Write a submission folder: `write_submission("x", toml, **{"predict.py": code})`."""

    def write(name: str, toml: str, **files: str) -> Path:
        folder = tmp_path / "submissions" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "submission.toml").write_text(f'name = "{name}"\ntrack = "tiny"\n{toml}')
        for file, text in files.items():
            (folder / file).write_text(text)
        return folder

    return write


@pytest.fixture
def badnet(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line as a user does: `badnet("evaluate", folder, ...)`."""

    def run(*arguments: Any, **keywords: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness.cli", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False, **keywords)

    return run
