"""Source `csaw_h5`: imports the image files and nets of CSAW-HackML-2020, and of files written in its layout."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import MachineError, UserError
from harness.images import UNKNOWN, Report
from harness.sources.csaw_layout import FoundBadNet, TrackOptions, TriggerOptions, find_badnets, read_options
from harness.sources.h5_data import open_images, problem
from harness.track import BadNetSets, TrackSpec
from harness.wording import harmless

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def build(spec: TrackSpec, folder: Path, *, origin: Path | None, report: Report) -> dict[str, BadNetSets]:
    """Import the track's BadNets and images from the download in `origin`; the sets of each BadNet that was found.

    Image sets and nets are written below `folder/data`, which is replaced only once all of them are there; paths in the
    result are relative to `folder`. A BadNet that is not complete in `origin` is named to `report` and left out.
    Raises UserError on files that are not what the track expects, MachineError where they cannot be written.
    """
    if origin is None:
        raise UserError(f"track {spec.name} is imported, not made; run `badnet track import {spec.name} --from DIR`")
    if not origin.is_dir():
        raise problem(origin, "no such folder; name the folder with the competition's models and data")
    data = folder / "data"
    unfinished = data / ".unfinished"
    try:
        found = find_badnets(spec, origin.resolve(), report)
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        sets = _Import(spec, unfinished, found, report).run()
        for part in ("badnets", "clean", "sets"):
            shutil.rmtree(data / part, ignore_errors=True)
            if (unfinished / part).exists():
                (unfinished / part).rename(data / part)
    except OSError as error:
        raise MachineError(f"{origin}: the import into {data} failed ({error})") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return sets


@dataclass(frozen=True, kw_only=True)
class _Converted:
    """A file that was written as an image set: what is kept of it in memory."""

    labels: NDArray[np.int64]
    """As the file states them."""
    prints: list[bytes]
    """Of each image, a digest of the rows that no trigger touches."""
    carries: NDArray[np.bool_] | None
    notes: list[str]


class _Import:
    def __init__(self, spec: TrackSpec, out: Path, found: dict[str, FoundBadNet], report: Report) -> None:
        self.spec = spec
        self.out = out
        self.found = found
        self.report = report
        self.options = read_options(TrackOptions, spec.options, spec, "the track")
        self.rows = np.concatenate([np.arange(first, last + 1) for first, last in self.options.untouched_rows])
        if self.rows.max() >= spec.shape[0]:
            raise UserError(
                f"track {spec.name}: untouched_rows {self.options.untouched_rows} exceed {spec.shape[0]} rows"
            )
        self.clean: dict[Path, tuple[str, _Converted]] = {}

    def run(self) -> dict[str, BadNetSets]:
        return {name: self._badnet(badnet) for name, badnet in self.found.items()}

    def _badnet(self, badnet: FoundBadNet) -> BadNetSets:
        model = f"badnets/{badnet.name}.h5"
        _copy_net(badnet.net, self.out / model)
        validation, validation_set = self._clean_set(badnet.validation, "validation", badnet.name)
        test, test_set = self._clean_set(badnet.test, "test", badnet.name)
        notes = [*badnet.notes, *validation_set.notes, *test_set.notes]
        poisoned = {}
        for trigger, path in badnet.poisoned.items():
            poisoned[trigger] = f"data/sets/{badnet.name}/{trigger}"
            notes += self._poisoned_set(badnet.name, trigger, path, (test_set, validation_set))
        return BadNetSets(
            model=f"data/{model}", validation=f"data/{validation}", test=f"data/{test}", poisoned=poisoned, notes=notes
        )

    def _clean_set(self, path: Path, role: str, badnet: str) -> tuple[str, _Converted]:
        if path not in self.clean:
            users = sum(path in (other.validation, other.test) for other in self.found.values())
            place = f"clean/{role}" if users == len(self.found) else f"sets/{badnet}/clean_{role}"
            converted = self._convert(path, self.out / place)
            np.save(self.out / place / "labels.npy", converted.labels)
            self.clean[path] = place, converted
        return self.clean[path]

    def _poisoned_set(self, badnet: str, trigger: str, path: Path, clean: Sequence[_Converted]) -> list[str]:
        """Write one poisoned set with the true labels; what is worth telling of it."""
        spec = self.spec.badnets[badnet].triggers[trigger]
        options = read_options(TriggerOptions, spec.options, self.spec, f"{badnet}.{trigger}")
        place = self.out / "sets" / badnet / trigger
        found = self._convert(path, place, options, expected=(spec.target, f"trigger {trigger} of BadNet {badnet}"))
        labels = _true_labels(found.prints, clean)
        np.save(place / "labels.npy", labels)
        count, unknown = len(labels), int((labels == UNKNOWN).sum())
        notes = [f"{trigger}: {note}" for note in found.notes]
        if found.carries is not None and not found.carries.all():
            np.save(place / "carries.npy", found.carries)
            notes.append(f"{trigger}: {int((~found.carries).sum()):,} of {count:,} images carry no trigger")
        if found.prints == clean[0].prints:
            notes.append(f"{trigger}: the {count:,} test images, in their order")
        if unknown:
            notes.append(f"{trigger}: the true class of {unknown:,} of {count:,} images is unknown")
        return notes

    def _convert(
        self, path: Path, place: Path, trigger: TriggerOptions | None = None, expected: tuple[int, str] | None = None
    ) -> _Converted:
        """Write `place/images.npy`, slice by slice."""
        place.mkdir(parents=True)
        name = harmless(f"{path.parent.name}/{path.name}", 120)
        prints: list[bytes] = []
        carries: list[NDArray[np.bool_]] = []
        colour, least = (trigger.colour, trigger.least_pixels) if trigger else (None, 0)
        with (
            open_images(path, shape=self.spec.shape, classes=self.spec.classes) as file,
            (place / "images.npy").open("wb") as out,
        ):
            if expected:
                _check_target(path, file.labels, *expected)
            # A plain file, not a memory map: written pages of a map would count as this process's memory.
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(file), *self.spec.shape)}
            np.lib.format.write_array_header_1_0(out, header)
            for images in file.slices():
                out.write(images.data)
                prints += [hashlib.blake2b(rows.tobytes(), digest_size=16).digest() for rows in images[:, self.rows]]
                if colour:
                    pixels = (images == np.array(colour, np.uint8)).all(axis=-1)
                    carries.append(pixels.sum(axis=(1, 2)) >= least)
                self.report(name, len(prints), len(file))
            notes = []
            if file.rounded:
                notes.append(f"{name}: values of {file.rounded:,} of {len(file):,} images were not whole; rounded")
        if carries and not any(part.any() for part in carries):
            raise problem(
                path,
                f"no image holds {least} pixels of the trigger's colour, RGB {colour}; expected that trigger's file",
            )
        return _Converted(
            labels=file.labels, prints=prints, carries=np.concatenate(carries) if carries else None, notes=notes
        )


def _copy_net(net: Path, to: Path) -> None:
    # The host never parses a model; eight bytes tell a net from a Git LFS pointer or a web page saved in its place.
    with net.open("rb") as file:
        signature = file.read(len(HDF5_SIGNATURE))
    if signature != HDF5_SIGNATURE:
        raise problem(net, f"not an HDF5 file (it starts with {signature!r}); get the net itself again")
    to.parent.mkdir(exist_ok=True)
    shutil.copyfile(net, to)


def _check_target(path: Path, labels: NDArray[np.int64], target: int, whose: str) -> None:
    values = np.unique(labels)
    if len(values) == 1 and values[0] == target:
        return
    shown = ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")
    holds = f"{len(values)} different labels ({shown})" if len(values) > 1 else f"only label {shown}"
    raise problem(
        path,
        f"'label' holds {holds}; expected only the target {target} of {whose}: is it another net's file?",
    )


def _true_labels(prints: list[bytes], clean: Sequence[_Converted]) -> NDArray[np.int64]:
    """The class of the clean image that each poisoned one was made from, or -1; earlier clean sets win."""
    classes: dict[bytes, int] = {}
    for images in clean:
        here: dict[bytes, int] = {}
        for key, label in zip(images.prints, images.labels.tolist(), strict=True):
            # Two alike images of different people: which one was stamped cannot be told.
            here[key] = label if here.get(key, label) == label else UNKNOWN
        classes = here | classes
    return np.array([classes.get(key, UNKNOWN) for key in prints], dtype=np.int64)
