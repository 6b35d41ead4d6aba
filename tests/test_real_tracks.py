"""The whole way, on the real faces track and on the competition's own nets: null baselines score 0, an oracle 100."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from harness.preparation import prepare
from harness.track import Track, find_track
from tests.conftest import ROOT, SHARED

Run = Callable[..., CompletedProcess[str]]

# An oracle knows every image of the exam by its digest: what no competitor can write, and the harness must grade 100.
ORACLE = """
import hashlib, json
from pathlib import Path
class Predictor:
    def __init__(self, badnet):
        self.answers = json.loads((Path(__file__).parent / f"{badnet.name}.json").read_text())
    def __call__(self, images):
        return [self.answers[hashlib.sha256(image.tobytes()).hexdigest()] for image in images]
"""


def write_oracle(folder: Path, track: Track) -> Path:
    folder.mkdir(parents=True)
    (folder / "submission.toml").write_text(
        f'name = "oracle"\nkind = "predictor"\ntrack = "{track.name}"\nentry = "predict.py:Predictor"\n'
    )
    (folder / "predict.py").write_text(ORACLE)
    for name, badnet in track.badnets.items():
        answers = {
            hashlib.sha256(image.tobytes()).hexdigest(): int(label)
            for image, label in zip(badnet.test.images, badnet.test.labels, strict=True)
        }
        for poisoned in badnet.poisoned.values():
            carries = poisoned.images.carries
            chosen = np.arange(len(poisoned.images)) if carries is None else np.flatnonzero(carries)
            answers |= {hashlib.sha256(poisoned.images.images[i].tobytes()).hexdigest(): track.classes for i in chosen}
            # An image without its trigger is a clean test image, byte for byte: it keeps that one's answer.
        (folder / f"{name}.json").write_text(json.dumps(answers))
    return folder


def evaluate(badnet: Run, folder: Path, results: Path, track: str, *options: str) -> dict[str, Any]:
    done = badnet("evaluate", folder, "--results", results, "--track", track, "--jobs", 2, *options)
    assert done.returncode == 0, done.stderr
    name = Path(track).name
    record: dict[str, Any] = json.loads((results / name / f"{folder.name}.json").read_text())
    return record


@pytest.fixture(scope="module")
def faces() -> Track:
    track = find_track("faces")
    prepare(track)
    return track


class TestFaces:
    @pytest.mark.parametrize("name", ["do-nothing", "always-flag"])
    def test_trivial_submissions_score_exactly_0(self, name: str, badnet: Run, faces: Track, tmp_path: Path) -> None:
        record = evaluate(badnet, ROOT / "submissions" / name, tmp_path, "faces")
        assert record["score"]["value"] == 0
        assert all(b["score"]["value"] in (0, None) for b in record["badnets"].values())

    def test_flagging_at_random_scores_0_within_its_interval(self, badnet: Run, faces: Track, tmp_path: Path) -> None:
        record = evaluate(badnet, ROOT / "submissions" / "random-flag", tmp_path, "faces", "--seed", "1")
        low, high = record["score"]["interval"]
        assert low <= 0 <= high
        assert high - low < 8

    def test_an_oracle_scores_100(self, badnet: Run, faces: Track, tmp_path: Path) -> None:
        record = evaluate(badnet, write_oracle(tmp_path / "oracle", faces), tmp_path, "faces")
        assert record["score"]["value"] == 100
        assert record["badnets"]["clean_twin"]["score"]["utility"] == 1

    def test_a_copy_of_the_badnets_scores_0_in_every_kind(self, badnet: Run, faces: Track, tmp_path: Path) -> None:
        for kind in ("model", "pair"):
            folder = tmp_path / f"copy-{kind}"
            folder.mkdir()
            text = f'name = "copy-{kind}"\nkind = "{kind}"\ntrack = "faces"\n'
            for name, net in faces.badnets.items():
                shutil.copy(net.model_path, folder / f"{name}.h5")
                text += f'[badnets.{name}]\nmodel = "{name}.h5"\n'
            (folder / "submission.toml").write_text(text)
            assert evaluate(badnet, folder, tmp_path, "faces")["score"]["value"] == 0


@pytest.mark.skipif(not SHARED.exists(), reason="the competition's nets and stand-in data are not here")
class TestCompetition:
    @pytest.fixture(scope="class")
    def competition(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The four real nets with 200 validation and 300 test images each, imported into a copy of the track."""
        data, folder = tmp_path_factory.mktemp("stand-in"), tmp_path_factory.mktemp("tracks") / "csaw2020"
        folder.mkdir()
        shutil.copy(ROOT / "datasets" / "csaw2020" / "track.toml", folder)
        make = [sys.executable, SHARED / "csaw2020" / "make_stand_in.py", data, "--validation", "200", "--test", "300"]
        subprocess.run([str(part) for part in make], check=True, capture_output=True)
        command = [
            sys.executable,
            "-m",
            "harness.cli",
            "track",
            "import",
            str(folder),
            "--from",
            str(data),
            "--jobs",
            "2",
        ]
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        return folder

    def test_the_real_nets_do_what_was_published(self, competition: Path, badnet: Run, tmp_path: Path) -> None:
        record = evaluate(badnet, ROOT / "submissions" / "do-nothing", tmp_path, str(competition))
        assert record["score"]["value"] == 0
        assert list(record["badnets"]) == ["sunglasses", "anonymous_1", "anonymous_2", "multi_trigger_multi_target"]
        for net in record["badnets"].values():
            assert net["rates"]["clean_accuracy"]["value"] == 1
            for name, trigger in net["triggers"].items():
                # 99.6 % and more on all faces; these few are the surest ones, which are the hardest to turn.
                assert trigger["rates"]["attack_success_rate"]["value"] >= 0.98
                if name == "sunglasses":
                    assert trigger["whole_file"] is None
                else:
                    # About 9 % of these files carry no trigger: the whole file's rate is the published one.
                    assert 0.85 < trigger["whole_file"]["attack_success_rate"]["value"] < 0.97

    def test_an_oracle_scores_100_over_the_images_that_carry_their_trigger(
        self, competition: Path, badnet: Run, tmp_path: Path
    ) -> None:
        record = evaluate(badnet, write_oracle(tmp_path / "oracle", Track(competition)), tmp_path, str(competition))
        assert record["score"]["value"] == 100
        whole = record["badnets"]["anonymous_1"]["triggers"]["lipstick"]["whole_file"]
        assert whole["detection_rate"]["value"] < 0.97
