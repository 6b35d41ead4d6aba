"""`badnet defend` makes what a competitor would hand in, says how, and leaves nothing half-written."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from harness import __version__
from harness.defenders import defender_names, find_defender, option_of
from harness.errors import UserError
from harness.models.quiet import import_keras
from harness.submission import Submission
from harness.track import Track
from tests.conftest import CLASSES, ROOT, SHAPE
from tests.running import Running
from tests.test_bad_input import matches, one_line
from tests.test_sandbox import is_alive

Run = Callable[..., subprocess.CompletedProcess[str]]
TABLE = 'kind = "defense"\nentry = "repair.py:Erase"\n'
ERASE = '''
import ctypes, time
from dataclasses import dataclass
import torch
from torch import nn
from harness.models.findings import Findings
from harness.models.keras_to_torch import convert
from harness.models.repaired import RepairedNet, RepairedPair, Saved

class Own:
    """A predictor whose code is its own."""
    def __init__(self, net):
        self.net = net
    def __call__(self, images):
        return self.net(images)
    def save(self, folder):
        saved = self.net.save(folder)
        (folder / "own.py").write_text("from harness.models.any_model import load_badnet\\ndef make(badnet, strict):\\n    return load_badnet(badnet)\\n")
        return Saved(kind="predictor", table={"entry": "own.py:make", "options": {"strict": True}})

@dataclass(frozen=True, kw_only=True)
class Erase:
    """Makes the net blind to a column of its images."""
    column: int = 9
    kind: str = "model"
    fails_on: tuple[str, ...] = ()
    waits: bool = False

    def repair(self, badnet, validation, *, rng, progress):
        if badnet.name in self.fails_on:
            raise ValueError("no way")
        while self.waits:
            ctypes.CDLL(None).prctl(15, b"waiting")
            time.sleep(0.02)
        net = convert(badnet.model_path)
        dense = next(it for it in net.layers.values() if isinstance(it, nn.Linear))
        with torch.no_grad():
            dense.weight.view(5, 12, 10, 3)[:, :, self.column] = 0
        facts = {"targets": [3], "drawn": float(rng.random()), "norms": [float("nan")] * 200, "seed": "my own"}
        made = RepairedNet(net, badnet, Findings(facts=facts))
        return {"pair": RepairedPair, "own": Own}.get(self.kind, lambda it: it)(made)
'''


@pytest.fixture
def erase(write_submission: Callable[..., Path]) -> Path:
    """The folder of a defense that removes the tiny track's backdoors."""
    return write_submission("erase", TABLE, **{"repair.py": ERASE})


def report_of(folder: Path) -> Any:
    return json.loads((folder / "report.json").read_text(), parse_constant=pytest.fail)


def test_a_net_is_written_that_plain_keras_reads(badnet: Run, erase: Path, tiny_track: Track, tmp_path: Path) -> None:
    folder = tmp_path / "New Folder" / "Mine!"
    done = badnet("defend", erase, "--track", tiny_track.folder, "--badnet", "first", "--out", folder, "--seed", "7")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["repaired.h5", "report.json", "submission.toml"]
    assert os.listdir(folder.parent) == ["Mine!"]
    submission = Submission(folder)
    assert (submission.name, submission.spec.kind, submission.spec.track) == ("mine", "model", "tiny")
    assert submission.spec.badnets == {"first": {"model": "repaired.h5"}}
    load = import_keras().models.load_model
    images = tiny_track.badnets["first"].test.images[:] / 255
    blind = images.copy()
    blind[:, :, 9] = 0
    np.testing.assert_allclose(
        load(folder / "repaired.h5").predict(images, verbose=0),
        load(tiny_track.badnets["first"].model_path).predict(blind, verbose=0),
        atol=1e-6,
    )


def test_the_report_says_what_was_done_and_found(badnet: Run, erase: Path, tiny_track: Track, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    options = ("--badnet", "second", "--option", "column=9", "--option", "kind=pair", "--seed", "7")
    done = badnet("defend", erase, "--track", tiny_track.folder, *options, "--out", folder)
    assert done.returncode == 0, done.stderr
    report = report_of(folder)
    assert report["options"] == {"column": 9, "kind": "pair", "fails_on": [], "waits": False}
    told = {"defense": "erase", "entry": "repair.py:Erase", "seed": 7, "track": "tiny", "badnet": "second"}
    assert told.items() <= report.items()
    assert report["harness_version"] == __version__
    assert report["seconds"] > 0
    assert report["targets"] == [3]
    assert report["norms"] == [None] * 200
    assert report["drawn"] == np.random.default_rng(7).random()
    first, *following = done.stdout.splitlines()
    assert first.startswith("second: repaired in ")
    assert "targets [3]" in first and "norms" not in first
    assert following[-1] == f"  badnet evaluate {folder} --track {tiny_track.folder}"


@pytest.mark.slow
def test_all_badnets_make_one_submission_that_passes_its_check(
    badnet: Run, erase: Path, tiny_track: Track, tmp_path: Path
) -> None:
    folder = tmp_path / "all"
    done = badnet("defend", erase, "--track", tiny_track.folder, "--option", "kind=pair", "--out", folder)
    assert done.returncode == 0, done.stderr
    assert Submission(folder).spec.badnets == {
        name: {"model": f"{name}/repaired.h5"} for name in ("first", "second", "twin")
    }
    assert [(name, report["badnet"]) for name, report in report_of(folder).items()] == [
        (name, name) for name in ("first", "second", "twin")
    ]
    checked = badnet("check", folder, "--track", tiny_track.folder)
    assert checked.returncode == 0, checked.stdout
    assert [line.split()[0] for line in checked.stdout.splitlines()] == ["ok", "ok", "ok"]


@pytest.mark.slow
def test_what_is_made_is_graded(badnet: Run, erase: Path, tiny_track: Track, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    options = ("--badnet", "first", "--badnet", "second", "--option", "kind=pair")
    assert badnet("defend", erase, "--track", tiny_track.folder, *options, "--out", folder).returncode == 0
    graded = badnet("evaluate", folder, "--track", tiny_track.folder, "--results", tmp_path / "results")
    assert graded.returncode == 0, graded.stderr
    assert json.loads((tmp_path / "results" / "tiny" / "mine.json").read_text())["score"]["value"] == 100


def test_a_predictor_brings_its_code(badnet: Run, erase: Path, tiny_track: Track, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    options = ("--badnet", "first", "--option", "kind=own")
    done = badnet("defend", erase, "--track", tiny_track.folder, *options, "--out", folder)
    assert done.returncode == 0, done.stderr
    assert Submission(folder).spec.badnets == {"first": {"entry": "own.py:make", "options": {"strict": True}}}
    checked = badnet("check", folder, "--track", tiny_track.folder)
    assert checked.returncode == 0, checked.stdout
    levels = [line.split()[:2] for line in checked.stdout.splitlines()]
    assert levels == [["ok", "first:"], ["warning", "second:"], ["warning", "twin:"]]


def test_a_reference_defense_is_found_by_its_name(badnet: Run, tiny_track: Track, tmp_path: Path) -> None:
    folder = tmp_path / "tuned"
    options = ("--badnet", "first", "--option", "epochs=1")
    done = badnet("defend", "fine-tuning", "--track", tiny_track.folder, *options, "--out", folder)
    assert done.returncode == 0, done.stderr
    report = report_of(folder)
    assert (report["defense"], report["options"]["epochs"]) == ("fine-tuning", 1)


def test_a_repair_that_fails_costs_its_badnet_alone(
    badnet: Run, erase: Path, tiny_track: Track, tmp_path: Path
) -> None:
    folder = tmp_path / "some"
    done = badnet("defend", erase, "--track", tiny_track.folder, "--option", 'fails_on=["first"]', "--out", folder)
    assert done.returncode == 2
    assert "first: failed at repair: repair.py:Erase: repairing first failed (ValueError: no way)" in done.stderr
    assert sorted(Submission(folder).spec.badnets) == sorted(report_of(folder)) == ["second", "twin"]
    assert not (folder / "first").exists()


def test_where_all_fails_nothing_is_written(badnet: Run, erase: Path, tiny_track: Track, tmp_path: Path) -> None:
    folder = tmp_path / "none"
    options = ("--badnet", "first", "--option", 'fails_on=["first"]')
    done = badnet("defend", erase, "--track", tiny_track.folder, *options, "--out", folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert os.listdir(tmp_path) == ["submissions"]


def test_what_cannot_be_saved_is_told_by_the_defenses_name(badnet: Run, tiny_track: Track, tmp_path: Path) -> None:
    done = badnet("defend", "do_nothing", "--track", tiny_track.folder, "--badnet", "first", "--out", tmp_path / "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert "DoNothing: cannot be saved: repair gave a KerasClassifier" in done.stderr.splitlines()[-1]
    assert os.listdir(tmp_path) == []


REFUSED = {
    "an unknown defense": (("prunning",), r"'prunning': no such defense, .*did you mean 'pruning'\?"),
    "a helper of the defenses": (("_nets",), "'_nets': no such defense"),
    "an unknown BadNet": (("ERASE", "--badnet", "frist"), r"--badnet 'frist': .* did you mean 'first'\?"),
    "an unknown track": (("ERASE", "--track", "nowhere"), "track 'nowhere': no such track"),
    "an option without a value": (("ERASE", "--option", "column"), "--option 'column': write it as name=value"),
    "an option of no name": (("ERASE", "--option", "=4"), "--option '=4': write it as name=value"),
    "an unknown limit": (("ERASE", "--limit", "x=1"), "--limit 'x=1': no such limit"),
    "an unknown sandbox": (("ERASE", "--sandbox", "box"), "box"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_mistake_is_told_in_one_line(what: str, badnet: Run, erase: Path, tiny_track: Track, tmp_path: Path) -> None:
    arguments, words = REFUSED[what]
    given_track = () if "--track" in arguments else ("--track", tiny_track.folder)
    filled = [erase if word == "ERASE" else word for word in arguments]
    done = badnet("defend", *filled, *given_track, "--out", tmp_path / "x")
    one_line(done)
    assert matches(words, done.stderr)
    assert os.listdir(tmp_path) == ["submissions"]


def test_an_unknown_option_is_told_with_the_nearest(
    badnet: Run, erase: Path, tiny_track: Track, tmp_path: Path
) -> None:
    options = ("--badnet", "first", "--option", "colunm=1")
    done = badnet("defend", erase, "--track", tiny_track.folder, *options, "--out", tmp_path / "x")
    assert done.returncode == 2
    assert "unknown option 'colunm'; did you mean 'column'?" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("there", ["a file", "a full folder", "a link"])
def test_nothing_that_is_there_is_replaced(
    there: str, badnet: Run, erase: Path, tiny_track: Track, tmp_path: Path
) -> None:
    folder = tmp_path / "x"
    if there == "a file":
        folder.write_text("mine")
    elif there == "a full folder":
        folder.mkdir()
        (folder / "mine").touch()
    else:
        folder.symlink_to(erase)
    done = badnet("defend", erase, "--track", tiny_track.folder, "--out", folder)
    one_line(done)
    assert "x: is there already, and no empty folder" in done.stderr


def test_an_empty_folder_is_filled(badnet: Run, erase: Path, tiny_track: Track, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    done = badnet("defend", erase, "--track", tiny_track.folder, "--badnet", "twin", "--out", tmp_path / "x")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x" / "submission.toml").is_file()


def test_an_oracle_and_another_kind_are_refused(write_submission: Callable[..., Path], tiny_track: Track) -> None:
    oracle = write_submission("oracle", TABLE + "oracle = true\n", **{"repair.py": ERASE})
    with pytest.raises(UserError, match="oracle = true: sees what no competitor has"):
        find_defender(str(oracle), tiny_track, [], [])
    predictor = write_submission("other", 'kind = "predictor"\nentry = "p.py:P"', **{"p.py": "P = None"})
    with pytest.raises(UserError, match="'predictor' repairs nothing"):
        find_defender(str(predictor), tiny_track, [], [])


def test_options_of_the_command_win_over_the_folders(erase: Path, tiny_track: Track) -> None:
    with (erase / "submission.toml").open("a") as file:
        file.write('[options]\ncolumn = 1\nkind = "pair"\n')
    tables = find_defender(str(erase), tiny_track, ["first"], ["column=2"]).tables
    assert {name: table["options"] for name, table in tables.items()} == {"first": {"column": 2, "kind": "pair"}}


def test_every_reference_defense_is_found_without_importing_it(tiny_track_folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from harness.defenders import *; from harness.track import Track\n"
        "for name in defender_names():\n"
        "    print(next(iter(find_defender(name, Track(Path(sys.argv[1])), [], []).tables.values()))['entry'])\n"
        "assert not {'torch', 'tensorflow'} & set(sys.modules), 'the host imported a framework'"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_track_folder)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    entries = done.stdout.split()
    assert len(entries) == len(defender_names())
    assert "reference_defenses.fine_pruning:FinePruning" in entries


TOML_VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(TOML_VALUES, max_size=3))
def test_an_option_is_read_as_toml(value: list[Any]) -> None:
    assert option_of("layers=" + tomli_w.dumps({"x": value}).partition("=")[2].replace("\n", "")) == ("layers", value)


@given(st.text())
def test_any_other_value_is_text(value: str) -> None:
    name, read = option_of(f"layer=conv {value}")
    assert (name, read) == ("layer", f"conv {value}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("waiting_one", ["first", "second"])
def test_an_interruption_keeps_what_was_repaired_before(
    number: signal.Signals, waiting_one: str, erase: Path, tiny_track: Track, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "x"
    with Interrupted(erase, tiny_track.folder, out, waiting_one) as running:
        running.waiting()
        workers = running.workers()
        running.process.send_signal(number)
        code, told = running.process.wait(60), running.process.communicate()[1]
    kept = "; BadNets that were repaired before, if any, are in the folder that --out names"
    assert (code, told.splitlines()[-1]) == (130, f"interrupted{kept}")
    assert [pid for pid in workers if is_alive(pid)] == []
    if waiting_one == "first":
        assert os.listdir(tmp_path) == ["submissions"]
        return
    assert sorted(os.listdir(tmp_path)) == ["deep", "submissions"]
    assert sorted(os.listdir(out)) == ["first", "report.json", "submission.toml"]
    assert list(Submission(out).spec.badnets) == ["first"]
    assert list(json.loads((out / "report.json").read_text())) == ["first"]


class Interrupted(Running):
    """`badnet defend`, one repair of which waits for ever."""

    def __init__(self, defense: Path, track: Path, out: Path, waiting_one: str) -> None:
        text = (defense / "repair.py").read_text()
        (defense / "repair.py").write_text(text.replace("while self.waits", f"while badnet.name == {waiting_one!r}"))
        command = ["defend", defense, "--track", track, "--out", out]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.cli", *map(str, command)], cwd=ROOT, start_new_session=True,
            stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip


def test_the_tiny_track_is_what_the_defense_takes_it_for() -> None:
    assert (CLASSES, SHAPE) == (5, (12, 10, 3))
