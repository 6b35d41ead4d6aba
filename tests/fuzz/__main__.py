"""`make fuzz`: an equal share of the time for every reader; what is found is kept, with the command that shows it again."""

import argparse
import hashlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from tests.conftest import ROOT
from tests.fuzz.frames import examples
from tests.fuzz.targets import ALLOWED, Target, targets

FOUND = ROOT / "runs" / "fuzz"
SLOW_SECONDS = 10
ROUND = 500
"""Inputs between two looks at the clock."""


class Tried(NamedTuple):
    """How many inputs a reader was given, and the file of one that it did not stand."""

    inputs: int
    finding: Path | None


class TooSlow(Exception):
    """A reader took longer than `SLOW_SECONDS`."""


def main() -> int:
    """Fuzz all readers, or show one input again; 1 where something was found."""
    words = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    words.add_argument("--seconds", type=float, default=float(os.environ.get("FUZZ_SECONDS", "600")))
    words.add_argument("--seed", type=int, default=int(os.environ.get("FUZZ_SEED", "1283")))
    words.add_argument("--replay", nargs=2, metavar=("READER", "FILE"))
    words.add_argument("reader", nargs="*", help="Only these; all unless said.")
    chosen = words.parse_args()
    with TemporaryDirectory(prefix="fuzz-") as folder:
        readers = targets(Path(folder))
        if chosen.replay:
            name, file = chosen.replay
            _read(readers[name], Path(file).read_bytes())
            return 0
        readers = {name: reader for name, reader in readers.items() if name in (chosen.reader or readers)}
        share = chosen.seconds / len(readers)
        print(f"seed {chosen.seed}, {share:.0f} s for each of {', '.join(readers)}", flush=True)
        tried = {name: _try(name, reader, share, chosen.seed) for name, reader in readers.items()}
    found = [name for name, it in tried.items() if it.finding]
    print(
        f"{sum(it.inputs for it in tried.values()):,} inputs; "
        + (f"found: {', '.join(found)}" if found else "nothing found")
    )
    return 1 if found else 0


def _try(name: str, reader: Target, seconds: float, number: int) -> Tried:
    guided = name == "frames" and importlib.util.find_spec("atheris") is not None
    engine = "atheris, which follows what an input reaches" if guided else "hypothesis"
    if name == "frames" and not guided:
        engine += ", for atheris is not installed (pip install '.[fuzz]')"
    print(f"{name}: by {engine}", flush=True)
    tried = _guided(seconds, number) if guided else _spoilt(name, reader, seconds, number)
    print(f"{name}: {tried.inputs:,} inputs in {seconds:.0f} s", flush=True)
    if tried.finding:
        file = tried.finding.relative_to(ROOT)
        print(f"{name}: FOUND; see it again: .venv/bin/python -m tests.fuzz --replay {name} {file}", flush=True)
    return tried


def _spoilt(name: str, reader: Target, seconds: float, number: int) -> Tried:
    """Spoilt documents, in rounds of new seeds; what is found is made as small as it can be."""
    deadline, inputs, last = time.monotonic() + seconds, 0, b""

    def one(data: bytes) -> None:
        nonlocal inputs, last
        inputs, last = inputs + 1, data
        _read(reader, data)

    while time.monotonic() < deadline:
        number += 1
        quiet = settings(
            max_examples=ROUND, deadline=None, database=None, derandomize=False, verbosity=Verbosity.quiet,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink],
        )  # fmt: skip
        try:
            seed(number)(quiet(given(reader.strategy)(one)))()
        except Exception:  # noqa: BLE001 - whatever a reader raises is the finding
            traceback.print_exc()
            return Tried(inputs, _kept(name, last))
    return Tried(inputs, None)


def _guided(seconds: float, number: int) -> Tried:
    FOUND.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="corpus-") as corpus:
        for place, data in enumerate(examples()):
            (Path(corpus) / str(place)).write_bytes(data)
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.guided", corpus, f"-max_total_time={seconds:.0f}", f"-seed={number}",
             "-max_len=4096", f"-timeout={SLOW_SECONDS}", "-print_final_stats=1", "-verbosity=0", f"-artifact_prefix={FOUND}/frames-"],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
    counted = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    inputs = int(counted[1]) if counted else 0
    if done.returncode == 0 and inputs:
        return Tried(inputs, None)
    print(done.stdout + done.stderr)
    written = re.search(r"Test unit written to (\S+)", done.stderr)
    return Tried(inputs, Path(written[1]) if written else FOUND)


def _read(reader: Target, data: bytes) -> None:
    with _in_time(), suppress(*ALLOWED):
        reader.read(data)


@contextmanager
def _in_time() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TooSlow(f"took longer than {SLOW_SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SLOW_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _kept(name: str, data: bytes) -> Path:
    FOUND.mkdir(parents=True, exist_ok=True)
    path = FOUND / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path


if __name__ == "__main__":
    sys.exit(main())
