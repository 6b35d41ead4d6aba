"""A stranger's code that speaks for the harness in its own process: frames that lie, come early, twice, or never."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.hostile.conftest import Examined


class Lie(NamedTuple):
    """Code that runs as the predictor is built, what it does in words, and the reason that must be recorded."""

    does: str
    code: str
    reason: str


FIND = """
import fcntl, json, os, stat, struct, time
import numpy as np
def writable(fd):
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode) and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
    except OSError:
        return False
pipe = next(fd for fd in range(3, 60) if writable(fd))
os.set_blocking(pipe, True)
def send(header, payload=b'', length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    data = struct.pack('<IQ', len(text), len(payload) if length is None else length) + text + payload
    while data: data = data[os.write(pipe, data):]
def answers(n, id=1, value=5):
    send({'kind': 'answers', 'id': id, 'array': {'dtype': 'int64', 'shape': [n]}}, np.full(n, value, '<i8').tobytes())
"""
"""The submission's end of the pipe, and frames as `harness.protocol` describes them."""
LAZY = "answer = lambda images: time.sleep(600)"

LIES = {
    "long header": Lie("claims a header of 4 GiB", "os.write(pipe, struct.pack('<IQ', 2**32 - 1, 0)); time.sleep(9)", "load: spoke out of protocol: a frame of 4294967295 + 0 bytes is larger than allowed"),
    "long payload": Lie("claims a payload of 2**63 bytes", "os.write(pipe, struct.pack('<IQ', 2, 2**63)); time.sleep(9)", "larger than allowed"),
    "flood": Lie("writes a gigabyte into the protocol's pipe", "for _ in range(1024): os.write(pipe, b'x' * 2**20)", "load: spoke out of protocol"),
    "not JSON": Lie("sends a header that is not JSON", "send(b'{kind: ready}'); time.sleep(9)", "a header is not JSON"),
    "deep JSON": Lie("sends JSON that is nested 30,000 deep", "send(b'[' * 30000 + b']' * 30000); time.sleep(9)", "a header is not JSON"),
    "huge number": Lie("sends a number of 60,000 digits", "send(b'{\"kind\": ' + b'9' * 60000 + b'}'); time.sleep(9)", "a header is not JSON"),
    "no kind": Lie("sends a frame of no kind", "send([1, 2]); time.sleep(9)", "a header without a kind"),
    "unknown kind": Lie("sends a frame of another kind", "send({'kind': 'score', 'value': 100}); time.sleep(9)", "sent a frame 'score' where 'ready' was due"),
    "objects": Lie("answers with Python objects", f"send({{'kind': 'ready'}}); send({{'kind': 'answers', 'id': 1, 'array': {{'dtype': 'object', 'shape': [1]}}}}, bytes(8))\n{LAZY}", "answer: spoke out of protocol: an array of another dtype"),
    "negative shape": Lie("answers with a negative shape", f"send({{'kind': 'ready'}}); send({{'kind': 'answers', 'id': 1, 'array': {{'dtype': 'int64', 'shape': [-1]}}}}, bytes(8))\n{LAZY}", "answer: spoke out of protocol: an array with an impossible shape"),
    "wrong shape": Lie("answers with another shape than its bytes have", f"send({{'kind': 'ready'}}); send({{'kind': 'answers', 'id': 1, 'array': {{'dtype': 'int64', 'shape': [7]}}}}, bytes(8))\n{LAZY}", "answer: spoke out of protocol: an array of (7,) int64 does not have 8 bytes"),
    "no array": Lie("answers without an array", f"send({{'kind': 'ready'}}); send({{'kind': 'answers', 'id': 1}})\n{LAZY}", "answer: answered another batch than it was asked"),
    "wrong batch": Lie("answers a batch that it was not asked", f"send({{'kind': 'ready'}}); answers(60, id=2)\n{LAZY}", "answer: answered another batch than it was asked"),
    "too many": Lie("answers more images than it was asked", f"send({{'kind': 'ready'}}); answers(10**6)\n{LAZY}", "answer: spoke out of protocol: a frame of 77 + 8000000 bytes is larger than allowed"),
    "twice": Lie("answers each batch twice", "def answer(images):\n    answers(len(images))\n    return np.full(len(images), 5)", "answer: answered another batch than it was asked"),
    "ready twice": Lie("says twice that it is ready", "send({'kind': 'ready'})\nanswer = lambda images: np.full(len(images), 5)", "answer: sent a frame 'ready' where 'answers' was due"),
    "closed": Lie("closes the pipe and lives on", "os.close(pipe); time.sleep(600)", "load: took longer than 3 s"),
    "progress": Lie("reports progress for ever", "while True: send({'kind': 'progress', 'what': 'x' * 1000, 'done': 1, 'total': 2})", "load: took longer than 3 s"),
    "notes": Lie("sends notes for ever", "while True: send({'kind': 'note', 'words': 'x' * 60000})", "load: took longer than 3 s"),
    "half a frame": Lie("sends half a frame and waits", "os.write(pipe, struct.pack('<IQ', 100, 0) + b'{'); time.sleep(600)", "load: took longer than 3 s"),
    "drip": Lie("sends a frame byte by byte, so that something always comes", "for byte in struct.pack('<IQ', 60000, 0) + b' ' * 60000: os.write(pipe, bytes([byte])); time.sleep(0.2)", "load: took longer than 3 s"),
    "deaf": Lie("does not read what it is asked", "send({'kind': 'ready'}); time.sleep(600)", "answer: took longer than 3 s"),
    "exit": Lie("exits with 0 and without answers", "os._exit(0)", "load: ended with exit code 0 without an answer"),
    "exit later": Lie("exits with 0 when it is asked", "answer = lambda images: os._exit(0)", "answer: ended with exit code 0 without an answer"),
    "failure elsewhere": Lie("reports a failure at a stage of its own invention", "send({'kind': 'failure', 'stage': '<b>', 'reason': ['\\x1b[31m', {}]}); time.sleep(9)", "answer: ['"),
}  # fmt: skip


def rows() -> list[Any]:
    part = "lying to the host"
    return [
        pytest.param(name, id=name, marks=pytest.mark.threat(part, does=lie.does, outcome=lie.reason))
        for name, lie in LIES.items()
    ]


@pytest.mark.parametrize("name", rows())
def test_a_lie_costs_its_badnet_alone(name: str, examine: Callable[..., Examined]) -> None:
    examined = examine(FIND + LIES[name].code, batch_seconds=3, load_seconds=3)
    examined.cost_it_alone()
    assert LIES[name].reason in examined.reason


@pytest.mark.threat(
    "lying to the host", does="answers before it is asked", outcome="graded as given: blind answers are worth nothing"
)
def test_answers_given_blind_are_graded_as_such(examine: Callable[..., Examined]) -> None:
    """What comes before the question is an answer all the same, and one that saw no image."""
    examined = examine(FIND + "send({'kind': 'ready'}); answers(210)\nanswer = lambda images: np.full(len(images), 5)")
    assert examined.record.badnets["first"].score.value is not None
    assert examined.record.badnets["first"].score.value <= 0
    assert examined.record.badnets["second"].score.value == 100


@pytest.mark.threat(
    "lying to the host",
    does="prints terminal codes, HTML and markup in its errors, notes and progress",
    outcome="shown without control characters, and escaped",
)
def test_words_of_a_stranger_are_harmless_wherever_they_are_shown(
    examine: Callable[..., Examined], tiny_track_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness import console, tables
    from leaderboard.asked import Request, answer, formats, render

    words = "\x1b[2J\x1b]0;owned\x07[bold red]<script>alert(1)</script>\u202e|\r\n\x9b31m"
    examined = examine(f"words = {words!r}\n{FIND}send({{'kind': 'note', 'words': words}})\nraise RuntimeError(words)")
    examined.cost_it_alone()
    record = examined.record
    for line in (*tables.failures(record), *tables.notes(record)):
        console.out.print(line, markup=False)
    console.out.print(tables.table(record))
    shown = capsys.readouterr().out + tables.markdown(record)
    made, problems = answer(examined.results, Request([str(tiny_track_folder)]))
    assert problems == []
    shown += "".join(render(made, name) for name in formats())
    shown += json.dumps(record.model_dump(mode="json"), ensure_ascii=False)
    shown += (examined.results / "tiny" / "logs" / "stranger" / "first.log").read_text()
    assert "owned" in shown
    assert not {"\x1b", "\x07", "\x9b", "\r", "\u202e"} & set(shown)
