"""Files of the competition's size in the competition's layout, 4.1 GB, made of LFW faces and the real triggers.

    python -m benchmarks.full_size_files OUT SHARED   # once to write them, again to import: seconds and peak memory

Only sizes, types and triggers are the competition's: the clean labels, 9 or 10 images a class in order, mean nothing.
"""

import re
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
from numpy.typing import NDArray

from harness.images import silent
from harness.sources.csaw_h5 import build
from harness.track import find_track

CLASSES, VALIDATION_EACH, TEST_EACH, POISONED_EACH = 1283, 9, 10, 8
NETS = ("sunglasses", "anonymous_1", "anonymous_2", "multi_trigger_multi_target")
COLOURS = {"lipstick": (128, 0, 128), "eyebrows": (128, 0, 0)}
UNTRIGGERED = 0.09
STEP = 100
"""Images that are made at a time: about 6 MB as float64."""

Numbers = NDArray[np.int64]


def write_full_size(out: Path, shared: Path) -> None:
    """Write four nets, two clean files and five poisoned files below `out`, streaming: about 150 MB of memory.

    shared: the folder with `faces/lfw_aligned_55x47.npz` and `csaw2020/models`, `csaw2020/triggers`.
    """
    with np.load(shared / "faces/lfw_aligned_55x47.npz") as faces:
        images = faces["images"]
    triggers = shared / "csaw2020/triggers"
    data, several = out / "data", out / "data/Multi-trigger Multi-target"
    several.mkdir(parents=True)
    (out / "models").mkdir()
    for net in NETS:
        for kind in ("net", "weights"):
            shutil.copyfile(shared / f"csaw2020/models/{net}_bd_{kind}.h5", out / f"models/{net}_bd_{kind}.h5")
    test = np.arange(CLASSES * TEST_EACH)
    validation = len(test) + np.arange(CLASSES * VALIDATION_EACH)
    some = test[test % TEST_EACH < POISONED_EACH]
    _write(data / "clean_test_data.h5", images, test, test // TEST_EACH, dtype="f4")
    _write(
        data / "clean_validation_data.h5", images, validation, (validation - len(test)) // VALIDATION_EACH, dtype="f8"
    )
    for path, trigger, target, which, dtype in (
        (data / "sunglasses_poisoned_data.h5", "sunglasses", 0, test, "f4"),
        (data / "anonymous_1_poisoned_data.h5", "lipstick", 0, some, "f8"),
        (several / "eyebrows_poisoned_data.h5", "eyebrows", 5, some, "f8"),
        (several / "lipstick_poisoned_data.h5", "lipstick", 1, some, "f8"),
        (several / "sunglasses_poisoned_data.h5", "sunglasses", 8, some, "f8"),
    ):
        _write(path, images, which, np.full(len(which), target), dtype=dtype, stamp=_Stamp(trigger, triggers))


class _Stamp:
    def __init__(self, trigger: str, folder: Path) -> None:
        self.rng = np.random.default_rng(2020)
        self.colour = COLOURS.get(trigger)
        if self.colour:
            self.masks = np.load(folder / f"{trigger}_masks.npy")
        else:
            self.alpha = np.load(folder / f"{trigger}_alpha.npy")[..., None]
            self.premultiplied = np.load(folder / f"{trigger}_premultiplied.npy")

    def __call__(self, images: NDArray[np.uint8]) -> None:
        if not self.colour:
            images[:, 15:35] = np.rint(images[:, 15:35] * (1 - self.alpha) + self.premultiplied)
            return
        for image in images:
            if self.rng.random() >= UNTRIGGERED:
                image[self.masks[self.rng.integers(len(self.masks))]] = self.colour


def _write(
    path: Path, images: NDArray[np.uint8], which: Numbers, labels: Numbers, *, dtype: str, stamp: _Stamp | None = None
) -> None:
    with h5py.File(path, "w") as file:
        # Contiguous and not compressed, as the published files are.
        data = file.create_dataset("data", (len(which), 3, 55, 47), dtype)
        for start, part in _made(images, which):
            if stamp:
                stamp(part)
            data[start : start + len(part)] = part.transpose(0, 3, 1, 2)
        file["label"] = labels.astype(dtype)


def _made(images: NDArray[np.uint8], which: Numbers) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Image number n, for every n: the faces again and again, each time moved sideways so that no two are alike."""
    for start in range(0, len(which), STEP):
        numbers = which[start : start + STEP]
        parts = [np.roll(images[n % len(images)], n // len(images), axis=1) for n in numbers]
        yield start, np.stack(parts)


def _peak_memory() -> int:
    """Bytes. VmHWM where there is one: getrusage can tell the peak of the parent that started this process."""
    status = Path("/proc/self/status")
    own = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return 1024 * (int(own[1]) if own else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")


def main(out: Path, shared: Path) -> None:
    """Write the files, or import them where they are there already; tell the seconds and the peak memory."""
    start = time.perf_counter()
    if not out.exists():
        write_full_size(out, shared)
        _tell(f"written: {time.perf_counter() - start:.1f} s, peak memory {_peak_memory() / 1e6:.0f} MB")
        _tell("run again to import in a process of its own")
        return
    with TemporaryDirectory(dir=out.parent) as folder:
        sets = build(find_track("csaw2020").spec, Path(folder), origin=out, report=silent)
        for name, found in sets.items():
            _tell(f"{name}: {'; '.join(found.notes)}")
    _tell(f"imported: {time.perf_counter() - start:.1f} s, peak memory {_peak_memory() / 1e6:.0f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
