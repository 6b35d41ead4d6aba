"""After an exam: asks some of its images again, in other company, and notes which answers changed."""

import time
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.audit_plan import Question, questions
from harness.audits import Audits, compared
from harness.conversation import Misbehaviour
from harness.exam import Exam
from harness.images import Report
from harness.room import Room
from harness.sitting import Failure

REPAIRED_AGAIN_SECONDS = 60.0
"""A repair that took longer is not done a second time: it would make a long evaluation twice as long."""


class Auditing:
    """The audits of one candidate. Whatever it does in them, its answers in the exam stay as they are."""

    def __init__(self, room: Room, exam: Exam, answers: NDArray[np.int32]) -> None:
        """Draw what is asked again. room: where the exam was; answers: int32 (n,), its answers, in the secret order."""
        self._exam, self._answers, self._flag = exam, answers, room.classes
        self._clean, self._poisoned = exam.clean(), exam.poisoned()
        self._whole, invigilator = room.candidate.asking.whole, room.invigilator
        asked = questions(self._clean, self._poisoned, room.candidate.asking, batch=invigilator.batch, rng=exam.draws)
        if invigilator.practice:
            asked = {name: question for name, question in asked.items() if self._whole and name == "reordered"}
        anew = (
            room.candidate.asking.remembers
            and not invigilator.practice
            and room.readings.get("repair_seconds", 0.0) <= REPAIRED_AGAIN_SECONDS
        )
        self._same, self._anew = ({}, [asked]) if asked and anew else (asked, [])
        self._found: dict[str, Any] = {"cold": room.cold}
        self._asking_now = ""
        self._spent = 0.0

    @property
    def needs_new_process(self) -> bool:
        """Whether something is left to be asked of a process that has not seen the exam."""
        return bool(self._anew)

    @property
    def audits(self) -> Audits:
        """What came of it."""
        return Audits(**self._found)

    def ask_first(self, room: Room, report: Report) -> None:
        """Ask the process that sat the exam: images alone, and all else unless a new process is needed for it."""
        began = time.monotonic()
        room.begin()
        try:
            self._ask_alone(room, report)
            self._ask_batches(room, self._same, "same", report)
        except Misbehaviour as misbehaviour:
            self._fail(self._asking_now, misbehaviour.failure)
        self._spent = time.monotonic() - began

    def ask_anew(self, room: Room, unready: Failure | None, report: Report) -> None:
        """Ask a process that has not seen the exam, in what is left of the time. unready: why it has not loaded.

        Where the exam's own batches got other answers, chance and what was asked before are told apart: one more process
        is asked nothing else.
        """
        asked, began = self._anew.pop(), time.monotonic()
        if unready:
            self._fail(unready.stage, unready)
            return
        room.begin(self._spent)
        try:
            self._ask_batches(room, asked, "fresh", report)
            if "again" in asked and self._found["again"].changed and not self._whole:
                self._anew = [{"same_seed": asked["again"]}]
        except Misbehaviour as misbehaviour:
            self._fail(self._asking_now, misbehaviour.failure)
        self._spent += time.monotonic() - began

    def _fail(self, what: str, failure: Failure) -> None:
        self._found.setdefault("failed", f"{what}: {failure.reason}")

    def _ask_alone(self, room: Room, report: Report) -> None:
        """Each image by itself: its latency, and whether its answer is the same.

        Where each image has a run of its own, that is the exam's own question once more; where the exam was answered by
        new processes, or all images go into one call, it is neither.
        """
        asking, positions = room.candidate.asking, self._exam.sample(room.invigilator.singles)
        if asking.whole or (room.cold and room.cold.verdict == "run cold") or not len(positions):
            return
        self._asking_now = "again" if asking.cold else "alone"
        seconds, after = np.empty(len(positions)), np.empty(len(positions), np.int32)
        for i in range(len(positions)):
            seconds[i], after[i : i + 1] = room.ask(self._exam.images_at(positions[i : i + 1]))
            report("asking again, one by one", i + 1, len(positions))
        room.readings["single_seconds"] = seconds
        self._compare(self._answers[positions], after, positions)

    def _ask_batches(
        self, room: Room, asked: Mapping[str, Question], process: Literal["same", "fresh"], report: Report
    ) -> None:
        if asked:
            self._found["process"] = process
        before = self._answers
        for number, (name, question) in enumerate(asked.items()):
            self._asking_now = name
            report(f"asking again, {name.replace('_', ' ')}", number, len(asked))
            after = self._answered(room, question)
            self._compare(before[question.positions], after, question.positions)
            if self._whole and name == "reordered":  # the same call follows, as `again`
                before = np.empty_like(self._answers)
                before[question.positions] = after

    def _answered(self, room: Room, question: Question) -> NDArray[np.int32]:
        positions, size = question
        parts = [positions[start : start + size] for start in range(0, len(positions), size)]
        return np.concatenate([room.ask(self._exam.images_at(part))[1] for part in parts])

    def _compare(self, before: NDArray[np.int32], after: NDArray[np.int32], positions: NDArray[np.int64]) -> None:
        self._found[self._asking_now] = compared(
            before, after, clean=self._clean[positions], poisoned=self._poisoned[positions], flag=self._flag
        )
