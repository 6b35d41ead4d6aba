"""A defense whose predictor saves what no submission holds: `badnet defend` writes nothing of it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.console import Desk
from harness.defenders import find_defender
from harness.defending import defend
from harness.images import silent
from harness.invigilator import Invigilator
from harness.sandbox import find_sandbox
from harness.sandbox.limits import MIB, Limits
from harness.track import Track
from tests.hostile.test_lies import FIND

LIMITS = {"load_seconds": 5.0, "repair_seconds": 20.0, "memory_bytes": 1024 * MIB, "scratch_bytes": 64 * MIB}
CODE = """
from dataclasses import dataclass
from pathlib import Path
TABLE = {"kind": "model", "table": {"model": "m.h5"}}
class Made:
    def __call__(self, images):
        return images[:, 0, 0, 0] * 0
    def save(self, folder):
        (folder / "m.h5").write_text("x")
%s
@dataclass(frozen=True, kw_only=True)
class Hostile:
    def repair(self, badnet, validation, *, rng, progress):
        return Made()
"""


class Saves(NamedTuple):
    """What a predictor's `save` does, in words and in code, and what is told."""

    does: str
    code: str
    reason: str


def said(files: str, **changed: Any) -> str:
    """Code that speaks for the worker: it has saved these files."""
    told = {"kind": "saved", "submission_kind": "model", "table": {"model": "m.h5"}, "options": {}} | changed
    return f"{FIND}\nsend({told!r} | {{'files': {files}}})"


PARTS = "\nwhile True: send({'kind': 'part', 'array': {'dtype': 'uint8', 'shape': [LENGTH]}}, bytes(LENGTH))"
WAIT = "\ntime.sleep(60)"

SAVES = {
    "a path": Saves("names a file that leads out of the folder", said("[['../m.h5', 1]]") + WAIT, "saved a file '../m.h5'; a name has A-Z"),
    "a hidden file": Saves("names a hidden file", said("[['.bashrc', 1]]") + WAIT, "saved a file '.bashrc'"),
    "ours": Saves("names the submission's own description", said("[['submission.toml', 1]]") + WAIT, "saved a file 'submission.toml'"),
    "an escape": Saves("names a file with an escape character", said("[['\\x1b[31m', 1]]") + WAIT, "saved a file"),
    "twice": Saves("names a file twice", said("[['m.h5', 1], ['m.h5', 1]]") + WAIT, "saved a file 'm.h5'"),
    "many": Saves("names 17 files", said("[[f'{i}', 0] for i in range(17)]") + WAIT, "saved no files, or more than 16"),
    "none": Saves("names no file", said("[]") + WAIT, "saved no files"),
    "large": Saves("claims a terabyte", said("[['m.h5', 2**40]]") + WAIT, "saved more than 512 MiB"),
    "large together": Saves("claims 600 MiB in two files", said("[['m.h5', 300 * 2**20], ['n.h5', 300 * 2**20]]") + WAIT, "saved more than 512 MiB"),
    "negative": Saves("claims a negative size", said("[['m.h5', -1]]") + WAIT, "saved more than 512 MiB"),
    "more": Saves("sends more bytes than it claimed", said("[['m.h5', 10]]") + PARTS.replace("LENGTH", "11"), "is larger than allowed"),
    "fewer": Saves("sends fewer bytes than it claimed, and waits", said("[['m.h5', 10]]") + WAIT, "took longer than 5 s"),
    "nothing": Saves("sends empty parts for ever", said("[['m.h5', 10]]") + PARTS.replace("LENGTH", "0"), "sent no bytes where those of 'm.h5' were due"),
    "another kind": Saves("saves a script", said("[['m.h5', 1]]", submission_kind="script") + WAIT, "saved a submission of kind 'script'; one of model, pair, predictor"),
    "no table": Saves("gives a list for a table", said("[['m.h5', 1]]", table=[1]) + WAIT, "its table holds what cannot stand in a submission.toml"),
    "nothing in TOML": Saves("puts null into its table", said("[['m.h5', 1]]", table={"model": None}) + WAIT, "its table holds what cannot stand in a submission.toml"),
    "a deep table": Saves("nests its table 30 deep", said("[['m.h5', 1]]", table={"model": eval("[" * 30 + "]" * 30)}) + WAIT, "its table holds what cannot stand in a submission.toml"),
    "an unknown key": Saves("puts an unknown key into its table", said("[['m.h5', 1]]", table={"model": "m.h5", "name": "first"}) + WAIT, "its table: name: unknown key"),
    "another's file": Saves("names a model that it did not save", said("[['m.h5', 1]]", table={"model": "n.h5"}) + WAIT, "its table: model: names 'n.h5', which was not saved"),
    "a file outside": Saves("names a model outside the folder", said("[['m.h5', 1]]", table={"model": "/etc/passwd"}) + WAIT, "its table: model: "),
    "for ever": Saves("saves for ever", "        while True: (folder / 'm.h5').write_text('x')", "took longer than 5 s"),
    "a full disk": Saves("fills its disk", "        (folder / 'n.h5').write_bytes(bytes(65 * 2**20))", "saving failed (OSError"),
    "exit": Saves("exits while it saves", "        import os; os._exit(0)", "ended with exit code 0 without an answer"),
    "a folder": Saves("saves a folder", "        (folder / 'more').mkdir(); return TABLE", "which is no plain file"),
    "a link": Saves("saves a link", "        (folder / 'more').symlink_to('/etc/passwd'); return TABLE", "which is no plain file"),
}  # fmt: skip


def rows() -> list[Any]:
    part = "files out of the sandbox (badnet defend)"
    return [
        pytest.param(name, id=name, marks=pytest.mark.threat(part, does=it.does, outcome=f"refused: {it.reason}"))
        for name, it in SAVES.items()
    ]


@pytest.mark.parametrize("name", rows())
def test_nothing_is_written_of_what_no_submission_holds(
    name: str, write_submission: Callable[..., Path], tiny_track_folder: Path, tmp_path: Path
) -> None:
    body = SAVES[name].code
    indented = body if body.startswith("        ") else "\n".join(f"        {line}" for line in body.splitlines())
    folder = write_submission("hostile", 'kind = "defense"\nentry = "d.py:Hostile"', **{"d.py": CODE % indented})
    track = Track(tiny_track_folder)
    invigilator = Invigilator(find_sandbox("bubblewrap"), Limits.model_validate(LIMITS))
    desk = Desk(lambda _name: silent, lambda _name, _words: None)
    outcomes = defend(
        find_defender(str(folder), track, ["first"], []), track, tmp_path / "out", invigilator, desk, seed=0
    )
    failure = outcomes[0].failure
    assert failure is not None
    assert failure.stage == "save"
    assert SAVES[name].reason in failure.reason
    assert os.listdir(tmp_path) == ["submissions"]
