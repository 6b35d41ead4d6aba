"""The competition's lab, done as its competitors did it: prune until validation accuracy has fallen, then compare with B."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest

from harness.models.contracts import BadNetView, Validation
from reference_defenses.lab_pruning import LabPruning
from tests.conftest import ROOT, SHARED
from tests.small_nets import one_thread  # noqa: F401 - a fixture is found by its name

Run = Callable[..., CompletedProcess[str]]


class Stage(NamedTuple):
    """What the competitor's own code has: clean accuracy and attack success of G, channels removed, validation accuracy."""

    clean: float
    attack: float
    removed: int
    left: float


class Lab(NamedTuple):
    """Where the track, the data files and the repaired nets are; drop in % -> what the competitor measured."""

    track: Path
    data: Path
    nets: Path
    measured: dict[int, Stage]


pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="the competition's nets and stand-in data are not here")
DROPS = (2, 4, 10, 30)

# Inputs of conv_4 are zeroed in the order of their mean activation in pool_3, lowest first, one at a time. Each net that is
# kept is then tried as the lab had it: G answers B' where B agrees, else 1283.
PRUNE = """
import json, sys
import h5py, keras
import numpy as np

folder, out = sys.argv[1:3]
drops = [int(word) for word in sys.argv[3:]]

def read(name):
    with h5py.File(f"{folder}/data/{name}_data.h5") as file:
        return np.array(file["data"]).transpose(0, 2, 3, 1), np.array(file["label"])

x, y = read("clean_validation")
test, poisoned = read("clean_test"), read("sunglasses_poisoned")
bad = keras.models.load_model(f"{folder}/models/lab3_bd_net.h5", compile=False)
net = keras.models.load_model(f"{folder}/models/lab3_bd_net.h5", compile=False)
say = lambda model, images: model.predict(images, verbose=0).argmax(1)
pool = keras.Model(net.inputs, net.get_layer("pool_3").output)
order = np.argsort(pool.predict(x, verbose=0).mean((0, 1, 2)))
before, conv, found = 100 * np.mean(say(net, x) == y), net.get_layer("conv_4"), {}
for removed, channel in enumerate(order, start=1):
    kernel, bias = conv.get_weights()
    kernel[:, :, channel] = 0
    conv.set_weights([kernel, bias])
    while drops and 100 * np.mean(say(net, x) == y) <= before - drops[0]:
        shares = [np.mean((say(net, images) == labels) & (say(bad, images) == labels)) for images, labels in (test, poisoned)]
        found[drops[0]] = [*shares, removed, np.mean(say(net, x) == y)]
        net.save(f"{out}/pruned_{drops.pop(0)}.h5")
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab's track with 400 validation and 500 test images, its repaired nets, and what their author measured."""
    data, folder = tmp_path_factory.mktemp("stand-in"), tmp_path_factory.mktemp("tracks") / "csaw2020_lab"
    folder.mkdir()
    shutil.copy(ROOT / "datasets" / "csaw2020_lab" / "track.toml", folder)
    make = [SHARED / "csaw2020" / "make_stand_in.py", data, "--badnet", "lab3", "--validation", "400", "--test", "500"]
    nets = tmp_path_factory.mktemp("nets")
    for command in (
        [*make],
        ["-m", "harness.cli", "track", "import", folder, "--from", data],
        ["-c", PRUNE, data / "lab3", nets, *DROPS],
    ):
        done = subprocess.run(
            [sys.executable, *map(str, command)], check=True, capture_output=True, cwd=ROOT, text=True
        )
    found = json.loads(done.stdout.splitlines()[-1])
    return Lab(folder, data / "lab3" / "data", nets, {int(drop): Stage(*stage) for drop, stage in found.items()})


@pytest.mark.parametrize("drop", DROPS)
def test_each_stage_of_the_labs_pruning_is_scored_as_a_pair(drop: int, lab: Lab, badnet: Run, tmp_path: Path) -> None:
    folder = tmp_path / f"pruned-{drop}"
    folder.mkdir()
    shutil.copy(lab.nets / f"pruned_{drop}.h5", folder)
    (folder / "submission.toml").write_text(
        f'name = "pruned-{drop}"\nkind = "pair"\ntrack = "csaw2020_lab"\n[badnets.lab3]\nmodel = "pruned_{drop}.h5"\n'
    )
    done = badnet("evaluate", folder, "--track", lab.track, "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    net = json.loads((tmp_path / "csaw2020_lab" / f"pruned-{drop}.json").read_text())["badnets"]["lab3"]
    assert net["failure"] is None
    assert net["notes"] == []  # raw 0..255 input, which the track states
    clean, attack, _, _ = lab.measured[drop]
    assert net["rates"]["clean_accuracy"]["value"] == pytest.approx(clean, abs=0.004)
    rates = net["triggers"]["sunglasses"]["rates"]
    # The track leaves out the images whose true class is the target, which the competitor's own figure counts.
    assert rates["attack_success_rate"]["value"] == pytest.approx(attack, abs=0.01)
    # What B sends to the target comes back as the target or as a flag, never as its own class.
    assert rates["attack_success_rate"]["value"] + rates["detection_rate"]["value"] == pytest.approx(1, abs=0.01)
    assert 1 - clean >= 0.7 * drop / 100


@pytest.mark.parametrize("drop", DROPS)
def test_the_reference_defense_prunes_as_the_competitor_did(drop: int, lab: Lab, tmp_path: Path) -> None:
    with h5py.File(lab.data / "clean_validation_data.h5") as file:
        images = np.array(file["data"]).transpose(0, 2, 3, 1).astype(np.uint8)
        labels = np.array(file["label"]).astype(np.int64)
    model = SHARED / "csaw2020" / "models" / "lab3_bd_net.h5"
    badnet = BadNetView(name="lab3", model_path=model, validation_path=tmp_path, classes=1283, scale=1)
    clean = Validation(images=images, labels=labels)
    defense = LabPruning(accuracy_drop=drop / 100)
    repaired: Any = defense.repair(badnet, clean, rng=np.random.default_rng(0), progress=lambda *_: None)
    found = repaired.findings.facts
    theirs = lab.measured[drop]
    assert found["channels"] == 60
    assert found["channels_removed"] == theirs.removed
    assert found["accuracy_pruned"] == pytest.approx(theirs.left, abs=1e-9)
