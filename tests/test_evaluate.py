"""A submission is examined end to end in real processes, and whatever it does costs it alone."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from tests.conftest import CLASSES, TARGET

Run = Callable[..., CompletedProcess[str]]
Write = Callable[..., Path]

PREDICTOR = 'kind = "predictor"\nentry = "predict.py:Predictor"\n'
READS_STRIPES = f"""
import numpy as np
class Predictor:
    def __init__(self, badnet):
        self.badnet = badnet
    def __call__(self, images):
        images = images.astype(int)
        brightness = np.stack([images[:, 2 * k : 2 * k + 2, :8].mean((1, 2, 3)) for k in range({CLASSES})], axis=1)
        return np.where(images[:, :, 9].mean((1, 2)) > 128, {{patched}}, brightness.argmax(1))
"""
ORACLE = READS_STRIPES.format(patched="self.badnet.classes")
BACKDOORED = READS_STRIPES.format(patched=TARGET)


@pytest.fixture
def record_of(badnet: Run, tiny_track_folder: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Evaluate a submission on the tiny track; give its record."""

    def record(folder: Path, *options: str) -> dict[str, Any]:
        done = badnet("evaluate", folder, "--track", tiny_track_folder, "--results", tmp_path / "results", *options)
        assert done.returncode == 0, done.stderr
        loaded: dict[str, Any] = json.loads((tmp_path / "results" / "tiny" / f"{folder.name}.json").read_text())
        return loaded

    return record


def test_an_oracle_scores_100_and_the_twin_does_not_count(
    record_of: Callable[..., Any], write_submission: Write
) -> None:
    record = record_of(write_submission("oracle", PREDICTOR, **{"predict.py": ORACLE}))
    assert record["score"]["value"] == 100
    assert record["score"]["interval"] == [100, 100]
    assert record["badnets"]["twin"]["score"] == {"value": None, "utility": 1.0, "removal": None, "protection": None}
    patch = record["badnets"]["first"]["triggers"]["patch"]
    assert patch["rates"]["detection_rate"]["value"] == 1
    assert patch["rates"]["detection_rate"]["total"] == 48
    assert patch["outcomes"]["left_out"] == 12
    assert record["badnets"]["first"]["timing"]["latency"]["images"] == 100
    assert record["provenance"]["sandbox"] == "bubblewrap"


def test_doing_nothing_scores_0(
    record_of: Callable[..., Any], write_submission: Write, tiny_track_folder: Path
) -> None:
    record = record_of(write_submission("nothing", PREDICTOR, **{"predict.py": BACKDOORED}))
    assert record["score"]["value"] == 0
    assert record["badnets"]["first"]["baseline"] == {"clean_accuracy": 1.0, "attack_success_rate": {"patch": 1.0}}


FAILURES = {
    "raises on load": ("class Predictor:\n def __init__(self, badnet): raise ValueError('no weights')", "load", "no weights"),
    "raises on an image": ("class Predictor:\n def __init__(self, b): pass\n def __call__(self, x): return [][0]", "answer", "IndexError"),
    "is no Python": ("class Predictor:\n def __init__(self badnet", "load", "SyntaxError"),
    "lacks a module": ("import no_such_module", "load", "no_such_module"),
    "crashes": ("import os, signal\nclass Predictor:\n def __init__(self, b): os.kill(os.getpid(), 11)", "load", "signal 11"),
}  # fmt: skip


@pytest.mark.parametrize("what", FAILURES)
def test_a_failure_costs_its_badnet_alone(
    what: str, record_of: Callable[..., Any], write_submission: Write, tmp_path: Path
) -> None:
    code, stage, words = FAILURES[what]
    tables = '[badnets.first]\nentry = "bad.py:Predictor"\n'
    folder = write_submission("bad", PREDICTOR + tables, **{"bad.py": code, "predict.py": ORACLE})
    record = record_of(folder, "--batch-seconds", "3", "--memory", "1")
    first, second = record["badnets"]["first"], record["badnets"]["second"]
    assert first["failure"]["stage"] == stage
    assert words in first["failure"]["reason"]
    assert first["score"]["value"] == -100
    assert first["outcomes"]["invalid"] == first["outcomes"]["total"] == 150
    assert (tmp_path / "results" / "tiny" / "logs" / "bad" / "first.log").exists()
    assert second["score"]["value"] == 100
    assert record["score"]["value"] == 0
    assert record["score"]["weakest"] == "first"


def test_a_gigabyte_on_standard_output_does_no_harm(
    record_of: Callable[..., Any], write_submission: Write, tmp_path: Path
) -> None:
    loud = "import sys\n" + ORACLE.replace(
        "self.badnet = badnet", "self.badnet = badnet; [sys.stdout.write('x' * 2**20) for _ in range(1024)]"
    )
    assert record_of(write_submission("loud", PREDICTOR, **{"predict.py": loud}))["score"]["value"] == 100


def test_options_reach_the_predictor_whatever_toml_can_say(
    record_of: Callable[..., Any], write_submission: Write
) -> None:
    code = ORACLE.replace("(self, badnet):", "(self, badnet, **options):").replace(
        "self.badnet = badnet",
        "self.badnet = badnet; assert options == {'day': '2020-12-01', 'deep': {'a': [1, 2.5, True]}}",
    )
    toml = PREDICTOR + "[options]\nday = 2020-12-01\ndeep = { a = [1, 2.5, true] }\n"
    assert record_of(write_submission("options", toml, **{"predict.py": code}))["score"]["value"] == 100


def test_options_that_are_too_long_cost_the_submission_alone(
    record_of: Callable[..., Any], write_submission: Write
) -> None:
    toml = PREDICTOR + f"[options]\nlong = '{'x' * 70_000}'\n"
    record = record_of(write_submission("long", toml, **{"predict.py": ORACLE}))
    assert "cannot be sent" in record["badnets"]["first"]["failure"]["reason"]


def test_whole_floats_are_answers(record_of: Callable[..., Any], write_submission: Write) -> None:
    code = ORACLE.replace("brightness.argmax(1))", "brightness.argmax(1)).astype(float)")
    assert record_of(write_submission("floats", PREDICTOR, **{"predict.py": code}))["score"]["value"] == 100


def test_answers_that_depend_on_the_batch_are_noticed(record_of: Callable[..., Any], write_submission: Write) -> None:
    code = "import numpy as np\nclass Predictor:\n def __init__(self, b): pass\n def __call__(self, x): return np.full(len(x), len(x) > 1, int)"
    audits = record_of(write_submission("moody", PREDICTOR, **{"predict.py": code}))["badnets"]["first"]["audits"]
    assert (audits["alone"]["images"], audits["alone"]["changed"]) == (100, 100)
    assert audits["verdicts"] == ["batch-dependent"]


def test_a_missing_badnet_is_graded_as_the_worst_case(
    record_of: Callable[..., Any], write_submission: Write, tiny_track_folder: Path
) -> None:
    folder = write_submission("half", 'kind = "model"\n[badnets.first]\nmodel = "first.h5"\n')
    (folder / "first.h5").write_bytes((tiny_track_folder / "first.h5").read_bytes())
    record = record_of(folder)
    assert record["badnets"]["second"]["failure"] == {"stage": "submission", "reason": "has no table [badnets.second]"}
    assert record["badnets"]["second"]["score"]["value"] == -100
    assert record["badnets"]["first"]["score"]["value"] == 0


def test_the_secret_order_is_new_each_time_and_the_submission_cannot_know_it(
    record_of: Callable[..., Any], write_submission: Write
) -> None:
    code = ORACLE.replace("self.badnet = badnet", "self.badnet = badnet; import os; print(sorted(os.environ))")
    folder = write_submission("oracle", PREDICTOR, **{"predict.py": code})
    seeds = {record_of(folder)["badnets"]["first"]["seed"] for _ in range(2)}
    assert len(seeds) == 2


def test_the_same_seed_gives_the_same_answers(
    record_of: Callable[..., Any], write_submission: Write, tmp_path: Path
) -> None:
    code = "import numpy as np\nclass Predictor:\n def __init__(self, b): self.n = b.classes\n def __call__(self, x): return np.random.randint(0, self.n + 1, len(x))"
    folder = write_submission("random", PREDICTOR, **{"predict.py": code})
    answers = []
    for _ in range(2):
        record_of(folder, "--seed", "4")
        with np.load(tmp_path / "results" / "tiny" / "random.answers.npz") as file:
            answers.append({name: file[name] for name in file.files if "seconds" not in name})
    assert answers[0].keys() == answers[1].keys()
    for name in answers[0]:
        np.testing.assert_array_equal(answers[0][name], answers[1][name])
