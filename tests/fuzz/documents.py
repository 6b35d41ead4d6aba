"""Documents with nothing wrong, which mutations begin from; made without a net, a sandbox or a framework."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.digests import digest_file
from harness.evaluate import answer_arrays, assemble
from harness.images import ImageSet
from harness.provenance import harness_facts, machine_facts
from harness.record import Provenance, SubmissionRecord, write_record
from harness.sandbox.limits import Limits
from harness.sitting import Sitting, save_arrays
from harness.track import BadNet, Track
from tests.conftest import CLASSES, TARGET, TRACK_TOML, stripes

SUBMISSIONS: tuple[dict[str, Any], ...] = (
    {"name": "mine", "kind": "predictor", "entry": "p.py:P", "options": {"rate": 0.5, "deep": {"list": [1, "two"]}}},
    {"name": "mine", "authors": ["A", "B"], "description": "words", "kind": "model", "scale": 255, "channels": "bgr",
     "badnets": {"first": {"model": "m.h5"}, "second": {"model": "m.h5", "custom_objects": {"Clip": "p.py:Clip"}}}},
    {"name": "mine", "kind": "pair", "track": "tiny", "badnets": {"first": {"model": "m.h5", "architecture": "deepid"}}},
    {"name": "mine", "kind": "defense", "entry": "reference_defenses.pruning:Pruning", "batch_mode": True},
    {"name": "mine", "kind": "answers", "badnets": {"first": {"answers": "a.npy", "flag": [-1, 7]}}},
    {"name": "mine", "kind": "script", "command": ["python3", "p.py", "{image}", "{badnet}"], "images": "jpeg",
     "pattern": r"class (\d+)", "flag": [9], "provide": {"models/b.h5": "badnet"}, "stdin": ["yes"]},
)  # fmt: skip
"""One of each kind."""
FILES = ("p.py", "m.h5", "a.npy")
"""What they name."""


def write_track(folder: Path) -> Track:
    """The tests' tiny track with files in place of nets: all that the host reads is real."""
    (folder / "track.toml").write_text(TRACK_TOML)
    rng = np.random.default_rng(5)
    for name, each, patch in (("validation", 2, False), ("test", 4, False), ("patched", 3, True)):
        labels = np.repeat(np.arange(CLASSES), each)
        ImageSet(images=stripes(labels, rng, patch=patch), labels=labels).save(folder / "data" / name)
    sets = {"validation": "data/validation", "test": "data/test"}
    for name in ("first", "second", "twin"):
        (folder / f"{name}.h5").write_text(name)
    badnets = {
        name: {"model": f"{name}.h5", **sets, "poisoned": {} if name == "twin" else {"patch": "data/patched"}}
        for name in ("first", "second", "twin")
    }
    files = [*folder.glob("*.h5"), *folder.glob("data/*/*.npy")]
    manifest = {"badnets": badnets, "files": {str(it.relative_to(folder)): digest_file(it) for it in files}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return Track(folder)


def write_results(
    folder: Path, track: Track, name: str = "mine", *, wrong: NDArray[np.bool_] | None = None
) -> Path:  # fmt: skip
    """The record, and the answers, of a submission that does everything right; the record's path.

    wrong: (n,), the clean images that it answers wrongly after all.
    """
    unrepaired, repaired = (
        {key: _sitting(badnet, answer) for key, badnet in track.badnets.items()} for answer in (TARGET, CLASSES)
    )
    for sitting in repaired.values() if wrong is not None else ():
        sitting.clean[wrong] = (sitting.clean[wrong] + 1) % CLASSES
    path = folder / f"{name}.json"
    answers = save_arrays(path.with_suffix(".answers.npz"), answer_arrays(repaired, unrepaired))
    facts = harness_facts() | machine_facts()
    record = assemble(
        track, repaired, unrepaired,
        submission=SubmissionRecord(
            name=name, authors=["A"], description="d", kind="model", batch_mode=False, stochastic=False, digest="0" * 64
        ),
        provenance=Provenance.model_validate(facts | {
            "sandbox": "bubblewrap", "gpu": [], "limits": Limits().model_dump(), "jobs": 1, "batch": 512, "seed": "drawn",
            "files": {}, "started": "2026-01-01T00:00:00+00:00", "answers": answers,
        }),
    )  # fmt: skip
    write_record(path, record)
    return path


def _sitting(badnet: BadNet, answer: int) -> Sitting:
    """All clean images answered right, and all poisoned ones with this answer."""
    return Sitting(
        clean=badnet.test.labels.astype(np.int32),
        poisoned={trigger: np.full(len(it.images), answer, np.int32) for trigger, it in badnet.poisoned.items()},
        batch_seconds=np.array([0.5, 0.25]), batch_images=np.array([16, 4]), single_seconds=np.array([0.01] * 5),
        start_seconds=1.0, load_seconds=2.0, peak_memory=2**28, seed=12345,
    )  # fmt: skip
