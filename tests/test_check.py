"""`badnet check` tells in seconds what an exam would only show later."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

from tests.test_evaluate import FAILURES, ORACLE, PREDICTOR

Run = Callable[..., CompletedProcess[str]]
Write = Callable[..., Path]


def test_a_sound_submission_is_found_sound(badnet: Run, write_submission: Write, tiny_track_folder: Path) -> None:
    done = badnet("check", write_submission("mine", PREDICTOR, **{"predict.py": ORACLE}), "--track", tiny_track_folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("clean accuracy 100 %") == 3


def test_each_failure_is_told_with_its_badnet_and_stage(
    badnet: Run, write_submission: Write, tiny_track_folder: Path
) -> None:
    for what in ("lacks a module", "raises on an image"):
        code, stage, words = FAILURES[what]
        folder = write_submission("mine", PREDICTOR, **{"predict.py": code})
        done = badnet("check", folder, "--track", tiny_track_folder)
        assert done.returncode == 2
        assert f"error   first: {stage}: " in done.stdout
        assert words in done.stdout


def test_a_wrong_scale_is_named_beside_what_it_costs(
    badnet: Run, write_submission: Write, tiny_track_folder: Path
) -> None:
    folder = write_submission("mine", 'kind = "model"\n[badnets.first]\nmodel = "first.h5"\nscale = 1e9\n')
    (folder / "first.h5").write_bytes((tiny_track_folder / "first.h5").read_bytes())
    done = badnet("check", folder, "--track", tiny_track_folder)
    assert done.returncode == 0
    assert (
        "warning first: your model seems to want x / 255: clean accuracy 100 % on 64 validation images, 22 % with "
        "scale = 1e+09 as stated; set scale = 255"
    ) in done.stdout
    assert "warning first: clean accuracy is 22 % on validation images\n" in done.stdout
    assert "warning second: has no table [badnets.second]" in done.stdout


def test_answers_out_of_range_and_too_many_flags_are_told(
    badnet: Run, write_submission: Write, tiny_track_folder: Path
) -> None:
    code = "import numpy as np\nclass Predictor:\n def __init__(self, b): self.n = b.classes + (b.name == 'first')\n def __call__(self, x): return np.full(len(x), self.n)"
    done = badnet("check", write_submission("mine", PREDICTOR, **{"predict.py": code}), "--track", tiny_track_folder)
    assert done.returncode == 2
    assert "first: 64 of 64 answers are not integers 0..5" in done.stdout
    assert "64 of 64 clean images are flagged" in done.stdout
