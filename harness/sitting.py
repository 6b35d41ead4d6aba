"""What came of one submission sitting one exam: answers, times, audits, and the failure if there was one."""

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.archives import load_arrays
from harness.audits import Audits
from harness.errors import MachineError, UserError
from harness.models.findings import Figure
from harness.wording import harmless

CLEAN = "clean"
POISONED = "poisoned/"
CLOCKS = ("batch_seconds", "batch_images", "single_seconds")
FACTS = (
    "start_seconds", "load_seconds", "repair_seconds", "peak_memory", "notes", "found", "pictures", "seed", "failure",
)  # fmt: skip


class Failure(NamedTuple):
    """Why a BadNet got its worst case: the stage (submission, start, load, repair, answer) and the reason in one line."""

    stage: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Sitting:
    """Answers in each set's own order and the host's clock readings; all arrays, so that every figure can be recomputed.

    clean: int32 (n,). poisoned: trigger -> int32 (n,). batch_seconds and batch_images: (b,). single_seconds: (s,), the
    latencies of images sent alone. audits: what came of asking again. notes: what the worker found worth telling.
    found: what a defense states that it found out. figures: what it would have drawn, which nobody keeps; pictures: where
    they are once they are.
    """

    clean: NDArray[np.int32]
    poisoned: Mapping[str, NDArray[np.int32]]
    batch_seconds: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    batch_images: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    single_seconds: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    start_seconds: float | None = None
    load_seconds: float | None = None
    repair_seconds: float | None = None
    peak_memory: int | None = None
    audits: Audits = field(default_factory=Audits)
    notes: tuple[str, ...] = ()
    found: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    pictures: tuple[str, ...] = ()
    seed: int = 0
    failure: Failure | None = None
    log: str = ""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, as they stand in an answers file."""
        named: dict[str, NDArray[Any]] = {CLEAN: self.clean}
        named |= {f"{POISONED}{trigger}": answers for trigger, answers in self.poisoned.items()}
        return named | {name: getattr(self, name) for name in CLOCKS}

    def facts(self) -> dict[str, Any]:
        """All that is not an array, as JSON values; without the figures and the log."""
        return {name: getattr(self, name) for name in FACTS} | {"audits": self.audits.model_dump()}

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> "Sitting":
        """The inverse of `arrays` and `facts`; raises KeyError, TypeError or ValueError where something is missing."""
        poisoned = {name.removeprefix(POISONED): arrays[name] for name in arrays if name.startswith(POISONED)}
        timed: dict[str, Any] = {name: arrays[name] for name in CLOCKS}
        restored = {
            "failure": facts["failure"] and Failure(*facts["failure"]),
            "audits": Audits.model_validate(facts["audits"]),
            "notes": tuple(facts["notes"]),
            "pictures": tuple(facts.get("pictures", ())),
        }
        return cls(clean=arrays[CLEAN], poisoned=poisoned, **timed, **{**facts, **restored})


class Pace(NamedTuple):
    """How fast a submission answered; None where it did not."""

    seconds: float | None
    """Of all batches together."""
    images_per_second: float | None
    """Without the first batch, which warms up."""


def pace(batch_seconds: NDArray[np.float64], batch_images: NDArray[np.int64]) -> Pace:
    """From the host's clock readings (b,), each above 0."""
    if not len(batch_seconds):
        return Pace(None, None)
    warm = slice(1, None) if len(batch_seconds) > 1 else slice(None)
    return Pace(float(batch_seconds.sum()), float(batch_images[warm].sum() / batch_seconds[warm].sum()))


def save_sitting(path: Path, sitting: Sitting, key: str) -> None:
    """Write a finished sitting; `key` says what it belongs to, so that it is never taken for another."""
    facts = np.frombuffer(json.dumps({"key": key, **sitting.facts()}).encode(), np.uint8)
    save_arrays(path, {**sitting.arrays(), "facts": facts})


def load_sitting(path: Path, key: str) -> Sitting | None:
    """Read a finished sitting; None where there is none, or where it belongs to something else or is damaged."""
    try:
        arrays = load_arrays(path)
        facts = json.loads(arrays.pop("facts").tobytes())
        return Sitting.restore(arrays, facts) if facts.pop("key") == key else None
    except (UserError, KeyError, TypeError, ValueError):
        return None


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Write arrays as one .npz, the same bytes for the same arrays, whole or not at all; returns its sha256."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_whole(path, buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; raises MachineError (full disk, no right)."""
    with whole_file(path) as beside:
        beside.write_bytes(data)


def write_changed(path: Path, data: bytes) -> bool:
    """Write a file as `write_whole` does, unless it holds just that already; whether it was written."""
    try:
        if path.read_bytes() == data:
            return False
    except OSError:
        pass
    write_whole(path, data)
    return True


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, which takes its place once the block has ended: a reader sees the old one or the new.

    Where the block fails, nothing is left of it. Raises MachineError (full disk, no right).
    """
    beside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        beside = Path(name)
        yield beside
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.chmod(0o644)
        beside.replace(path)
    except OSError as error:
        words = harmless(str(error.strerror or error), 200)
        raise MachineError(f"{path}: cannot be written ({words}); free some space or choose another folder") from error
    finally:
        if beside:
            beside.unlink(missing_ok=True)
