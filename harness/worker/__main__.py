"""The worker's loop: load what the start frame names, then answer batch after batch."""

import contextlib
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.models.contracts import BadNetView, OracleView, Predictor
from harness.models.errors import ModelError
from harness.models.findings import Findings
from harness.models.findings_frames import pack
from harness.protocol import Channel, Frame
from harness.worker.kinds import find_kind
from harness.worker.limits import keep_to
from harness.worker.notes import note, send_notes_to
from harness.worker.saving import send_saved

MAX_PAYLOAD = 2**31
MAX_REASON = 2000
PROGRESS_SECONDS = 0.1


def main() -> None:
    """Serve one sitting; every failure of the submission is sent as a `failure` frame with its stage."""
    channel = _private_channel()
    channel.send("hello")
    send_notes_to(lambda words: channel.send("note", {"words": words[:MAX_REASON]}))
    start = channel.receive(max_payload=0)
    keep_to(start.fields["limits"])
    stage = "load"
    try:
        predictor = _load(start, channel)
        _tell_findings(predictor, channel)
        channel.send("ready")
        stage = "answer"
        while (frame := channel.receive(max_payload=MAX_PAYLOAD)).kind in ("batch", "save"):
            if frame.kind == "save":
                stage = "save"
                send_saved(predictor, start, channel)
                continue
            assert frame.array is not None
            answer = predictor.cold if frame.fields.get("cold") else predictor  # type: ignore[attr-defined]
            answers = as_answers(answer(frame.array), len(frame.array))
            channel.send("answers", {"id": frame.fields["id"]}, answers)
    except EOFError:
        return
    except BaseException as error:  # noqa: BLE001 - a submission may raise anything, SystemExit included
        traceback.print_exc()
        channel.send("failure", {"stage": stage, "reason": _reason(error)})
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # the submission may have put anything in their place
            stream.flush()
    os._exit(0)  # threads that a submission left behind must not keep the process alive


def _load(start: Frame, channel: Channel) -> Predictor:
    fields = start.fields
    told: dict[str, Any] = fields["badnet"]
    told |= {key: Path(value) for key, value in told.items() if key.endswith("_path")}
    badnet = (OracleView if "poisoned_path" in told else BadNetView)(**told)
    kind = find_kind(fields["submission_kind"])
    options = kind.Options.model_validate(fields["options"])
    predictor: Predictor = kind.load(
        options, badnet, Path(fields["root"]), seed=fields["seed"], progress=_Progress(channel)
    )
    if not callable(predictor):
        raise TypeError(f"{type(predictor).__name__} is not callable; a predictor is called with a batch of images")
    return predictor


def _tell_findings(predictor: Predictor, channel: Channel) -> None:
    """Send what a defense found out, if it says so; what is too large is left out, with a note."""
    findings = getattr(predictor, "findings", None)
    if isinstance(findings, Findings):
        frames, left_out = pack(findings)
        for frame in frames:
            channel.send(*frame)
        for words in left_out:
            note(words)


def as_answers(result: Any, count: int) -> NDArray[np.int64]:
    """What a predictor returned as int64 (n,); whatever is not a whole number becomes -1. Raises ValueError on a wrong shape."""
    answers = np.asarray(result)
    if answers.shape != (count,):
        raise ValueError(
            f"answered with shape {answers.shape} for {count} images; return one integer an image, shape ({count},)"
        )
    if answers.dtype.kind == "b" or answers.dtype.kind not in "iuf":
        raise ValueError(f"answered with dtype {answers.dtype}; return integers 0..N")
    if answers.dtype.kind == "f":
        whole = np.isfinite(answers) & (answers == np.rint(answers)) & (np.abs(answers) < 2**31)
        answers = np.where(whole, answers, -1)
    return answers.astype(np.int64)


class _Progress:
    """Tells the host what a long load or repair is doing, at most ten times a second."""

    def __init__(self, channel: Channel) -> None:
        self._channel, self._last, self._what = channel, 0.0, ""

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= PROGRESS_SECONDS or what != self._what or done >= total:
            self._last, self._what = now, what
            self._channel.send("progress", {"what": what[:200], "done": int(done), "total": int(total)})


def _private_channel() -> Channel:
    """Take the two pipes for frames alone: what a submission prints goes to the log, what it reads is empty."""
    read_fd, write_fd = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    with contextlib.closing(os.fdopen(os.open(os.devnull, os.O_RDONLY))) as nothing:
        os.dup2(nothing.fileno(), 0)
    return Channel(read_fd, write_fd)


def _reason(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"called exit({error.code!r})"[:MAX_REASON]
    if isinstance(error, ModelError):
        return str(error)[:MAX_REASON]
    return f"{type(error).__name__}: {error}"[:MAX_REASON]


if __name__ == "__main__":
    main()
