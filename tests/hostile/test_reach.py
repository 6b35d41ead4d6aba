"""A stranger's code reaches nothing: no network, no file of the host, no other process, no rare part of the kernel."""

import json
import os
import platform
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import MachineError
from harness.sandbox import find_sandbox
from tests.conftest import ROOT
from tests.hostile.attempts import ATTEMPTS, PREAMBLE
from tests.hostile.conftest import Examined

SECRET = "c0ffee"


class Listeners:
    """What a host may have open: sockets of three kinds, which must never hear anything."""

    def __init__(self, folder: Path) -> None:
        self.heard: list[object] = []
        self.path, self.abstract = str(folder / "socket"), str(folder)
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        for address in (self.path, f"\0{self.abstract}"):
            self._sockets.append(socket.socket(socket.AF_UNIX))
            self._sockets[-1].bind(address)
            self._sockets[-1].listen()
        for listening in self._sockets:
            threading.Thread(target=self._accept, args=[listening], daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._sockets[0].getsockname()[1])

    def close(self) -> None:
        for listening in self._sockets:
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()

    def _accept(self, listening: socket.socket) -> None:
        try:
            while True:
                self.heard.append(listening.accept())
        except OSError:  # closed
            return


@pytest.fixture(scope="module")
def told() -> dict[str, dict[str, str]]:
    """What came of every attempt, by sandbox: each tries them all once."""
    return {}


@pytest.fixture
def tried(
    told: dict[str, dict[str, str]], examine: Callable[..., Examined], write_submission: Callable[..., Path],
    tiny_track_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[str], dict[str, str]]]:  # fmt: skip
    def every(sandbox: str) -> dict[str, str]:
        if sandbox not in told:
            told[sandbox] = {}
            told[sandbox] = run(sandbox)
        return told[sandbox]

    def run(sandbox: str) -> dict[str, str]:
        try:
            find_sandbox(sandbox).check()
        except MachineError as error:
            pytest.skip(str(error))
        (tmp_path / "secret").write_text(SECRET)
        sibling = write_submission("sibling", 'kind = "model"')
        monkeypatch.setenv("SECRET_OF_THE_USER", SECRET)
        model = tiny_track_folder / "first.h5"
        before = {path: path.read_bytes() for path in (model, ROOT / "harness" / "protocol.py")}
        places = {
            "secret": tmp_path / "secret", "home": next((path for path in Path.home().iterdir() if path.is_file()), Path.home() / ".profile"), "repository": ROOT, "sibling": sibling, "host": os.getpid(),
            "labels": tiny_track_folder / "data" / "test" / "labels.npy", "port": listeners.port,
            "abstract": listeners.abstract, "path": listeners.path,
        }  # fmt: skip
        code = {name: attempt.code.format(**places) for name, attempt in ATTEMPTS.items()}
        text = f"{PREAMBLE}\nfor name, code in json.loads({json.dumps(code)!r}).items():\n"
        text += "    print('TRIED ' + json.dumps([name, attempt(code, badnet)]), file=sys.stderr)\nraise RuntimeError('caught')"
        examined = examine(f"exec({text!r}, globals() | locals())", sandbox=sandbox)
        examined.cost_it_alone()
        assert "RuntimeError: caught" in examined.reason
        assert {path: path.read_bytes() for path in before} == before
        assert not (examined.folder / "x").exists()
        log = (examined.results / "tiny" / "logs" / "stranger" / "first.log").read_text()
        assert SECRET not in log
        lines = [line.removeprefix("TRIED ") for line in log.splitlines() if line.startswith("TRIED ")]
        return dict(json.loads(line) for line in lines)

    listeners = Listeners(tmp_path)
    yield every
    listeners.close()
    assert listeners.heard == []


def rows() -> list[Any]:
    """Every attempt in every sandbox that isolates."""
    found = []
    for sandbox in ("bubblewrap", "landlock"):
        for name, attempt in ATTEMPTS.items():
            refused = attempt.refused if sandbox == "bubblewrap" else attempt.landlock or attempt.refused
            row = pytest.mark.threat(attempt.part, does=attempt.does, outcome=f"{sandbox}: {refused}")
            found.append(pytest.param(sandbox, name, refused, marks=row, id=f"{sandbox}-{name}"))
    return found


@pytest.mark.parametrize(("sandbox", "name", "refused"), rows())
def test_an_attempt_is_refused(sandbox: str, name: str, refused: str, tried: Callable[[str], dict[str, str]]) -> None:
    if name == "32 bits" and platform.machine() != "x86_64":
        pytest.skip("this processor has no 32-bit calls of that kind")
    error = tried(sandbox).get(name, "was not tried")
    assert refused in error
