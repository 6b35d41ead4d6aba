"""What host and worker say to each other; whatever goes wrong in it is the submission's doing, told in one line."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.images import Report, silent
from harness.protocol import Frame, ProtocolError
from harness.sandbox.process import SandboxedProcess
from harness.sitting import Failure
from harness.wording import harmless

GRACE_SECONDS = 2.0
MAX_NOTES = 20


class Misbehaviour(Exception):
    """The submission failed: a stage and a reason, which go into the record."""

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(reason)
        self.failure = Failure(stage, harmless(reason))


class Conversation:
    """Frames to and from one worker, each by its deadline."""

    def __init__(self, process: SandboxedProcess) -> None:
        self._process = process
        self.notes: list[str] = []

    def say(
        self, stage: str, kind: str, fields: Mapping[str, Any], array: NDArray[np.uint8] | None = None, *,
        deadline: float, late: str,
    ) -> None:  # fmt: skip
        """Send a frame. late: what is said of a worker that has not taken it by `deadline`. Raises Misbehaviour."""
        try:
            self._process.channel.send(kind, fields, array, deadline=deadline)
        except (EOFError, TimeoutError):
            # The worker may have said why before it went.
            self.hear(stage, deadline=deadline, late=late)
        except ProtocolError as error:  # options longer than a header
            raise Misbehaviour(stage, f"its options cannot be sent: {error}") from None

    def hear(
        self, stage: str, *due: str, deadline: float, late: str, max_payload: int = 0, report: Report = silent
    ) -> Frame:
        """The next frame, which must be of a kind that is due; notes are kept, progress is passed on. Raises Misbehaviour."""
        try:
            while True:
                frame = self._process.channel.receive(max_payload=max_payload, deadline=deadline)
                if frame.kind in due:
                    return frame
                if frame.kind == "progress" and report is not silent:
                    what, done, total = (frame.fields.get(name) for name in ("what", "done", "total"))
                    if isinstance(what, str) and type(done) is type(total) is int and 0 <= done <= total < 2**53:
                        report(harmless(what, 60), done, total)
                elif frame.kind == "note":
                    if len(self.notes) < MAX_NOTES:
                        self.notes.append(harmless(str(frame.fields.get("words")), 300))
                elif frame.kind == "failure":
                    told, reason = frame.fields.get("stage"), str(frame.fields.get("reason"))
                    raise Misbehaviour(stage if told in ("load", stage) else "answer", reason)
                elif frame.kind != "progress":
                    wanted = due[0] if due else ""
                    raise Misbehaviour(stage, f"sent a frame {harmless(frame.kind, 30)!r} where {wanted!r} was due")
        except TimeoutError:
            raise Misbehaviour(stage, late) from None
        except ProtocolError as error:
            raise Misbehaviour(stage, f"spoke out of protocol: {error}") from None
        except EOFError:
            raise Misbehaviour(stage, self._why_gone()) from None

    def _why_gone(self) -> str:
        status = self._process.ended(GRACE_SECONDS)
        if self._process.exceeded:
            return self._process.exceeded
        if status is None:
            return "closed its pipe"
        # bubblewrap reports a signal as 128 + its number.
        signal_number = -status if status < 0 else status - 128 if status > 128 else 0
        last = harmless((self._process.log.strip().splitlines() or [""])[-1], 200)
        how = f"was ended by signal {signal_number}" if signal_number else f"ended with exit code {status}"
        return f"{how} without an answer{f' ({last})' if last else ''}"
