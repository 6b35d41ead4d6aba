"""The hostile suite: each test is one row of the table in docs/security.md, made by `make security`.

A test says what a stranger does and what comes of it: `@pytest.mark.threat("part", does="...", outcome="...")`, on a
function or on a `pytest.param`.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.console import Desk
from harness.evaluate import Settings, evaluate
from harness.images import silent
from harness.invigilator import Invigilator
from harness.record import Record
from harness.sandbox import find_sandbox
from harness.sandbox.limits import MIB, Limits
from harness.sandbox.watchdog import descendants
from harness.submission import Submission
from harness.track import Track
from tests.hostile.table import Row, put_into, table
from tests.test_evaluate import ORACLE
from tests.test_sandbox import is_alive

QUICK = {"batch_seconds": 5.0, "load_seconds": 20.0, "memory_bytes": 1024 * MIB, "scratch_bytes": 64 * MIB}
BATCH = 64
"""Images at a time, so that even the tiny track's exam has several batches."""
GRACE_SECONDS = 5.0


class Examined(NamedTuple):
    """What came of a submission that is hostile on BadNet `first` and an oracle on `second`."""

    record: Record
    folder: Path
    results: Path

    @property
    def reason(self) -> str:
        """Why the hostile BadNet has its worst case, stage first."""
        failure = self.record.badnets["first"].failure
        return f"{failure.stage}: {failure.reason}" if failure else ""

    def cost_it_alone(self) -> None:
        """Assert a recorded reason, the worst case for `first`, and the grade that `second` deserves."""
        assert self.record.badnets["first"].failure is not None
        assert self.record.badnets["first"].score.value == -100
        assert self.record.badnets["second"].failure is None
        assert self.record.badnets["second"].score.value == 100


@pytest.fixture
def examine(tiny_track_folder: Path, write_submission: Callable[..., Path], tmp_path: Path) -> Callable[..., Examined]:
    """Evaluate a predictor whose code for `first` is given: `examine("import socket ...", load_seconds=3)`.

    The code runs where the predictor is built, with `badnet` at hand; what it leaves in `answer` is called with batches.
    """

    def run(code: str, *, sandbox: str = "bubblewrap", **limits: float) -> Examined:
        body = "\n".join(f"        {line}" for line in code.strip().splitlines())
        text = f"class Predictor:\n    def __init__(self, badnet):\n        answer = None\n{body}\n        self.answer = answer\n"
        text += "    def __call__(self, images):\n        return self.answer(images)\n"
        folder = write_submission(
            "stranger",
            'kind = "predictor"\nentry = "oracle.py:Predictor"\n[badnets.first]\nentry = "hostile.py:Predictor"\n',
            **{"hostile.py": text, "oracle.py": ORACLE},
        )
        invigilator = Invigilator(find_sandbox(sandbox), Limits.model_validate(QUICK | limits), batch=BATCH)
        settings = Settings(invigilator=invigilator, results=tmp_path / "results")
        desk = Desk(lambda _name: silent, lambda _name, _words: None)
        record = evaluate(Submission(folder), Track(tiny_track_folder), settings, desk)
        return Examined(record, folder, tmp_path / "results")

    return run


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Whatever a stranger does, none of its processes outlives the test."""
    before = set(descendants(os.getpid()))
    yield
    deadline = time.monotonic() + GRACE_SECONDS
    while left := [pid for pid in set(descendants(os.getpid())) - before if is_alive(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def row_of(item: pytest.Item) -> Row:
    """The row that a test stands for; every test of this folder has one."""
    mark = item.get_closest_marker("threat")
    if mark is None:
        raise pytest.UsageError(f"{item.nodeid}: has no @pytest.mark.threat(part, does=..., outcome=...)")
    return Row(*mark.args, **mark.kwargs)


class Results:
    """What came of every test of the folder, as rows of the table in the order of the tests."""

    def __init__(self, page: Path | None) -> None:
        self.page = page
        self.rows: dict[Row, str] = {}
        self._by_test: dict[str, Row] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                self._by_test[item.nodeid] = row_of(item)
                self.rows.setdefault(row_of(item), "not run")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        row = self._by_test.get(report.nodeid)
        if row and (report.when == "call" or report.outcome != "passed") and self.rows[row] != "failed":
            self.rows[row] = report.outcome

    def pytest_sessionfinish(self) -> None:
        if self.page:
            put_into(self.page, table(self.rows))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--security-table", type=Path, help="the page into which the table of hostile tests is put")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Results(config.getoption("--security-table", None)))
