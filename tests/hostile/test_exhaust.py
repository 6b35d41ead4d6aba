"""A stranger's code that uses up the machine, or never ends, is ended at its limit, with all that it started."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.errors import MachineError
from harness.sandbox import find_sandbox
from harness.sandbox.limits import GIB, MIB
from tests.hostile.conftest import Examined


class Bomb(NamedTuple):
    """Code that runs as the predictor is built, what it does in words, the reason that must be recorded, and limits."""

    part: str
    does: str
    code: str
    reason: str
    limits: dict[str, float]


TIME = "never ending"
MACHINE = "using up the machine"
ANSWER_LATER = "answer = lambda images: time.sleep(600)"
BOMBS = {
    "fork bomb": Bomb(MACHINE, "a fork bomb", "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", "load: ran more than 300 processes and threads", {"processes": 300, "memory_bytes": 12 * GIB}),
    "thread bomb": Bomb(MACHINE, "a thread bomb", "import threading, time\nwhile True:\n    try: threading.Thread(target=time.sleep, args=[600]).start()\n    except RuntimeError: time.sleep(1)", "load: ran more than 300 processes and threads", {"processes": 300}),
    "memory": Bomb(MACHINE, "allocates all memory", "kept = []\nwhile True: kept.append(bytearray(b'x') * 2**26)", "load: used more than 1 GiB of memory", {}),
    "memory of many": Bomb(MACHINE, "allocates all memory in many small processes", "import os, time\nfor _ in range(40):\n    if os.fork() == 0:\n        kept = bytearray(b'x') * 2**26\n        time.sleep(600)\ntime.sleep(600)", "load: used more than 1 GiB of memory", {}),
    "shared memory": Bomb(MACHINE, "allocates all memory as shared memory", "import mmap\nkept = []\nwhile True:\n    kept.append(mmap.mmap(-1, 2**26))\n    kept[-1].write(b'x' * 2**26)", "load: used more than 1 GiB of memory", {}),
    "disk": Bomb(MACHINE, "fills the disk with one file", "with open('/tmp/x', 'wb') as file:\n    while True: file.write(bytes(2**20))", "File too large", {}),
    "disk of many": Bomb(MACHINE, "fills the disk with many files", "for n in range(10**6): open(f'/tmp/{n}', 'wb').write(bytes(2**22))", "No space left on device", {}),
    "shm": Bomb(MACHINE, "fills /dev/shm", "for n in range(10**6): open(f'/dev/shm/{n}', 'wb').write(bytes(2**22))", "No space left on device", {}),
    "sparse": Bomb(MACHINE, "makes a sparse file of a terabyte", "open('/tmp/x', 'wb').truncate(2**40)", "File too large", {}),
    "files": Bomb(MACHINE, "opens files without end", "kept = [open('/dev/null') for _ in range(10**6)]", "Too many open files", {"open_files": 64}),
    "processor": Bomb(MACHINE, "uses the processor for ever", "while True: pass", "load: used more than 1 s of processor time", {"cpu_seconds": 1}),
    "core dump": Bomb(MACHINE, "crashes with a dump of its memory", "import os\nkept = bytearray(b'x') * 2**26\nos.abort()", "load: was ended by signal 6 without an answer", {}),
    "stack": Bomb(MACHINE, "recurses until its stack overflows", "import sys\nsys.setrecursionlimit(10**9)\nf = lambda n: f(n + 1) + max(map(f, [n]))\nf(0)", "load: ", {"load_seconds": 20}),
    "stdout": Bomb(MACHINE, "prints a gigabyte", "import sys\nfor _ in range(1024): sys.stdout.write('x' * 2**20)\nraise RuntimeError('printed')", "printed", {}),
    "load": Bomb(TIME, "sleeps for ever as it loads", "import time\ntime.sleep(600)", "load: took longer than 2 s", {"load_seconds": 2}),
    "predict": Bomb(TIME, "sleeps for ever as it answers", f"import time\n{ANSWER_LATER}", "answer: took longer than 2 s", {"batch_seconds": 2}),
    "late": Bomb(TIME, "answers rightly, but too late", "import time\nanswer = lambda images: time.sleep(3) or [0] * len(images)", "answer: took longer than 2 s", {"batch_seconds": 2}),
    "whole exam": Bomb(TIME, "answers each batch just in time", "import time\nanswer = lambda images: time.sleep(1.5) or [0] * len(images)", "answer: took longer than 1 s", {"exam_seconds": 1}),
    "import": Bomb(TIME, "hangs in a C function that holds the interpreter's lock", "import ctypes, ctypes.util\nctypes.PyDLL(None).sleep(600)", "load: took longer than 2 s", {"load_seconds": 2}),
    "SIGTERM": Bomb(TIME, "ignores every signal that can be ignored", "import signal, time\nfor n in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\ntime.sleep(600)", "load: took longer than 2 s", {"load_seconds": 2}),
    "stopped": Bomb(TIME, "stops itself", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", "load: took longer than 2 s", {"load_seconds": 2}),
    "daemon": Bomb(TIME, "leaves a daemon behind (two forks and a session of its own)", "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(600)\n    os._exit(0)\nos.wait()\nos._exit(0)", "load: ended with exit code 0 without an answer", {}),
    "chain": Bomb(TIME, "leaves a chain of 1,200 processes behind, each the child of the one before", "import os, time\ndepth = 0\nwhile depth < 1200 and os.fork() == 0: depth += 1\nif depth == 0:\n    time.sleep(2)\n    os._exit(4)\ntime.sleep(600)", "load: ended with exit code 4 without an answer", {"memory_bytes": 64 * GIB}),
    "deep folders": Bomb(MACHINE, "makes a thousand folders, each in the one before", "import os\nos.chdir(os.environ['TMPDIR'])\nfor _ in range(1100):\n    os.mkdir('x' * 20)\n    os.chdir('x' * 20)\nos._exit(5)", "load: ended with exit code 5 without an answer", {}),
    "daemons": Bomb(TIME, "leaves a crowd behind that keeps its pipes open", "import os, time\nfor _ in range(30):\n    if os.fork() == 0:\n        os.setsid()\n        time.sleep(600)\nos._exit(3)", "load: ended with exit code 3 without an answer", {}),
}  # fmt: skip


def rows() -> list[Any]:
    return [
        pytest.param(name, id=name, marks=pytest.mark.threat(bomb.part, does=bomb.does, outcome=bomb.reason))
        for name, bomb in BOMBS.items()
    ]


@pytest.mark.parametrize("name", rows())
def test_a_bomb_costs_its_badnet_alone(name: str, examine: Callable[..., Examined]) -> None:
    bomb = BOMBS[name]
    free = shutil.disk_usage("/tmp").free
    examined = examine(bomb.code, **bomb.limits)
    examined.cost_it_alone()
    assert bomb.reason in examined.reason
    assert shutil.disk_usage("/tmp").free > free - 512 * MIB


SHARED = ("fork bomb", "memory", "SIGTERM", "daemon", "daemons", "chain", "processor")
DEEP = BOMBS["deep folders"]
BEHIND_LANDLOCK = {name: BOMBS[name] for name in SHARED} | {
    # Looked at while it is there, as no path reaches its end; a process that ends at once may be quicker than the look.
    "deep folders": DEEP._replace(
        code=DEEP.code.replace("os._exit(5)", "import time; time.sleep(600)"), reason="load: wrote more than"
    )
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, id=name, marks=pytest.mark.threat(
            bomb.part, does=f"{bomb.does} (landlock)", outcome=bomb.reason
        ))
        for name, bomb in BEHIND_LANDLOCK.items()
    ],
)  # fmt: skip
def test_a_bomb_without_namespaces_costs_its_badnet_alone(name: str, examine: Callable[..., Examined]) -> None:
    try:
        find_sandbox("landlock").check()
    except MachineError as error:
        pytest.skip(str(error))
    bomb = BEHIND_LANDLOCK[name]
    examined = examine(bomb.code, sandbox="landlock", **bomb.limits)
    examined.cost_it_alone()
    assert bomb.reason in examined.reason


@pytest.mark.threat(
    MACHINE, does="fills the host's disk where no quota bounds it (landlock)", outcome="load: wrote more than"
)
def test_a_scratch_folder_on_the_hosts_disk_is_watched(
    examine: Callable[..., Examined], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    try:
        find_sandbox("landlock").check()
    except MachineError as error:
        pytest.skip(str(error))
    code = "import os, time\nfor n in range(60): open(f'{os.environ[\"TMPDIR\"]}/{n}', 'wb').write(bytes(2**21))\ntime.sleep(600)"
    examined = examine(code, sandbox="landlock")
    examined.cost_it_alone()
    assert "load: wrote more than 0.0625 GiB of files" in examined.reason
    assert not list(tmp_path.glob("badnet-*"))
