"""Where cells (submission x BadNet) run: threads that each mind one sandboxed process."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TypeVar

Cell = TypeVar("Cell")
Result = TypeVar("Result")
POLL_SECONDS = 0.2
USUAL_JOBS = 2


def fitting_jobs(asked: int | None, *, repairs: bool) -> int:
    """How many cells to run at once: as many as were asked for, else two where there are cores, and one that repairs.

    Loading is work for one core, repairing for all of them, and its time is part of the record.
    """
    return asked or (1 if repairs else min(USUAL_JOBS, len(os.sched_getaffinity(0))))


def run_cells(
    cells: Iterable[Cell],
    work: Callable[[Cell], Result],
    *,
    jobs: int,
    finished: Callable[[Cell, Result], None],
    cancel: Callable[[], None],
) -> None:
    """Do `work` on every cell, `jobs` at a time; each result goes to `finished` at once, in this thread.

    On Ctrl-C, and where a cell raises, cells that have not begun are dropped, `cancel` ends those that have, what they
    still give is thrown away, and the exception is raised.
    """
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        waiting = {pool.submit(work, cell): cell for cell in cells}
        try:
            while waiting:
                # A wait without a limit would not let Ctrl-C through.
                done, _ = wait(waiting, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    finished(waiting.pop(future), future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            cancel()
            raise
