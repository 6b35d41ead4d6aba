"""Defenses at work, each in a new process, so that its peak memory is its own."""

import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar
from unittest.mock import patch

from harness.images import silent
from harness.models.contracts import BadNetView
from harness.models.quiet import environment
from harness.worker.kinds.defense import Options, construct, load

ROOT = Path(__file__).resolve().parent.parent
P = ParamSpec("P")
T = TypeVar("T")


class Cost(NamedTuple):
    """What a piece of work took. peak_bytes: resident memory of the whole process, its libraries too."""

    seconds: float
    peak_bytes: int


def apart(work: Callable[P, T], *told: P.args, **more: P.kwargs) -> T:
    """Call a function of a module in a new process with the worker's environment, and return what it returns."""
    with patch.dict(os.environ, environment()), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *told, **more).result()


def repair(entry: str, badnet: BadNetView) -> Cost:
    """Repair a BadNet with a defense's default options: seconds from its images to its predictor, imports done."""
    options = Options(entry=entry)
    construct(options, ROOT)
    begun = time.perf_counter()
    load(options, badnet, ROOT, seed=0, progress=silent)
    return cost_since(begun)


def cost_since(begun: float) -> Cost:
    """What this process took since `begun`, by time.perf_counter, and the most memory that it ever held."""
    seconds = time.perf_counter() - begun
    # The peak of getrusage would begin with that of the process that started this one.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak
    return Cost(seconds, 1024 * int(peak[1]))
