"""Model files that may run code run it in the sandbox, where it reaches nothing; the host's process reads none of them.

Pickles and Lambdas may where the submission states `unsafe_pickle = true`, which the board shows. The graphs of TorchScript
and TensorFlow may always: they have operators for files.
"""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from harness.console import Desk
from harness.evaluate import Settings, evaluate
from harness.images import silent
from harness.invigilator import Invigilator
from harness.models.any_model import load_classifier
from harness.models.settings import ModelSettings
from harness.record import Record
from harness.sandbox import find_sandbox
from harness.sandbox.limits import Limits
from harness.submission import Submission
from harness.track import Track
from tests.conftest import ROOT
from tests.hostile.evil_containers import external_link, member, weights
from tests.hostile.evil_files import CLASSES, Place, Write, as_lambda, bytecode, config, layer, write_honest
from tests.hostile.evil_graphs import Runs, plain_pickle, saved_model, torchscript
from tests.small_nets import noise

PART = "model files"
REACHES = """
import os, socket, tempfile
reached = []
def attempt(what, act):
    try:
        act()
    except OSError:
        return
    reached.append(what)
attempt("a folder of the host", lambda: os.mkdir({marker!r}))
attempt("a file of the user", lambda: open({secret!r}).close())
attempt("the home folder", lambda: open({home!r}).close())
attempt("its own folder", lambda: open("/submission/x", "w").close())
attempt("a socket of the host", lambda: socket.create_connection(("127.0.0.1", {port}), 2).close())
with tempfile.TemporaryFile() as scratch:
    scratch.write(b"x")
print("reached", ", ".join(reached) or "nothing but its scratch folder", flush=True)
raise RuntimeError("enough")
"""

HOST = """
import json, os, sys
from pathlib import Path
folder, track, results = sys.argv[1:]
opened, unpickled = [], []
def watch(event, arguments):
    if event == "pickle.find_class":
        unpickled.append(str(arguments))
    if event == "open" and str(arguments[0]).startswith(folder + os.sep):
        frame, by = sys._getframe(1), []
        while frame:
            by.append(Path(frame.f_code.co_filename).name)
            frame = frame.f_back
        opened.append((Path(str(arguments[0])).name, by))
sys.addaudithook(watch)
from harness.console import Desk
from harness.evaluate import Settings, evaluate
from harness.images import silent
from harness.invigilator import Invigilator
from harness.sandbox import find_sandbox
from harness.sandbox.limits import Limits
from harness.submission import Submission
from harness.track import Track
settings = Settings(invigilator=Invigilator(find_sandbox("bubblewrap"), Limits()), results=Path(results))
desk = Desk(lambda name: silent, lambda name, words: None)
record = evaluate(Submission(Path(folder)), Track(Path(track)), settings, desk)
reasons = {name: it.failure.reason for name, it in record.badnets.items()}
print(json.dumps({"opened": opened, "unpickled": unpickled, "modules": list(sys.modules), "reasons": reasons}))
"""
HEAVY = {"h5py", "keras", "tensorflow", "torch", "onnx", "onnxruntime", "safetensors", "joblib"}


class Sat(NamedTuple):
    """What came of the models, and of the host: its marker, and its socket."""

    record: Record
    logs: Path
    marker: Path
    listener: socket.socket

    def reason(self, badnet: str) -> str:
        """Why a model was given up, stage first."""
        failure = self.record.badnets[badnet].failure
        return f"{failure.stage}: {failure.reason}" if failure else ""


Sit = Callable[[dict[str, Path], str], Sat]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sandboxed")
    write_honest(folder)
    (folder / "secret").write_text("c0ffee")
    return folder


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """A socket of the host, which must never hear anything."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


@pytest.fixture(scope="module")
def sit(folder: Path, tiny_track_folder: Path, listener: socket.socket) -> Sit:
    """Evaluate models for `first` and `second`, and the honest net for the twin: `sit({"first": path, ...}, toml)`."""

    def run(models: dict[str, Path], keys: str) -> Sat:
        submission = folder / f"with-{models['first'].suffix[1:]}"
        submission.mkdir()
        table = f'name = "{submission.name}"\ntrack = "tiny"\nkind = "model"\n{keys}\n'
        for name, path in (models | {"twin": tiny_track_folder / "twin.h5"}).items():
            (shutil.copytree if path.is_dir() else shutil.copy)(path, submission / path.name)
            table += f'[badnets.{name}]\nmodel = "{path.name}"\n'
        (submission / "submission.toml").write_text(table)
        invigilator = Invigilator(find_sandbox("bubblewrap"), Limits())
        settings = Settings(invigilator=invigilator, results=folder / "results")
        desk = Desk(lambda _name: silent, lambda _name, _words: None)
        record = evaluate(Submission(submission), Track(tiny_track_folder), settings, desk)
        return Sat(record, settings.results / "tiny" / "logs" / submission.name, folder / "marker", listener)

    return run


@pytest.fixture(scope="module")
def unpickled(folder: Path, sit: Sit, listener: socket.socket) -> Sat:
    """What came of a pickle and of a Lambda that try to reach the host, both stated."""
    home = next((str(path) for path in Path.home().iterdir() if path.is_file()), str(folder / "secret"))
    code = REACHES.format(
        marker=str(folder / "marker"), secret=str(folder / "secret"), home=home, port=listener.getsockname()[1]
    )
    torch.save({"epoch": Runs(code)}, folder / "evil.pt")
    evil = as_lambda(bytecode(f"exec({code!r}, {{}})"))
    (folder / "evil").mkdir()
    net = config("net.h5", layer("Lambda", function=evil, arguments={}))(
        Place(folder, folder / "evil", folder / "marker")
    )
    return sit({"first": folder / "evil.pt", "second": net}, "unsafe_pickle = true")


@pytest.fixture(scope="module")
def run_as_graphs(folder: Path, sit: Sit) -> Sat:
    """What came of TorchScript that writes a file of the host, and of a SavedModel that reads one and writes another."""
    place = Place(folder, folder, folder / "marker")
    script = torchscript(read=folder / "secret", write=folder / "marker")(place)
    graph = saved_model(read=folder / "secret", write=folder / "marker")(place)
    return sit({"first": script, "second": graph}, "")


def nothing_came_of_it(sat: Sat) -> None:
    """Assert that the host was not reached, and that the honest net beside the evil ones was graded as usual."""
    assert not sat.marker.exists()
    with pytest.raises(BlockingIOError):
        sat.listener.accept()
    assert sat.record.badnets["twin"].failure is None
    assert sat.record.badnets["twin"].score.utility == 1


@pytest.mark.threat(
    PART,
    does="a pickled .pt that tries to reach the host, with unsafe_pickle = true",
    outcome="runs in the sandbox, and reaches nothing but its scratch folder",
)
def test_a_pickle_reaches_nothing(unpickled: Sat) -> None:
    assert unpickled.reason("first").startswith("load: evil.pt: ")
    assert "reached nothing but its scratch folder" in (unpickled.logs / "first.log").read_text()
    assert unpickled.record.submission.marks == ["unsafe pickle"]
    nothing_came_of_it(unpickled)


@pytest.mark.threat(
    PART,
    does="a Lambda that tries to reach the host, with unsafe_pickle = true",
    outcome="runs in the sandbox, and reaches nothing but its scratch folder",
)
def test_a_lambda_reaches_nothing(unpickled: Sat) -> None:
    assert unpickled.reason("second").startswith("load: net.h5: ")
    assert "reached nothing but its scratch folder" in (unpickled.logs / "second.log").read_text()
    nothing_came_of_it(unpickled)


@pytest.mark.threat(
    PART,
    does="TorchScript that writes a file of the host and reads one (aten::save, aten::from_file)",
    outcome="runs in the sandbox, where there is no such file; refused: cannot be run",
)
def test_torchscript_reaches_no_file(run_as_graphs: Sat) -> None:
    assert "net.ts: cannot be run" in run_as_graphs.reason("first")
    assert "No such file or directory" in run_as_graphs.reason("first")
    nothing_came_of_it(run_as_graphs)


@pytest.mark.threat(
    PART,
    does="a SavedModel that reads a file of the host and writes one (ReadFile, WriteFile)",
    outcome="runs in the sandbox, where there is no such file; refused: cannot be run",
)
def test_a_saved_model_reaches_no_file(run_as_graphs: Sat) -> None:
    assert "net: cannot be run" in run_as_graphs.reason("second")
    assert "No such file or directory" in run_as_graphs.reason("second")
    nothing_came_of_it(run_as_graphs)


DOES_WRITE = "it does write: the sandbox alone keeps the host safe"


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(
            torchscript,
            marks=pytest.mark.threat(PART, does="the same TorchScript without a sandbox", outcome=DOES_WRITE),
        ),
        pytest.param(
            saved_model,
            marks=pytest.mark.threat(PART, does="the same SavedModel without a sandbox", outcome=DOES_WRITE),
        ),
    ],
)
def test_the_graphs_are_no_duds(write: Callable[..., Write], folder: Path, tmp_path: Path) -> None:
    path = write(read=folder / "secret", write=tmp_path / "marker")(Place(folder, tmp_path, tmp_path / "marker"))
    load_classifier(path, ModelSettings(classes=CLASSES))(noise(3))
    assert (tmp_path / "marker").exists()


@pytest.mark.threat(
    PART,
    does="any model file",
    outcome="the host's process imports no framework, unpickles nothing, and reads the file for its digest alone",
)
def test_the_host_parses_no_model_file(folder: Path, tiny_track_folder: Path, tmp_path: Path) -> None:
    place = Place(folder, tmp_path / "strange", tmp_path / "marker")
    place.folder.mkdir()
    models = {
        "first": member("../evil")(place),
        "second": weights("net.h5", external_link)(place),
        "twin": plain_pickle("net.pkl")(place),
    }
    tables = "".join(f'[badnets.{name}]\nmodel = "{path.name}"\n' for name, path in models.items())
    (place.folder / "submission.toml").write_text(f'name = "strange"\ntrack = "tiny"\nkind = "model"\n{tables}')
    command = [sys.executable, "-c", HOST, *map(str, (place.folder, tiny_track_folder, tmp_path / "results"))]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    told = json.loads(done.stdout)
    assert all(told["reasons"][name].startswith(path.name) for name, path in models.items())
    assert not HEAVY & set(told["modules"])
    assert told["unpickled"] == []
    files = {path.name for path in models.values()}
    readers = [by for name, by in told["opened"] if name in files]
    assert len(readers) >= len(files)
    assert all("digests.py" in by for by in readers)
    assert not place.marker.exists()
