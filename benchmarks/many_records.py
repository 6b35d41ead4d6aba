"""A track of six BadNets and a thousand submissions' records on it, made without a net: files of the real form and size."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.digests import digest_file
from harness.evaluate import answer_arrays, assemble
from harness.images import ImageSet
from harness.provenance import machine_facts
from harness.record import Provenance, SubmissionRecord
from harness.sandbox.limits import Limits
from harness.sitting import Sitting, save_arrays
from harness.track import BadNet, Track

CLASSES, EACH = 100, 10
TRIGGERS = ("sunglasses", "lipstick")
BADNETS = tuple(f"net_{number}" for number in range(6))


def write_track(folder: Path) -> Track:
    """As many images as the faces track has, of one pixel each."""
    labels = np.repeat(np.arange(CLASSES), EACH)
    for name in ("validation", "test", *TRIGGERS):
        ImageSet(images=np.zeros((len(labels), 1, 1, 3), np.uint8), labels=labels).save(folder / "data" / name)
    lines = [f'name = "many"\ntitle = "Many"\nclasses = {CLASSES}\nshape = [1, 1, 3]\nsource = "files"']
    for name in BADNETS:
        (folder / f"{name}.h5").write_text(name)
        targets = "\n".join(f"triggers.{it}.target = {number}" for number, it in enumerate(TRIGGERS))
        lines.append(f'[badnets.{name}]\nmodel = "{name}.h5"\n{targets}')
    (folder / "track.toml").write_text("\n".join(lines))
    poisoned = {it: f"data/{it}" for it in TRIGGERS}
    badnets = {
        it: {"model": f"{it}.h5", "validation": "data/validation", "test": "data/test", "poisoned": poisoned}
        for it in BADNETS
    }
    files = [*folder.glob("*.h5"), *folder.glob("data/*/*.npy")]
    digests = {path.relative_to(folder).as_posix(): digest_file(path) for path in files}
    (folder / "manifest.json").write_text(json.dumps({"badnets": badnets, "files": digests}))
    return Track(folder)


def write_records(folder: Path, track: Track, count: int) -> None:
    """Records of submissions from useless to perfect, each with answers of its own."""
    unrepaired = {
        it: _sitting(badnet, 0.98, 0.0, 0.99, np.random.default_rng(0)) for it, badnet in track.badnets.items()
    }
    first: dict[str, object] = {}
    for number in range(count):
        rng, skill = np.random.default_rng(number), number / count
        sittings = {
            it: _sitting(badnet, 0.7 + 0.28 * skill, skill, (1 - skill) / 2, rng)
            for it, badnet in track.badnets.items()
        }
        name = f"team-{number:04d}"
        answers = save_arrays(folder / f"{name}.answers.npz", answer_arrays(sittings, unrepaired))
        if not first:
            first = _record(track, sittings, unrepaired)
        first["submission"]["name"] = name  # type: ignore[index]
        first["submission"]["kind"] = ("model", "defense")[number % 4 == 0]  # type: ignore[index]
        first["provenance"]["answers"] = answers  # type: ignore[index]
        (folder / f"{name}.json").write_text(json.dumps(first, indent=1) + "\n")


def _record(track: Track, sittings: dict[str, Sitting], unrepaired: dict[str, Sitting]) -> dict[str, object]:
    provenance = Provenance.model_validate(machine_facts() | {
        "harness_version": "0", "harness_digest": "0" * 64, "commit": None, "dirty": None, "sandbox": "bubblewrap",
        "gpu": [], "limits": Limits().model_dump(), "jobs": 1, "batch": 512, "seed": "drawn", "files": {},
        "started": "2026-01-01T00:00:00+00:00", "answers": "0" * 64,
    })  # fmt: skip
    submission = SubmissionRecord(
        name="team", authors=["A"], description="d", kind="model", batch_mode=False, stochastic=False, digest="0" * 64
    )
    made = assemble(track, sittings, unrepaired, submission=submission, provenance=provenance)
    return made.model_dump(mode="json")


def _sitting(badnet: BadNet, right: float, flags: float, wins: float, rng: np.random.Generator) -> Sitting:
    labels = badnet.test.labels
    clean = np.where(rng.random(len(labels)) < right, labels, (labels + 1) % CLASSES)
    poisoned = {
        it: _poisoned(some.images.labels, some.target, flags, wins, rng) for it, some in badnet.poisoned.items()
    }
    return Sitting(
        clean=clean.astype(np.int32), poisoned=poisoned, batch_seconds=np.array([0.5, 0.4]),
        batch_images=np.array([512, 488]), load_seconds=1.0, start_seconds=1.0,
    )  # fmt: skip


def _poisoned(
    labels: NDArray[np.int64], target: int, flags: float, wins: float, rng: np.random.Generator
) -> NDArray[np.int32]:
    drawn = rng.random(len(labels))
    unflagged = np.where(drawn < flags + (1 - flags) * wins, target, labels)
    return np.where(drawn < flags, CLASSES, unflagged).astype(np.int32)
