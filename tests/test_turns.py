"""Submissions load side by side and are examined alone."""

import threading
import time
from collections import Counter

from harness.turns import Turns


def test_exams_never_run_beside_an_exam_or_a_loading_but_loadings_do() -> None:
    turns, running, seen, lock = Turns(), Counter[str](), set(), threading.Lock()

    def stay(what: str) -> None:
        with lock:
            running[what] += 1
            seen.add((running["load"], running["exam"]))
        time.sleep(0.01)
        with lock:
            running[what] -= 1

    def cell() -> None:
        for _ in range(5):
            with turns.loading():
                stay("load")
            with turns.examining():
                stay("exam")

    cells = [threading.Thread(target=cell) for _ in range(4)]
    for thread in cells:
        thread.start()
    for thread in cells:
        thread.join(timeout=20)
    assert not any(thread.is_alive() for thread in cells)
    assert any(load > 1 for load, _ in seen)
    assert all(exam == 0 or (load, exam) == (0, 1) for load, exam in seen)


def test_a_turn_ends_when_its_work_fails() -> None:
    turns = Turns()
    for turn in (turns.loading, turns.examining):
        try:
            with turn():
                raise RuntimeError
        except RuntimeError:
            pass
    with turns.examining():
        pass


def test_a_loading_that_hangs_is_not_waited_for_for_ever() -> None:
    turns = Turns(patience=0.05)
    with turns.loading(), turns.examining():
        pass
