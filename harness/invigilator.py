"""Sits one submission down with one exam: sandbox, protocol, limits, host-side timing -> a Sitting."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np

from harness.auditing import Auditing
from harness.audits import Audits
from harness.conversation import Misbehaviour
from harness.exam import PUBLIC_SEED, Exam
from harness.images import Report, silent
from harness.outcomes import INVALID
from harness.room import Candidate, Room
from harness.sandbox import Place, Sandbox
from harness.sandbox.limits import Limits
from harness.sandbox.process import SandboxedProcess
from harness.sitting import Failure, Sitting
from harness.track import BadNet, Track
from harness.turns import Turns

BATCH = 512
SINGLES = 100
COLD = 16


class Invigilator:
    """Examines candidates in a sandbox, one exam at a time."""

    def __init__(
        self, sandbox: Sandbox, limits: Limits, *, batch: int = BATCH, singles: int = SINGLES, cold: int = COLD,
        practice: bool = False,
    ) -> None:  # fmt: skip
        """batch: images at a time. singles: images sent again, each alone. cold: images that a script answers again.

        practice: a script whose answers differ in new processes is not run that way throughout, and few images are asked
        again: both may take hours.
        """
        self.sandbox = sandbox
        self.limits = limits
        self.batch = batch
        self.singles = singles
        self.cold = cold
        self.practice = practice
        self._lock = threading.Lock()
        self._running: set[SandboxedProcess] = set()
        self._cancelled = False
        self._turns = Turns()

    def cancel(self) -> None:
        """End every running worker; sittings that still begin end at once."""
        with self._lock:
            self._cancelled = True
            running = set(self._running)
        for process in running:
            process.kill()

    def open(self, place: Place, command: Sequence[str], environment: Mapping[str, str]) -> SandboxedProcess:
        """Start a process in a place of the sandbox and keep it in mind until `shut`."""
        with self._lock:
            if self._cancelled:
                raise KeyboardInterrupt
            process = place.run(command, environment=environment, limits=self.limits)
            self._running.add(process)
        return process

    def shut(self, process: SandboxedProcess) -> None:
        """End a process and all that it started."""
        process.close()
        with self._lock:
            self._running.discard(process)

    def sit(self, candidate: Candidate, track: Track, badnet: BadNet, *, seed: int, report: Report = silent) -> Sitting:
        """Examine one candidate; whatever it does, a Sitting comes back and none of its processes is left.

        seed: of the secret order. The submission's own randomness has another one, from which it cannot be found.
        """
        if candidate.asking.public:
            seed = PUBLIC_SEED
        exam = Exam(badnet, seed)
        answers = np.full(len(exam), INVALID, np.int32)
        enter = partial(Room, self, candidate, track, badnet, submission_seed(seed))
        auditing = None
        with self._seated(enter, report) as (room, unready):
            failure = unready
            if not failure:
                with self._turns.examining():
                    failure = _attempt(partial(room.examine, exam, answers, report))
                    if not failure and not candidate.asking.public:
                        auditing = Auditing(room, exam, answers)
                        auditing.ask_first(room, report)
        while auditing and auditing.needs_new_process:
            with self._seated(enter, report) as (another, unready), self._turns.examining():
                auditing.ask_anew(another, unready, report)
        if failure:
            answers[:] = INVALID
        unblinded = exam.unblind(answers)
        clean = unblinded.pop(None)
        poisoned = {trigger: part for trigger, part in unblinded.items() if trigger is not None}
        return Sitting(
            clean=clean, poisoned=poisoned, failure=failure, seed=seed, notes=tuple(room.notes), log=room.process.log,
            peak_memory=room.process.peak_memory or None, audits=auditing.audits if auditing else Audits(),
            found=room.facts, figures=room.figures,
            **room.readings,
        )  # fmt: skip

    @contextmanager
    def _seated(self, enter: Callable[[], Room], report: Report) -> Iterator[tuple[Room, Failure | None]]:
        """A process that has loaded, or why it has not; it ends with the block."""
        with ExitStack() as leaving:
            with self._turns.loading():
                room = enter()
                leaving.callback(room.clear)
                failure = _attempt(partial(room.seat, report))
            if not failure:
                report("waiting for its turn", 0, 0)
            yield room, failure


def _attempt(step: Callable[[], None]) -> Failure | None:
    try:
        step()
    except Misbehaviour as misbehaviour:
        return misbehaviour.failure
    return None


def submission_seed(seed: int) -> int:
    """The seed of a submission's own randomness: 32 bits, made from the secret order's seed by a one-way function."""
    return int.from_bytes(hashlib.sha256(f"submission {seed}".encode()).digest()[:4], "big")
