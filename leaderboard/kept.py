"""What was read of records before, beside them: found again by a digest of all that it came from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np

from harness.archives import MAX_FILE, load_arrays
from harness.digests import digest_file, digest_json
from harness.errors import HarnessError
from harness.sitting import save_arrays
from leaderboard.contenders import Contender
from leaderboard.marks import Packed

FILE = ".unfinished/board.npz"
CODE = (
    "../harness/*.py", "../harness/migrations/*.py", "../harness/models/exact_tests.py", "../harness/models/facts.py",
    "contenders.py", "kept.py", "marks.py", "reading.py",
)  # fmt: skip
"""What a reading depends on, besides the files that it reads."""
Kept = dict[str, tuple[Contender, Packed]]
"""By the digest of all that it came from."""


@cache
def code_digest() -> str:
    """One sha256 over the code that reads records."""
    here = Path(__file__).resolve().parent
    return digest_json([digest_file(path) for pattern in CODE for path in sorted(here.glob(pattern))])


def load(folder: Path, packed_bytes: int) -> Kept:
    """What is kept in a track's folder of records; nothing where there is no such file, or another's."""
    try:
        arrays = load_arrays(folder / FILE)
        lines = arrays["contenders"].tobytes().decode().splitlines()
        packed = arrays["packed"].reshape(len(lines), packed_bytes)
        found = {}
        for line, bits in zip(lines, packed, strict=True):
            stated = json.loads(line)
            of = str(stated.pop("of"))
            found[of] = _restored(stated), bits
        return found
    except (HarnessError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def save(folder: Path, kept: Kept) -> None:
    """Keep this for the next time; where the disk does not take it, the next time takes longer."""
    lines = [json.dumps({"of": of, **asdict(it)}) for of, (it, _) in kept.items()]
    if not lines or sum(bits.nbytes for _, bits in kept.values()) > MAX_FILE:
        return
    contenders = np.frombuffer("\n".join(lines).encode(), np.uint8)
    try:
        save_arrays(
            folder / FILE, {"contenders": contenders, "packed": np.concatenate([it for _, it in kept.values()])}
        )
    except HarnessError:
        return


def digest_of(name: str, record: bytes, answers: str | None, track: str, *, null: bool) -> str:
    """What a reading is found by; name: the file's, which has to be the submission's."""
    return digest_json([name, hashlib.sha256(record).hexdigest(), answers, track, null, code_digest()])


def _restored(stated: Mapping[str, object]) -> Contender:
    given = dict(stated)
    for name in ("authors", "badges"):
        given[name] = tuple(given[name])  # type: ignore[arg-type]
    return Contender(**given)  # type: ignore[arg-type]
