"""Nothing finished is lost: an interruption leaves finished BadNets behind, and the same command goes on from them."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.running import Running, write_waiting
from tests.test_sandbox import is_alive


@pytest.mark.parametrize("number, changed", [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_an_interruption_ends_all_children_and_the_next_run_goes_on(
    write_submission: Callable[..., Path],
    tiny_track_folder: Path,
    tmp_path: Path,
    number: signal.Signals,
    changed: bool,
) -> None:
    folder, record = write_waiting(write_submission, "slow", "second loads"), tmp_path / "tiny" / "slow.json"
    with Running(folder, tiny_track_folder, tmp_path) as running:
        running.waiting()
        workers = running.workers()
        running.process.send_signal(number)
        code, told = running.ended()
    assert code == 130
    assert told.splitlines()[-1] == "interrupted; finished BadNets are kept, the same command goes on from them"
    assert [pid for pid in workers if is_alive(pid)] == []
    assert not record.exists()
    if changed:
        (folder / "new.txt").touch()
    with Running(folder, tiny_track_folder, tmp_path) as running:
        code, told = running.ended()
    assert code == 0, told
    assert ("first: finished in the run before this one" in told) == (not changed)
    assert json.loads(record.read_text())["badnets"]["second"]["failure"] is None
    assert not (record.parent / ".unfinished" / "slow").exists()
