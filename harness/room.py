"""One submission at its exam: a worker in a sandbox, what is asked of it, and the clock readings."""

import os
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.audits import ColdAudit
from harness.conversation import Conversation, Misbehaviour
from harness.errors import MachineError
from harness.exam import Exam
from harness.fetching import Fetched, fetch
from harness.images import Report
from harness.models.findings import Figure
from harness.models.findings_frames import FRAMES, MAX_BYTES, Gathering
from harness.models.quiet import environment
from harness.oracle import given_to_oracle
from harness.outcomes import sanitise
from harness.track import BadNet, Track
from harness.worker.kinds._asking import Asking

if TYPE_CHECKING:
    from harness.invigilator import Invigilator

ROOT = Path(__file__).resolve().parent.parent
WORKER_CODE = (
    "harness/__init__.py", "harness/protocol.py", "harness/wording.py", "harness/worker", "harness/models", "reference_defenses",
)  # fmt: skip
COLD_BATCH = 2
DUE = ("ready", *FRAMES)
THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
"""Variables that say how many threads a library uses: as many as there are cores, whatever the user's own are set to."""


class Candidate(NamedTuple):
    """What sits the exam: a kind, its checked options for this BadNet, and the submission's folder."""

    kind: str
    options: Mapping[str, Any]
    root: Path
    repairs: bool = False
    """A live defense: its loading time is repair time, under the limit for repairs."""
    asking: Asking = Asking()


class Room:
    """One running worker and the clock readings taken of it."""

    def __init__(
        self, invigilator: "Invigilator", candidate: Candidate, track: Track, badnet: BadNet, seed: int
    ) -> None:
        self.invigilator, self.candidate, self.limits = invigilator, candidate, invigilator.limits
        self.classes = track.classes
        self.readings: dict[str, Any] = {}
        self.cold: ColdAudit | None = None
        self.findings = Gathering(shape=track.spec.shape, classes=track.classes)
        self.asked = 0
        model = f"/badnet/{badnet.name}{badnet.model_path.suffix}"
        mounts = {f"/code/{name}": ROOT / name for name in WORKER_CODE}
        mounts |= {"/submission": candidate.root, model: badnet.model_path}
        mounts |= {f"/validation/{name}": badnet.validation_path / name for name in ("images.npy", "labels.npy")}
        self._given = given_to_oracle(badnet, seed) if candidate.asking.oracle else None
        if self._given:
            mounts["/poisoned"] = Path(self._given.name)
        place = invigilator.sandbox.place(mounts)
        self.start = {
            "submission_kind": candidate.kind,
            "options": dict(candidate.options),
            "root": place.paths["/submission"],
            "seed": seed,
            "limits": self.limits.of_a_process(counts_anew=invigilator.sandbox.counts_anew),
            "badnet": {
                "name": badnet.name, "model_path": place.paths[model], "classes": track.classes, "scale": badnet.spec.scale,
                "validation_path": str(Path(place.paths["/validation/images.npy"]).parent),
                **({"poisoned_path": place.paths["/poisoned"]} if self._given else {}),
            },
        }  # fmt: skip
        code = str(Path(place.paths["/code/harness/__init__.py"]).parent.parent)
        self.began = self.exam_began = time.monotonic()
        environment = _environment(code, gpu=invigilator.sandbox.gpu)
        self.process = invigilator.open(place, [sys.executable, "-s", "-m", "harness.worker"], environment)
        self._talk = Conversation(self.process)

    @property
    def notes(self) -> list[str]:
        """What the worker found worth telling."""
        return self._talk.notes

    @property
    def facts(self) -> dict[str, Any]:
        """What the defense states that it found out, once it is seated."""
        return self.findings.facts

    @property
    def figures(self) -> dict[str, Figure]:
        """What the defense would have drawn, once it is seated."""
        return self.findings.figures

    def seat(self, report: Report) -> None:
        """Start the worker and have it load, or repair."""
        report("starting", 0, 0)
        most = self.limits.start_seconds
        try:
            self._talk.hear("start", "hello", deadline=self.began + most, late=_longer(most))
        except Misbehaviour as misbehaviour:  # nothing of the submission has run yet
            reason = misbehaviour.failure.reason
            raise MachineError(f"a worker cannot be started: it {reason}; `badnet doctor` may say why") from None
        hello = time.monotonic()
        self.readings["start_seconds"] = hello - self.began
        repairs = self.candidate.repairs
        stage = "repair" if repairs else "load"
        seconds = self.limits.repair_seconds if repairs else self.limits.load_seconds
        report("repairing" if repairs else "loading", 0, 0)
        deadline, late = hello + seconds, _longer(seconds)
        self._talk.say(stage, "start", self.start, deadline=deadline, late=late)
        hear = partial(self._talk.hear, stage, *DUE, deadline=deadline, late=late, max_payload=MAX_BYTES, report=report)
        while (frame := hear()).kind != "ready":
            try:
                self.findings.take(frame)
            except ValueError as error:
                raise Misbehaviour(stage, f"its findings: {error}") from None
        self.readings[f"{stage}_seconds"] = time.monotonic() - hello

    def save(self, folder: Path, report: Report) -> Fetched:
        """Have what was repaired written into `folder` as a competitor would hand it in. Raises Misbehaviour."""
        report("saving", 0, 0)
        seconds = self.limits.load_seconds
        return fetch(self._talk, folder, deadline=time.monotonic() + seconds, late=_longer(seconds))

    def examine(self, exam: Exam, answers: NDArray[np.int32], report: Report) -> None:
        """Send the whole exam in batches and note how long each answer takes; a sample may go to new processes too."""
        self.begin()
        everything, asking = np.arange(len(exam)), self.candidate.asking
        self._answer(exam, everything, answers, len(exam) if asking.whole else asking.batch, report)
        if asking.public:
            del self.readings["batch_seconds"], self.readings["batch_images"]  # the work was done elsewhere
        if asking.cold and self.invigilator.cold:
            self._compare_with_new_processes(exam, answers, report)

    def begin(self, spent: float = 0.0) -> None:
        """Have the time for all images together run from now on, less the seconds that were spent already."""
        self.exam_began = time.monotonic() - spent

    def _answer(
        self, exam: Exam, positions: NDArray[np.int64], answers: NDArray[np.int32], size: int | None, report: Report,
        *, cold: bool = False,
    ) -> None:  # fmt: skip
        """Fill in the answers at these positions, `size` images at a time, and note how long they took."""
        seconds, images, size = [], [], size or self.invigilator.batch
        for start in range(0, len(positions), size):
            part = positions[start : start + size]
            taken, answers[part] = self.ask(exam.images_at(part), cold=cold)
            seconds.append(taken)
            images.append(len(part))
            report("answering, a new process each" if cold else "answering", start + len(part), len(positions))
        self.readings |= {"batch_seconds": np.array(seconds), "batch_images": np.array(images)}

    def _compare_with_new_processes(self, exam: Exam, answers: NDArray[np.int32], report: Report) -> None:
        """Have a sample answered by a new process each, which is how the script's author runs it: those answers win."""
        positions, began = exam.sample(self.invigilator.cold), time.monotonic()
        first = self._new_processes(exam, positions, report)
        differed, verdict = int((first != answers[positions]).sum()), "agrees"
        if differed:
            second = self._new_processes(exam, positions, report)
            # Some of a script's answers may be drawn at random: only what differs beyond that is the warm process's doing.
            verdict = "run cold" if differed > 2 * int((first != second).sum()) else "nondeterministic"
        if verdict == "run cold" and not self.invigilator.practice:
            self._enough_time((time.monotonic() - began) / 2 / len(positions) * len(exam))
            self._answer(exam, np.arange(len(exam)), answers, COLD_BATCH, report, cold=True)
        self.cold = ColdAudit(images=len(positions), differed=differed, verdict=verdict)

    def _enough_time(self, needed: float) -> None:
        """Raise Misbehaviour where running all images by new processes would be in vain."""
        spent = time.monotonic() - self.exam_began
        if spent + needed > self.limits.exam_seconds:
            raise Misbehaviour(
                "answer",
                f"answers otherwise where each image gets a new process, and all images that way take about {needed:,.0f} s: "
                f"--exam-seconds {1.2 * (spent + needed):.0f} allows it",
            )

    def _new_processes(self, exam: Exam, positions: NDArray[np.int64], report: Report) -> NDArray[np.int32]:
        found = []
        for start in range(0, len(positions), COLD_BATCH):
            report("comparing with new processes", start, len(positions))
            found.append(self.ask(exam.images_at(positions[start : start + COLD_BATCH]), cold=True)[1])
        return np.concatenate(found)

    def clear(self) -> None:
        """End the worker and all that it started."""
        self.invigilator.shut(self.process)
        if self._given:
            self._given.cleanup()

    def ask(self, images: NDArray[np.uint8], *, cold: bool = False) -> tuple[float, NDArray[np.int32]]:
        """Have one batch answered: the seconds that it took, and int32 (n,). Raises Misbehaviour."""
        asked, self.asked = time.monotonic(), self.asked + 1
        left = self.exam_began + self.limits.exam_seconds - asked
        if left <= 0:
            raise Misbehaviour("answer", self._too_long())
        most = self.limits.batch_seconds
        late = _longer(most)
        if self.candidate.asking.whole or left < most:
            most, late = left, self._too_long()
        fields = {"id": self.asked, **({"cold": True} if cold else {})}
        self._talk.say("answer", "batch", fields, images, deadline=asked + most, late=late)
        frame = self._talk.hear("answer", "answers", deadline=asked + most, late=late, max_payload=8 * len(images))
        taken = time.monotonic() - asked
        if frame.fields.get("id") != self.asked or frame.array is None or frame.array.shape != (len(images),):
            raise Misbehaviour("answer", "answered another batch than it was asked")
        return taken, sanitise(frame.array, self.classes)

    def _too_long(self) -> str:
        return f"took longer than {self.limits.exam_seconds:g} s for all images together (--exam-seconds allows more)"


def _longer(seconds: float) -> str:
    return f"took longer than {seconds:g} s"


def _environment(code: str, *, gpu: bool) -> dict[str, str]:
    fixed = {
        "PYTHONPATH": code, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/tmp", "TMPDIR": "/tmp",
        "USER": "exam", "LOGNAME": "exam", "LANG": "C.UTF-8", "TZ": "UTC", "PATH": "/usr/bin:/bin",
    }  # fmt: skip
    cores = str(len(os.sched_getaffinity(0)))
    return fixed | environment(gpu=gpu) | dict.fromkeys(THREADS, cores)
