"""A stranger's findings and pictures: frames that lie cost their BadNet alone, and no poisoned image is in reach."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import MachineError, UserError
from harness.invigilator import Invigilator
from harness.models.findings import Curve
from harness.models.findings_frames import Gathering
from harness.oracle import given_to_oracle
from harness.protocol import parse
from harness.record import read_record
from harness.room import Candidate
from harness.sandbox import find_sandbox
from harness.sandbox.limits import Limits
from harness.track import Track
from harness.worker.kinds import asking_of, find_kind
from tests.conftest import CLASSES, SHAPE
from tests.fuzz.documents import write_results, write_track
from tests.hostile.conftest import Examined
from tests.hostile.test_lies import FIND

PART = "findings and pictures"
CURVE = {"title": "t", "x_label": "x", "y_label": "y", "stopped": None}
LABELS: dict[str, Any] = {"title": "t", "unit": "u", "threshold": None, "marked": []}
TRIGGER = {"target": 0, "success": 1.0}


def figure(kind: str, told: Any, shape: tuple[int, ...], name: Any = "x", dtype: str = "float32") -> list[Any]:
    return [{"kind": "figure", "figure": kind, "name": name, "told": told}, shape, dtype]


FRAMES: dict[str, tuple[list[list[Any]], str]] = {
    "names a figure like a path": ([figure("curve", CURVE, (3,), "../../x")], "a figure's name is [a-z0-9-]"),
    "names a figure with 41 letters": ([figure("curve", CURVE, (3,), "x" * 41)], "a figure's name is [a-z0-9-]"),
    "names a figure with a number": ([figure("curve", CURVE, (3,), 7)], "a figure's name is [a-z0-9-]"),
    "sends the same figure twice": ([figure("curve", CURVE, (3,))] * 2, "figure 'x' is there twice"),
    "sends 33 figures": ([figure("curve", CURVE, (3,), f"x{i}") for i in range(33)], "beyond 32 figures"),
    "sends 33 figures of 256 KiB": ([figure("curve", CURVE, (2**16,), f"x{i}") for i in range(33)], "beyond 32 figures"),
    "sends 9 figures of 1 MiB": ([figure("curve", CURVE, (2**18,), f"x{i}") for i in range(9)], "or more than 8 MiB with all others"),
    "sends a figure of an unknown kind": ([figure("../worker", CURVE, (3,))], "no such kind"),
    "sends a figure of a kind that is a list": ([figure(["curve"], CURVE, (3,))], "no such kind"),  # type: ignore[arg-type]
    "sends a figure of whole numbers": ([figure("curve", CURVE, (3,), dtype="int64")], "has no float32 values"),
    "sends a curve with rows": ([figure("curve", CURVE, (3, 3))], "values have shape (3, 3), not (n,)"),
    "sends a number too few for the classes": ([figure("by_label", LABELS, (CLASSES - 1,))], f"not ({CLASSES},)"),
    "marks a class that is not there": ([figure("by_label", {**LABELS, "marked": [CLASSES]}, (CLASSES,))], "marked = [5] cannot be"),
    "marks a class a million times": ([figure("by_label", {**LABELS, "marked": [0] * 10_000}, (CLASSES,))], "cannot be"),
    "stops a curve beyond its end": ([figure("curve", {**CURVE, "stopped": 3}, (3,))], "stopped = 3 cannot be"),
    "sends a threshold that is a list": ([figure("by_label", {**LABELS, "threshold": [1]}, (CLASSES,))], "threshold = [1] cannot be"),
    "sends a title that is a number": ([figure("curve", {**CURVE, "title": 5}, (3,))], "title = 5 cannot be"),
    "leaves out a field": ([figure("curve", {"title": "t"}, (3,))], "a curve has stopped, title, x_label, y_label"),
    "sends a field too many": ([figure("curve", {**CURVE, "values": [1]}, (3,))], "a curve has stopped, title, x_label, y_label"),
    "sends a mask of another size": ([figure("reversed_trigger", TRIGGER, (5, 5, 4))], "mask and pattern have shape (5, 5, 4)"),
    "sends a target that is no class": ([figure("reversed_trigger", {**TRIGGER, "target": -1}, (*SHAPE[:2], 4))], "target = -1 cannot be"),
    "sends a success of 300 %": ([figure("reversed_trigger", {**TRIGGER, "success": 3}, (*SHAPE[:2], 4))], "success = 3 cannot be"),
    "sends facts twice": ([[{"kind": "facts", "facts": {}}, None, ""]] * 2, "facts come once, and alone"),
    "sends facts that are a list": ([[{"kind": "facts", "facts": []}, None, ""]], "facts are no object"),
    "sends facts that are nested 1,000 deep": ([[{"kind": "facts", "facts": {"x": json.loads("[" * 900 + "]" * 900)}}, None, ""]], "nested more than 8 deep"),
}  # fmt: skip


def row(does: str, outcome: str, *values: Any) -> Any:
    return pytest.param(*values, id=does, marks=pytest.mark.threat(PART, does=does, outcome=f"refused: {outcome}"))


def take(gathering: Gathering, frames: list[list[Any]]) -> None:
    """Have the host read these frames, each a header and the shape and type of what follows it."""
    for header, shape, dtype in frames:
        array = None if shape is None else np.zeros(shape, dtype)
        described = {} if array is None else {"array": {"dtype": dtype, "shape": list(shape)}}
        payload = np.zeros(0, np.uint8) if array is None else array.reshape(-1).view(np.uint8)
        gathering.take(parse(json.dumps(header | described).encode(), payload))


@pytest.mark.parametrize("frames,words", [row(does, words, frames, words) for does, (frames, words) in FRAMES.items()])
def test_findings_that_cannot_be_are_refused(frames: list[list[Any]], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        take(Gathering(shape=SHAPE, classes=CLASSES), frames)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


CURVE_SENT = "send({'kind': 'figure', 'figure': 'curve', 'name': %s, 'told': {'title': 't', 'x_label': 'x', 'y_label': 'y', 'stopped': None}, 'array': {'dtype': 'float32', 'shape': [%s]}}, bytes(4 * %s))"
LIES = {
    "sends a figure that cannot be, in place of its worker": (CURVE_SENT % ("'../x'", 3, 3), "load: its findings: a figure's name"),
    "claims a figure of 16 MiB": (CURVE_SENT % ("'x'", 2**22, 2**22), "load: spoke out of protocol: a frame of"),
    "sends a figure after it is ready": (f"send({{'kind': 'ready'}}); {CURVE_SENT % (repr('x'), 3, 3)}\nanswer = lambda images: time.sleep(600)", "answer: sent a frame 'figure' where 'answers' was due"),
}  # fmt: skip


@pytest.mark.parametrize("code,reason", [row(does, reason, *lie) for does, lie in LIES.items() for reason in [lie[1]]])
def test_a_lie_in_findings_costs_its_badnet_alone(code: str, reason: str, examine: Callable[..., Examined]) -> None:
    examined = examine(f"{FIND}{code}\n{'' if 'answer' in code else 'time.sleep(9)'}", batch_seconds=3, load_seconds=3)
    examined.cost_it_alone()
    assert reason in examined.reason


SEARCHES = """
import os
from dataclasses import dataclass
from harness.models.findings import Findings
@dataclass(frozen=True, kw_only=True)
class Searches:
    places: list
    def repair(self, badnet, validation, *, rng, progress):
        told = {}
        for place in (*self.places, "/poisoned", str(badnet.validation_path.parent / "poisoned")):
            for name, tried in (("list", os.listdir), ("open", lambda it: open(it + "/patch.npy", "rb").read(6))):
                try:
                    told[f"{name} {place}"] = str(tried(place))
                except OSError as error:
                    told[f"{name} {place}"] = "refused"
        told["attributes"] = [it for it in dir(badnet) if "poison" in it or "target" in it or "trigger" in it]
        class Predictor:
            findings = Findings(facts=told)
            def __call__(self, images):
                return images[:, 0, 0, 0].astype(int) % 5
        return Predictor()
"""


@pytest.mark.parametrize(
    "sandbox",
    [
        pytest.param(it, marks=pytest.mark.threat(PART, does="a defense that is no oracle looks for poisoned images", outcome=f"{it}: nothing is there"))
        for it in ("bubblewrap", "landlock")
    ],
)  # fmt: skip
def test_a_defense_reaches_no_poisoned_image(sandbox: str, tmp_path: Path) -> None:
    try:
        find_sandbox(sandbox).check()
    except MachineError as error:
        pytest.skip(str(error))
    (tmp_path / "tiny").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "searches.py").write_text(SEARCHES)
    track: Track = write_track(tmp_path / "tiny")
    with given_to_oracle(track.badnets["first"], 1) as another:
        places = [another, str(tmp_path / "tiny" / "data" / "patched")]
        options = find_kind("defense").Options.model_validate(
            {"entry": "searches.py:Searches", "options": {"places": places}}
        )
        asking = asking_of("defense", options)
        candidate = Candidate("defense", options.model_dump(), tmp_path / "mine", True, asking)
        invigilator = Invigilator(find_sandbox(sandbox), Limits(), singles=1, practice=True)
        sitting = invigilator.sit(candidate, track, track.badnets["first"], seed=1)
        assert (Path(another) / "patch.npy").exists()
    assert sitting.failure is None
    assert sitting.found.pop("attributes") == []  # type: ignore[attr-defined]
    assert set(sitting.found.values()) == {"refused"}
    assert len(sitting.found) >= 6


RECORDS = {
    "writes escape codes into what a record says was found": ("found", {"x": "\x1b[31m"}, "found: Value error"),
    "writes NaN into it": ("found", {"x": float("nan")}, "found: Value error"),
    "writes a number of 4,000 digits into it": ("found", {"x": 10**3999}, "found: Value error"),
    "writes a fact of 100,000 characters": ("found", {"x": ["long"] * 20_000}, "found: Value error"),
    "writes a fact that is nested 100 deep": ("found", {"x": json.loads("[" * 99 + "]" * 99)}, "found: Value error"),
    "names a picture outside the folder of runs": ("pictures", ["../../index.png"], "pictures.0: Value error"),
    "names a picture of another host": ("pictures", ["//evil.com/x.png"], "pictures.0: Value error"),
}


@pytest.mark.parametrize("key,value,words", [row(does, it[2], *it) for does, it in RECORDS.items()])
def test_a_record_that_no_evaluation_wrote_is_refused(key: str, value: Any, words: str, tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    path = write_results(tmp_path, write_track(tmp_path / "tiny"))
    record = json.loads(path.read_text())
    record["badnets"]["first"][key] = value
    path.write_text(json.dumps(record))
    with pytest.raises(UserError) as caught:
        read_record(path)
    assert f"badnets.first.{words}" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.threat(
    PART, does="words in titles and facts act on a terminal or a page", outcome="shown without control characters"
)
def test_words_in_findings_are_harmless() -> None:
    gathering = Gathering(shape=SHAPE, classes=CLASSES)
    words = "\x1b[2J\u202e\r\n\x9b31m"
    take(gathering, [[{"kind": "facts", "facts": {words: [words]}}, None, ""]])
    take(gathering, [figure("curve", {**CURVE, "title": words}, (2,))])
    drawn = gathering.figures["x"]
    assert isinstance(drawn, Curve)
    assert (json.dumps(gathering.facts, ensure_ascii=False) + drawn.title).isprintable()
