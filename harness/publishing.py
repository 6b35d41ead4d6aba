"""`badnet track publish`: the images of a track's exams in one public order, for answers computed elsewhere."""

import math
import shutil
from pathlib import Path

import h5py
import numpy as np

from harness.console import Desk
from harness.errors import MachineError, UserError
from harness.exam import PUBLIC_SEED, Exam
from harness.images import Report
from harness.sitting import whole_file, write_whole
from harness.track import Track

README = "README.txt"
CHUNK_BYTES = 256 * 1024
"""How much is compressed, and held in memory, at a time."""
COMPRESSION = 1
"""Of gzip: higher levels take longer and make these files no smaller."""


def publish(track: Track, folder: Path, desk: Desk) -> None:
    """Write `<badnet>.h5` for every BadNet of the track, and README.txt, into `folder`.

    A file has the competition's layout: `data` uint8 (n, C, H, W), 0..255, RGB, clean and poisoned images in one public
    order; `label` int64 (n,), which counts 0..N-1 again and again and says nothing. What an earlier call wrote for this
    track is replaced, each file whole or not at all. Raises UserError where the folder holds anything else,
    MachineError where it cannot be written.
    """
    exams = {name: Exam(badnet, PUBLIC_SEED) for name, badnet in track.badnets.items()}
    readme = _readme(track, exams)
    _refuse_strangers(folder, readme.partition("\n")[0])
    write_whole(folder / README, readme.encode())
    _refuse_small_disks(folder, sum(map(len, exams.values())) * math.prod(track.spec.shape))
    reports = {name: desk.report(name) for name in exams}
    for name, exam in exams.items():
        path = folder / f"{name}.h5"
        _write(path, exam, track, reports[name])
        desk.done(name, f"{len(exam):,} images in {path}")


def _refuse_strangers(folder: Path, heading: str) -> None:
    """Raise UserError unless the folder is new, empty, or one that was published with the same heading."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder}: is no folder; name a new one")
    if not folder.exists() or not any(folder.iterdir()):
        return
    readme = folder / README
    if not readme.is_file() or not readme.read_bytes().startswith(heading.encode() + b"\n"):
        raise UserError(f"--out {folder}: holds other files, which could be replaced; name a new folder")


def _refuse_small_disks(folder: Path, needed: int) -> None:
    """Raise MachineError where so many bytes may not fit: the HDF5 library may end the process on a full disk."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise MachineError(
            f"--out {folder}: may need {needed / 2**20:,.1f} MiB, {free / 2**20:,.1f} are free; free some or choose another disk"
        )


def _write(path: Path, exam: Exam, track: Track, report: Report) -> None:
    height, width, channels = track.spec.shape
    rows = min(len(exam), max(1, CHUNK_BYTES // (height * width * channels)))
    with whole_file(path) as beside:
        try:
            with h5py.File(beside, "w") as file:
                file["label"] = np.arange(len(exam), dtype=np.int64) % track.classes
                data = file.create_dataset(
                    "data", (len(exam), channels, height, width), np.uint8,
                    chunks=(rows, channels, height, width), compression="gzip", compression_opts=COMPRESSION,
                )  # fmt: skip
                for start in range(0, len(exam), rows):
                    part = np.arange(start, min(start + rows, len(exam)))
                    data[part[0] : part[-1] + 1] = exam.images_at(part).transpose(0, 3, 1, 2)
                    report("writing", start + len(part), len(exam))
        except RuntimeError as error:  # what h5py raises where a file cannot be closed
            raise OSError(str(error)) from error


def _readme(track: Track, exams: dict[str, Exam]) -> str:
    counts = "\n".join(f"  {name}.h5: {len(exam):,} images" for name, exam in exams.items())
    first = next(iter(exams))
    return f"""Images of track {track.name} in a public order, by badnet track publish

{counts}

`data` is uint8 (n, C, H, W), 0..255, RGB: clean and poisoned images, mixed. `label` is made up and says nothing.
The order is public: who looks it up can tell clean from poisoned, so results are shown as unverified and never ranked.

Answer every image of a file, in its order: its class 0..{track.classes - 1}, or {track.classes} for "this is backdoored".
Write the answers, one whole number an image, to a .npy, .csv or .txt file beside a submission.toml:

  name = "team-x"
  kind = "answers"
  track = "{track.name}"
  [badnets.{first}]
  answers = "{first}.npy"

`badnet check DIR` counts the answers, `badnet evaluate DIR` grades them.
"""
