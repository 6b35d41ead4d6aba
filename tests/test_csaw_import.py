"""The source `csaw_h5`: layouts, what it refuses, and that it reads in slices what a naive reader reads at once."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.errors import MachineError, UserError
from harness.images import UNKNOWN, ImageSet, silent
from harness.sources import h5_data
from harness.sources.csaw_h5 import HDF5_SIGNATURE, build
from harness.sources.csaw_layout import BadNetOptions, TrackOptions, TriggerOptions
from harness.sources.h5_data import open_images
from harness.track import BadNetSets, Track, TrackSpec

ROOT = Path(__file__).resolve().parent.parent
CSAW = ROOT.parent / "shared" / "csaw2020"
needs_csaw = pytest.mark.skipif(not CSAW.is_dir(), reason=f"the competition's nets and triggers are not in {CSAW}")

H, W, C, CLASSES = 10, 6, 3, 8
LIPS = (128, 0, 128)
# BadNet -> trigger -> target, rows covered. A trigger named "lips" is of one solid colour.
ROWS = {"glasses": slice(2, 4), "lips": slice(5, 8)}
TARGETS = {"one": {"glasses": 0}, "both": {"glasses": 3, "lips": 5}}
SHARED = {("one", "glasses"): "glasses.h5", ("both", "glasses"): "Both Of Them/glasses.h5", ("both", "lips"): "lips.h5"}

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


def small_spec() -> TrackSpec:
    badnets: dict[str, Any] = {}
    for name, targets in TARGETS.items():
        triggers = {}
        for trigger, target in targets.items():
            options: dict[str, Any] = {"files": [SHARED[name, trigger]], "own_files": [f"{trigger}.h5"]}
            if trigger == "lips":
                options["colour"] = list(LIPS)
            triggers[trigger] = {"target": target, "options": options}
        digest = hashlib.sha256(weights_of(name)).hexdigest()
        badnets[name] = {
            "model": f"data/badnets/{name}.h5",
            "options": {"weights_sha256": digest},
            "triggers": triggers,
        }
    return TrackSpec.model_validate(
        {
            "name": "small",
            "title": "small",
            "classes": CLASSES,
            "shape": (H, W, C),
            "source": "csaw_h5",
            "options": {
                "validation": {"files": ["valid.h5"]},
                "test": {"files": ["cl/test.h5"], "own_files": ["test.h5"]},
                "untouched_rows": [[0, 1], [8, 9]],
            },
            "badnets": badnets,
        }
    )


def weights_of(name: str) -> bytes:
    return b"weights of " + name.encode()


def net_of(name: str) -> bytes:
    return HDF5_SIGNATURE + b"net of " + name.encode()


def write_models(folder: Path, *names: str, stem: str = "{}_bd") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{stem.format(name)}_weights.h5").write_bytes(weights_of(name))
        (folder / f"{stem.format(name)}_net.h5").write_bytes(net_of(name))


def write_h5(path: Path, images: NDArray[Any], labels: NDArray[Any], dtype: str = "f4", **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=images.transpose(0, 3, 1, 2).astype(dtype), **options)
        file["label"] = labels


def faces(seed: int, count: int = 16) -> tuple[Images, Labels]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, H, W, C), dtype=np.uint8), rng.integers(0, CLASSES, count)


def stamped(images: Images, trigger: str, untriggered: int = 0) -> Images:
    out = images.copy()
    out[untriggered:, ROWS[trigger]] = LIPS if trigger == "lips" else 77
    return out


def write_shared_layout(folder: Path, *names: str) -> tuple[Images, Labels]:
    """One clean set for all nets; the test set is returned."""
    write_models(folder / "models", *names)
    write_h5(folder / "data/valid.h5", *faces(1), dtype="f8")
    images, labels = faces(2)
    write_h5(folder / "data/cl/test.h5", images, labels)
    for name in names:
        for trigger, target in TARGETS[name].items():
            poisoned = stamped(images, trigger, untriggered=3)
            write_h5(folder / "data" / SHARED[name, trigger], poisoned, np.full(len(images), float(target)), "f8")
    return images, labels


def write_own_layout(folder: Path, name: str, seed: int = 5) -> tuple[Images, Labels]:
    """A folder of one net."""
    write_models(folder / "models", name)
    write_h5(folder / "data/valid.h5", *faces(seed), dtype="f8")
    images, labels = faces(seed + 1)
    write_h5(folder / "data/test.h5", images, labels)
    for trigger, target in TARGETS[name].items():
        write_h5(folder / f"data/{trigger}.h5", stamped(images, trigger), np.full(len(images), target), "i4")
    return images, labels


def run_import(origin: Path | None, folder: Path) -> dict[str, BadNetSets]:
    return build(small_spec(), folder, origin=origin, report=silent)


def loaded(folder: Path, path: str) -> ImageSet:
    return ImageSet.load(folder / path)


# Layouts


def test_a_common_folder_is_imported_and_its_clean_sets_are_stored_once(tmp_path: Path) -> None:
    images, labels = write_shared_layout(tmp_path / "from", "one", "both")
    sets = run_import(tmp_path / "from", tmp_path / "track")
    assert list(sets) == ["one", "both"]
    assert (sets["one"].validation, sets["one"].test) == (sets["both"].validation, sets["both"].test)
    test = loaded(tmp_path / "track", sets["one"].test)
    np.testing.assert_array_equal(test.images, images)
    np.testing.assert_array_equal(test.labels, labels)
    assert test.labels.dtype == np.int64
    np.testing.assert_array_equal(loaded(tmp_path / "track", sets["one"].validation).images, faces(1)[0])
    assert (tmp_path / "track" / sets["both"].model).read_bytes() == net_of("both")
    assert all(path.startswith("data/") for path in sets["both"].poisoned.values())


def test_poisoned_sets_know_their_true_classes_and_which_images_carry_the_trigger(tmp_path: Path) -> None:
    images, labels = write_shared_layout(tmp_path / "from", "both")
    sets = run_import(tmp_path / "from", tmp_path / "track")["both"]
    lips = loaded(tmp_path / "track", sets.poisoned["lips"])
    np.testing.assert_array_equal(lips.images, stamped(images, "lips", untriggered=3))
    np.testing.assert_array_equal(lips.labels, labels)
    assert lips.carries is not None
    assert lips.carries.tolist() == [False] * 3 + [True] * 13
    assert loaded(tmp_path / "track", sets.poisoned["glasses"]).carries is None
    assert sets.notes == [
        "glasses: the 16 test images, in their order",
        "lips: 3 of 16 images carry no trigger",
        "lips: the 16 test images, in their order",
    ]


def test_a_folder_per_net_is_imported_with_its_own_clean_sets(tmp_path: Path) -> None:
    one, _ = write_own_layout(tmp_path / "from/a name that says nothing", "one", seed=5)
    both, _ = write_own_layout(tmp_path / "from/one", "both", seed=8)
    sets = run_import(tmp_path / "from", tmp_path / "track")
    np.testing.assert_array_equal(loaded(tmp_path / "track", sets["one"].test).images, one)
    np.testing.assert_array_equal(loaded(tmp_path / "track", sets["both"].test).images, both)
    assert set(sets["both"].poisoned) == {"glasses", "lips"}


@pytest.mark.parametrize("where", ["from", "from/net", "."])
def test_the_folder_may_be_the_net_itself_or_lie_above_it(tmp_path: Path, where: str) -> None:
    write_own_layout(tmp_path / "from/net", "both")
    assert list(run_import(tmp_path / where, tmp_path / "track")) == ["both"]


def test_nets_and_data_may_lie_in_one_flat_folder(tmp_path: Path) -> None:
    write_own_layout(tmp_path / "net", "one")
    for path in sorted((tmp_path / "net").glob("*/*")):
        path.rename(tmp_path / "net" / path.name)
    assert list(run_import(tmp_path / "net", tmp_path / "track")) == ["one"]


def test_a_net_is_known_by_its_weights_and_not_by_its_name(tmp_path: Path) -> None:
    write_shared_layout(tmp_path / "from", "one", "both")
    shutil.rmtree(tmp_path / "from/models")
    write_models(tmp_path / "from/models", "one", stem="both_bd")
    write_models(tmp_path / "from/models", "both", stem="anonymous")
    sets = run_import(tmp_path / "from", tmp_path / "track")
    assert (tmp_path / "track" / sets["one"].model).read_bytes() == net_of("one")
    assert (tmp_path / "track" / sets["both"].model).read_bytes() == net_of("both")


def test_a_second_import_replaces_the_first_and_a_failed_one_does_not(tmp_path: Path) -> None:
    write_shared_layout(tmp_path / "from", "one", "both")
    run_import(tmp_path / "from", tmp_path / "track")
    images, _ = write_own_layout(tmp_path / "again", "one")
    sets = run_import(tmp_path / "again", tmp_path / "track")
    np.testing.assert_array_equal(loaded(tmp_path / "track", sets["one"].test).images, images)
    assert not (tmp_path / "track/data/badnets/both.h5").exists()
    (tmp_path / "from/data/glasses.h5").write_bytes(b"cut")
    with pytest.raises(UserError):
        run_import(tmp_path / "from", tmp_path / "track")
    np.testing.assert_array_equal(loaded(tmp_path / "track", sets["one"].test).images, images)
    assert sorted(path.name for path in (tmp_path / "track/data").iterdir()) == ["badnets", "clean", "sets"]


def test_poisoned_images_of_the_validation_set_are_recognised_and_strangers_are_unknown(tmp_path: Path) -> None:
    write_shared_layout(tmp_path / "from", "one")
    images, labels = faces(1)
    mixed = np.concatenate([images[4:6], faces(99, count=1)[0]])
    write_h5(tmp_path / "from/data/glasses.h5", stamped(mixed, "glasses"), np.zeros(3))
    sets = run_import(tmp_path / "from", tmp_path / "track")["one"]
    poisoned = loaded(tmp_path / "track", sets.poisoned["glasses"])
    assert poisoned.labels.tolist() == [*labels[4:6].tolist(), UNKNOWN]
    assert sets.notes == ["glasses: the true class of 1 of 3 images is unknown"]


def test_alike_clean_images_of_two_classes_leave_the_true_class_unknown(tmp_path: Path) -> None:
    write_shared_layout(tmp_path / "from", "one")
    images, _ = faces(2, count=4)
    images[1] = images[0]
    images[3] = images[2]
    write_h5(tmp_path / "from/data/cl/test.h5", images, np.array([1, 2, 6, 6]))
    write_h5(tmp_path / "from/data/glasses.h5", stamped(images, "glasses"), np.zeros(4))
    sets = run_import(tmp_path / "from", tmp_path / "track")["one"]
    assert loaded(tmp_path / "track", sets.poisoned["glasses"]).labels.tolist() == [UNKNOWN, UNKNOWN, 6, 6]


def test_values_that_are_not_whole_are_rounded_and_counted(tmp_path: Path) -> None:
    images, labels = write_shared_layout(tmp_path / "from", "one")
    values = images.astype(np.float64)
    values[3:5, 0, 0, 0] = 100.4
    write_h5(tmp_path / "from/data/cl/test.h5", values, labels, "f8")
    sets = run_import(tmp_path / "from", tmp_path / "track")["one"]
    assert loaded(tmp_path / "track", sets.test).images[3, 0, 0, 0] == 100
    assert "cl/test.h5: values of 2 of 16 images were not whole; rounded" in sets.notes


def test_progress_is_told_for_each_slice(tmp_path: Path) -> None:
    write_shared_layout(tmp_path / "from", "one")
    told: list[tuple[str, int, int]] = []
    with mock.patch.object(h5_data, "SLICE_BYTES", 5 * H * W * C * 8):
        build(
            small_spec(), tmp_path / "track", origin=tmp_path / "from", report=lambda *progress: told.append(progress)
        )
    assert [progress for progress in told if progress[0] == "data/valid.h5"] == [
        ("data/valid.h5", done, 16) for done in (5, 10, 15, 16)
    ]


# What is missing


def test_without_a_folder_the_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `badnet track import small --from DIR`"):
        run_import(None, tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder"):
        run_import(tmp_path / "nowhere", tmp_path)


def test_a_folder_with_nothing_of_the_track_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: nothing to import for track small; expected .*models/\*_weights.h5"):
        run_import(tmp_path / "empty", tmp_path / "track")


def test_unknown_weights_and_missing_badnets_are_named_in_one_line_each(tmp_path: Path) -> None:
    write_shared_layout(tmp_path / "from", "one")
    (tmp_path / "from/models/mine_weights.h5").write_bytes(b"mine")
    told: list[str] = []
    sets = build(small_spec(), tmp_path / "track", origin=tmp_path / "from", report=lambda text, *_: told.append(text))
    assert list(sets) == ["one"]
    assert told[0] == "models/mine_weights.h5: left alone, not the weights of a BadNet of small"
    assert told[1].startswith("BadNet both is left out: no *_weights.h5 has the sha256 ")


def test_a_badnet_without_poisoned_data_is_left_out_with_the_reason(tmp_path: Path) -> None:
    write_shared_layout(tmp_path / "from", "one")
    write_models(tmp_path / "from/models", "both")
    told: list[str] = []
    sets = build(small_spec(), tmp_path / "track", origin=tmp_path / "from", report=lambda text, *_: told.append(text))
    assert list(sets) == ["one"]
    assert told[0].startswith("BadNet both is left out: glasses: no data/Both Of Them/glasses.h5 (or glasses.h5 in a")


def test_a_badnet_without_one_of_its_triggers_says_so_in_its_notes(tmp_path: Path) -> None:
    write_shared_layout(tmp_path / "from", "one", "both")
    (tmp_path / "from/data/lips.h5").unlink()
    sets = run_import(tmp_path / "from", tmp_path / "track")["both"]
    assert set(sets.poisoned) == {"glasses"}
    assert sets.notes[0].startswith("lips: no data/lips.h5")
    assert sets.notes[0].endswith("this trigger is not part of the import")


def test_known_weights_without_their_net_are_an_error(tmp_path: Path) -> None:
    write_shared_layout(tmp_path / "from", "one", "both")
    (tmp_path / "from/models/one_bd_net.h5").unlink()
    with pytest.raises(
        UserError, match=r"one_bd_weights.h5: the weights of BadNet one, but one_bd_net.h5 is not beside"
    ):
        run_import(tmp_path / "from", tmp_path / "track")


def test_a_net_that_is_a_pointer_to_a_file_elsewhere_is_refused(tmp_path: Path) -> None:
    write_shared_layout(tmp_path / "from", "one")
    (tmp_path / "from/models/one_bd_net.h5").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(UserError, match=r"one_bd_net.h5: not an HDF5 file \(it starts with b'version '"):
        run_import(tmp_path / "from", tmp_path / "track")


def test_a_missing_clean_set_is_the_reason_that_is_told(tmp_path: Path) -> None:
    write_shared_layout(tmp_path / "from", "one")
    (tmp_path / "from/data/cl/test.h5").unlink()
    with pytest.raises(UserError, match=r"BadNet one is left out: no data/cl/test.h5"):
        run_import(tmp_path / "from", tmp_path / "track")


def test_a_whole_disk_is_not_searched(tmp_path: Path) -> None:
    write_shared_layout(tmp_path / "from", "one")
    with (
        mock.patch("harness.sources.csaw_layout.MOST_FOLDERS", 2),
        pytest.raises(UserError, match="name the folder of the download itself"),
    ):
        run_import(tmp_path / "from", tmp_path / "track")


def test_a_track_folder_that_cannot_be_written_is_the_machines_failure(tmp_path: Path) -> None:
    write_shared_layout(tmp_path / "from", "one")
    (tmp_path / "track").write_text("a file where the folder should be")
    with pytest.raises(MachineError, match="the import into"):
        run_import(tmp_path / "from", tmp_path / "track")


# What is wrong with a file


def with_value(value: float, dtype: str = "f4") -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        values = faces(2)[0].astype(np.float64)
        values[7, 1, 2, 0] = value
        write_h5(path, values, np.zeros(16), dtype)

    return damage


def with_labels(labels: Any) -> Callable[[Path], None]:
    return lambda path: write_h5(path, faces(2)[0], np.asarray(labels))


def with_arrays(**arrays: Any) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with h5py.File(path, "w") as file:
            for key, value in arrays.items():
                file[key] = value

    return damage


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


def scaled(path: Path) -> None:
    write_h5(path, faces(2)[0] / 255, np.zeros(16))


def planar(count: int = 16) -> Images:
    return faces(2, count)[0].transpose(0, 3, 1, 2)


def soft_link(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["pixels"], file["label"], file["data"] = planar(), np.zeros(16), h5py.SoftLink("/pixels")


def external_link(path: Path) -> None:
    path.rename(path.with_name("other.h5"))
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = h5py.ExternalLink("other.h5", "/data"), np.zeros(16)


def external_label(path: Path) -> None:
    path.rename(path.with_name("other.h5"))
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = planar(), h5py.ExternalLink("other.h5", "/label")


def external_storage(path: Path) -> None:
    raw = path.with_name("secret")
    raw.write_bytes(bytes(16 * C * H * W))
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (16, C, H, W), "u1", external=[(str(raw), 0, h5py.h5f.UNLIMITED)])
        file["label"] = np.zeros(16)


def virtual(path: Path) -> None:
    path.rename(path.with_name("other.h5"))
    layout = h5py.VirtualLayout((16, C, H, W), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "data", (16, C, H, W))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("data", layout)
        file["label"] = np.zeros(16)


def objects(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (16, C, H, W), dtype=h5py.string_dtype())
        file["label"] = np.zeros(16)


def shape_bomb(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (10**11, C, H, W), "f8", chunks=(1, C, H, W))
        file.create_dataset("label", (10**11,), "f8", chunks=(10,))


def hollow(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (90_000, C, H, W), "f8", chunks=(1, C, H, W))
        file.create_dataset("label", (90_000,), "f8", chunks=(10,))


def huge_chunks(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (90_000, C, H, W), "f8", chunks=(90_000, C, H, W), compression="gzip")
        file["label"] = np.zeros(90_000)


def damaged_chunk(path: Path) -> None:
    write_h5(path, faces(2)[0], np.zeros(16), "u1", chunks=(4, C, H, W), fletcher32=True)
    with h5py.File(path) as file:
        where = file["data"].id.get_chunk_info(2).byte_offset
    with path.open("r+b") as raw:
        raw.seek(where + 9)
        raw.write(b"xxxx")


WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "no key data": (
        with_arrays(label=np.zeros(16)),
        r"missing key 'data'; expected 'data' and 'label', found one of 'label'",
    ),
    "no key label": (with_arrays(data=planar()), r"missing key 'label'"),
    "no keys": (with_arrays(), r"missing key 'data'.*there is none"),
    "a group": (with_arrays(**{"data/x": 1, "label": np.zeros(16)}), r"'data' is a group"),
    "channels last": (
        with_arrays(data=faces(2)[0], label=np.zeros(16)),
        r"channels last: transpose it by \(0, 3, 1, 2\)",
    ),
    "a single number": (with_arrays(data=3.0, label=np.zeros(16)), r"'data' has shape \(\); expected \(n, 3, 10, 6\)"),
    "nothing": (with_arrays(data=h5py.Empty("f4"), label=np.zeros(16)), r"'data' has shape None; expected"),
    "other size": (
        with_arrays(data=np.ones((16, 3, 32, 32)), label=np.zeros(16)),
        r"'data' has shape \(16, 3, 32, 32\)",
    ),
    "no images": (with_arrays(data=planar(0), label=np.zeros(0)), r"'data' has 0 images; expected 1 to 100000"),
    "fewer labels": (with_arrays(data=planar(), label=np.zeros(15)), r"'label' has shape \(15,\); expected \(16,\)"),
    "labels in a column": (
        with_arrays(data=planar(), label=np.zeros((16, 1))),
        r"'label' has shape \(16, 1\); expected",
    ),
    "too bright": (with_value(300), r"'data' holds 300 in image 7; expected 0\.\.255"),
    "too bright integers": (with_value(256, "i2"), r"'data' holds 256 in image 7"),
    "negative": (with_value(-1, "i4"), r"'data' holds -1 in image 7"),
    "not a number": (with_value(float("nan")), r"'data' holds nan in image 7"),
    "infinite": (with_value(float("inf"), "f8"), r"'data' holds inf in image 7"),
    "scaled": (scaled, r"'data' reaches only 1: it looks scaled to 0\.\.1; multiply it by 255"),
    "label not whole": (with_labels([0.5] * 16), r"'label' holds 0\.5 at image 0; expected whole numbers 0\.\.7"),
    "label not a number": (with_labels([0.0] * 15 + [np.nan]), r"'label' holds nan at image 15"),
    "label out of range": (
        with_labels([0] * 3 + [8] * 13),
        r"'label' holds 8 at image 3; expected whole numbers 0\.\.7",
    ),
    "label negative": (with_labels([-1] * 16), r"'label' holds -1 at image 0"),
    "several labels": (
        with_labels([0, 1] * 8),
        r"2 different labels \(0, 1\); expected only the target 0 of trigger glasses",
    ),
    "another target": (
        with_labels([3] * 16),
        r"only label 3; expected only the target 0 of trigger glasses of BadNet one",
    ),
    "labels as words": (
        with_labels(np.array([b"0"] * 16)),
        r"'label' has type \|S1; expected integer or float numbers",
    ),
    "labels as truth": (with_labels([False] * 16), r"'label' has type bool; expected integer or float"),
    "not HDF5": (lambda path: _ignore(path.write_text("<!DOCTYPE html>")), r"not an HDF5 file, or cut short"),
    "cut short": (cut_short, r"not an HDF5 file, or cut short"),
    "damaged": (damaged_chunk, r"'data' is damaged at image 0"),
    "soft link": (soft_link, r"'data' is a link, which could lead to another file"),
    "external link": (external_link, r"'data' is a link, which could lead to another file"),
    "external link for labels": (external_label, r"'label' is a link, which could lead to another file"),
    "external storage": (external_storage, r"'data' is stored in other files"),
    "virtual": (virtual, r"'data' is stored in other files"),
    "objects": (objects, r"'data' has type object; expected integer or float numbers"),
    "shape bomb": (shape_bomb, r"'data' has 100000000000 images; expected 1 to 100000"),
    "hollow": (hollow, r"announces images or labels but stores none"),
    "huge chunks": (huge_chunks, r"'data' has chunks \(90000, 3, 10, 6\) above 64 MB; rewrite it"),
}


def _ignore(_: object) -> None:
    return None


@pytest.mark.parametrize(("damage", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_file_is_refused_in_one_line_with_its_name(
    tmp_path: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    write_shared_layout(tmp_path / "from", "one")
    damage(tmp_path / "from/data/glasses.h5")
    with pytest.raises(UserError, match=sentence) as caught:
        run_import(tmp_path / "from", tmp_path / "track")
    message = str(caught.value)
    assert "glasses.h5: " in message
    assert "\n" not in message
    assert not list((tmp_path / "track/data").iterdir())


@pytest.mark.parametrize("damage", [with_value(300), scaled, with_labels([9] * 16)])
def test_clean_files_are_checked_as_well(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    write_shared_layout(tmp_path / "from", "one")
    damage(tmp_path / "from/data/valid.h5")
    with pytest.raises(UserError, match=r"valid\.h5: '(data|label)'"):
        run_import(tmp_path / "from", tmp_path / "track")


def test_a_poisoned_file_without_any_trigger_is_refused(tmp_path: Path) -> None:
    images, _ = write_shared_layout(tmp_path / "from", "both")
    write_h5(tmp_path / "from/data/lips.h5", images, np.full(16, 5))
    with pytest.raises(UserError, match=r"no image holds 12 pixels of the trigger's colour, RGB \(128, 0, 128\)"):
        run_import(tmp_path / "from", tmp_path / "track")


def test_the_other_nets_file_of_the_same_name_is_never_taken_from_a_common_folder(tmp_path: Path) -> None:
    write_shared_layout(tmp_path / "from", "one", "both")
    shutil.rmtree(tmp_path / "from/data/Both Of Them")
    sets = run_import(tmp_path / "from", tmp_path / "track")
    assert set(sets["both"].poisoned) == {"lips"}


def test_control_characters_of_a_file_are_not_printed(tmp_path: Path) -> None:
    write_shared_layout(tmp_path / "from", "one")
    with_arrays(**{"\x1b[31mred": 1})(tmp_path / "from/data/glasses.h5")
    with pytest.raises(UserError) as caught:
        run_import(tmp_path / "from", tmp_path / "track")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("table", ["validation", "untouched_rows", "nonsense"])
def test_wrong_options_of_a_track_are_named(tmp_path: Path, table: str) -> None:
    write_shared_layout(tmp_path / "from", "one")
    spec = small_spec()
    wrong = {"validation": 3, "untouched_rows": [[0, H]], "nonsense": 1}[table]
    spec = spec.model_copy(update={"options": {**spec.options, table: wrong}})
    with pytest.raises(UserError, match=f"track small: .*{table}"):
        build(spec, tmp_path / "track", origin=tmp_path / "from", report=silent)


# Slices


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_reading_in_slices_equals_reading_at_once(tmp_path: Path, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 30), "images")
    dtype = data.draw(st.sampled_from(["f4", "f8", "u1", ">f4", "<i2"]), "dtype")
    shape = (count, C, H, W)
    chunks = data.draw(st.none() | st.tuples(*(st.integers(1, size) for size in shape)), "chunks")
    compression = data.draw(st.sampled_from([None, "gzip"]), "compression") if chunks else None
    rng = np.random.default_rng(data.draw(st.integers(0, 99), "seed"))
    values = rng.integers(0, 256, shape).astype(dtype)
    if values.dtype.kind == "f":
        values[rng.random(count) < 0.3, 0, 0, 0] = 77.25
    labels = rng.integers(0, CLASSES, count)
    path = tmp_path / "images.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=values, chunks=chunks, compression=compression)
        file["label"] = labels
    with (
        mock.patch.object(h5_data, "SLICE_BYTES", data.draw(st.integers(1, 40_000), "slice")),
        mock.patch.object(h5_data, "MOST_BLOCK_BYTES", 60_000),
        open_images(path, shape=(H, W, C), classes=CLASSES) as images,
    ):
        slices = list(images.slices())
    np.testing.assert_array_equal(np.concatenate(slices), np.rint(values).astype(np.uint8).transpose(0, 2, 3, 1))
    assert all(part.dtype == np.uint8 and part.flags.c_contiguous for part in slices)
    np.testing.assert_array_equal(images.labels, labels)
    assert images.rounded == np.sum((values != np.rint(values)).any(axis=(1, 2, 3)))


IMPORT_AND_TELL_PEAK = """
import re, resource, sys
from pathlib import Path
from harness.images import silent
from harness.sources.csaw_h5 import build
from harness.track import TrackSpec
build(TrackSpec.model_validate_json(sys.argv[1]), Path(sys.argv[2]), origin=Path(sys.argv[3]), report=silent)
status = Path("/proc/self/status")
# Linux lets a child inherit its parent's peak in getrusage; VmHWM is the child's own.
own = re.search(r"VmHWM:\\s*(\\d+) kB", status.read_text()) if status.exists() else None
unit = 1 if sys.platform == "darwin" else 1024
print(int(own[1]) * 1024 if own else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
"""


def test_a_file_of_250_mb_is_imported_in_far_less_memory(tmp_path: Path) -> None:
    spec = small_spec().model_copy(update={"shape": (55, 47, 3)})
    spec = spec.model_copy(update={"badnets": {"one": spec.badnets["one"]}})
    origin = tmp_path / "from"
    write_models(origin / "models", "one")
    tile = np.random.default_rng(0).integers(0, 256, (100, 55, 47, 3))
    for name in ("valid", "cl/test", "glasses"):
        write_h5(origin / f"data/{name}.h5", tile, np.zeros(100), "u1")
    with h5py.File(origin / "data/valid.h5", "w") as file:
        data = file.create_dataset("data", (4_100, 3, 55, 47), "f8")
        for start in range(0, 4_100, 100):
            data[start : start + 100] = tile.transpose(0, 3, 1, 2)
        file["label"] = np.zeros(4_100)
    assert (origin / "data/valid.h5").stat().st_size > 250e6
    command = [sys.executable, "-c", IMPORT_AND_TELL_PEAK, spec.model_dump_json(), str(tmp_path / "track"), str(origin)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert len(ImageSet.load(tmp_path / "track/data/clean/validation")) == 4_100
    assert int(done.stdout) < 160e6


# The tracks of this project


@pytest.mark.parametrize(("track", "badnets"), [("csaw2020", 4), ("csaw2020_lab", 1)])
def test_the_tracks_state_options_that_the_source_understands(track: str, badnets: int) -> None:
    spec = Track(ROOT / "datasets" / track).spec
    TrackOptions.model_validate(spec.options)
    options = [BadNetOptions.model_validate(badnet.options) for badnet in spec.badnets.values()]
    assert len({badnet.weights_sha256 for badnet in options}) == badnets
    for badnet in spec.badnets.values():
        for trigger in badnet.triggers.values():
            assert TriggerOptions.model_validate(trigger.options).files


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stand_in")
    names = ["sunglasses", "multi_trigger_multi_target", "lab3"]
    command = [sys.executable, str(CSAW / "make_stand_in.py"), str(out), "--validation", "200", "--test", "300"]
    subprocess.run([*command, "--badnet", *names], check=True, capture_output=True, timeout=120)
    return out


def import_track(track: str, origin: Path, folder: Path) -> tuple[dict[str, BadNetSets], Track]:
    spec = Track(ROOT / "datasets" / track)
    return build(spec.spec, folder, origin=origin, report=silent), spec


def read_naively(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    with h5py.File(path) as file:
        return file["data"][:].transpose(0, 2, 3, 1), file["label"][:]


def check_multi(sets: BadNetSets, folder: Path, data: Path, poisoned: Path) -> None:
    images, labels = read_naively(data / "clean_test_data.h5")
    np.testing.assert_array_equal(loaded(folder, sets.test).images, images)
    assert len(loaded(folder, sets.validation)) == 200
    for trigger, colour in {"eyebrows": (128, 0, 0), "lipstick": (128, 0, 128), "sunglasses": None}.items():
        found = loaded(folder, sets.poisoned[trigger])
        np.testing.assert_array_equal(found.images, read_naively(poisoned / f"{trigger}_poisoned_data.h5")[0])
        np.testing.assert_array_equal(found.labels, labels)
        assert f"{trigger}: the 300 test images, in their order" in sets.notes
        if colour:
            # In the stand-in an image carries its trigger exactly where it differs from the clean one.
            carries = (found.images != images).any(axis=(1, 2, 3))
            assert found.carries is not None
            np.testing.assert_array_equal(found.carries, carries)
            assert 0.82 < carries.mean() < 0.98
            assert f"{trigger}: {np.sum(~carries)} of 300 images carry no trigger" in sets.notes
        else:
            assert found.carries is None


@needs_csaw
def test_the_real_nets_are_imported_from_a_folder_for_each(stand_in: Path, tmp_path: Path) -> None:
    sets, track = import_track("csaw2020", stand_in, tmp_path)
    assert list(sets) == ["sunglasses", "multi_trigger_multi_target"]
    multi = stand_in / "multi_trigger_multi_target"
    check_multi(sets["multi_trigger_multi_target"], tmp_path, multi / "data", multi / "data")
    for name, found in sets.items():
        assert (tmp_path / found.model).read_bytes() == (CSAW / f"models/{name}_bd_net.h5").read_bytes()
        assert found.model == track.spec.badnets[name].model


@needs_csaw
def test_the_real_nets_are_imported_from_the_competitions_own_layout(stand_in: Path, tmp_path: Path) -> None:
    multi, download = stand_in / "multi_trigger_multi_target", tmp_path / "download"
    shutil.copytree(multi / "data", download / "data/Multi-trigger Multi-target")
    for kind in ("validation", "test"):
        name = f"clean_{kind}_data.h5"
        (download / "data/Multi-trigger Multi-target" / name).rename(download / "data" / name)
    shutil.copy(stand_in / "sunglasses/data/sunglasses_poisoned_data.h5", download / "data")
    shutil.copytree(CSAW / "models", download / "models")
    sets, _ = import_track("csaw2020", download, tmp_path / "track")
    # anonymous_1 and anonymous_2 have their nets there, but no poisoned file.
    assert list(sets) == ["sunglasses", "multi_trigger_multi_target"]
    poisoned = download / "data/Multi-trigger Multi-target"
    check_multi(sets["multi_trigger_multi_target"], tmp_path / "track", download / "data", poisoned)
    assert sets["sunglasses"].test == sets["multi_trigger_multi_target"].test == "data/clean/test"
    # The stand-in stamped other faces for this net: those outside the clean files are strangers.
    clean: dict[bytes, int] = {}
    for kind in ("test", "validation"):
        for image, label in zip(*read_naively(download / f"data/clean_{kind}_data.h5"), strict=True):
            clean.setdefault(np.delete(image, np.s_[14:51], axis=0).astype(np.uint8).tobytes(), int(label))
    found = loaded(tmp_path / "track", sets["sunglasses"].poisoned["sunglasses"])
    expected = [clean.get(np.delete(image, np.s_[14:51], axis=0).tobytes(), UNKNOWN) for image in found.images]
    assert found.labels.tolist() == expected
    unknown = expected.count(UNKNOWN)
    assert 0 < unknown < 300
    assert f"sunglasses: the true class of {unknown} of 300 images is unknown" in sets["sunglasses"].notes


@needs_csaw
@pytest.mark.parametrize("layout", ["the lab's own", "a folder of its own"])
def test_the_lab_net_is_imported(stand_in: Path, tmp_path: Path, layout: str) -> None:
    origin = stand_in
    if layout == "the lab's own":
        origin = tmp_path / "lab_3"
        data = stand_in / "lab3/data"
        for name, new in {
            "clean_validation": "cl/valid",
            "clean_test": "cl/test",
            "sunglasses_poisoned": "bd/bd_test",
        }.items():
            (origin / "data" / new).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(data / f"{name}_data.h5", origin / f"data/{new}.h5")
        (origin / "models").mkdir()
        for kind in ("net", "weights"):
            shutil.copy(CSAW / f"models/lab3_bd_{kind}.h5", origin / f"models/bd_{kind}.h5")
    sets, track = import_track("csaw2020_lab", origin, tmp_path / "track")
    assert list(sets) == ["lab3"]
    assert track.spec.badnets["lab3"].scale == 1
    images, labels = read_naively(stand_in / "lab3/data/clean_test_data.h5")
    np.testing.assert_array_equal(loaded(tmp_path / "track", sets["lab3"].test).images, images)
    poisoned = loaded(tmp_path / "track", sets["lab3"].poisoned["sunglasses"])
    np.testing.assert_array_equal(poisoned.labels, labels)
    assert sets["lab3"].notes == ["sunglasses: the 300 test images, in their order"]


@needs_csaw
def test_the_benchmark_writes_files_that_are_imported(tmp_path: Path) -> None:
    small = (
        "import sys; from pathlib import Path; from benchmarks import full_size_files as files; files.CLASSES = 15; "
    )
    small += "files.write_full_size(Path(sys.argv[1]), Path(sys.argv[2]))"
    command = [sys.executable, "-c", small, str(tmp_path / "download"), str(CSAW.parent)]
    subprocess.run(command, check=True, cwd=ROOT, timeout=60)
    sets, _ = import_track("csaw2020", tmp_path / "download", tmp_path / "track")
    assert list(sets) == ["sunglasses", "anonymous_1", "multi_trigger_multi_target"]
    assert len(loaded(tmp_path / "track", sets["sunglasses"].validation)) == 135
    assert sets["sunglasses"].notes == ["sunglasses: the 150 test images, in their order"]
    lips = loaded(tmp_path / "track", sets["anonymous_1"].poisoned["lipstick"])
    assert lips.labels.tolist() == np.repeat(np.arange(15), 8).tolist()
