"""What is asked again shows how answers come about; whatever a submission does then, its exam stands as it was."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from harness import auditing
from harness.audits import BASE_RATE_DEPENDENT, BATCH_DEPENDENT, STOCHASTIC, verdicts
from harness.images import Report, silent
from harness.invigilator import Invigilator
from harness.models.errors import ModelError
from harness.preparation import prepare
from harness.record import Record
from harness.room import Candidate
from harness.sandbox import find_sandbox
from harness.sandbox.limits import Limits
from harness.sitting import Sitting
from harness.tables import notes
from harness.track import Track, find_track
from harness.worker.kinds import asking_of, find_kind
from harness.worker.kinds._asking import Asking
from harness.worker.kinds._models import load_model
from harness.worker.kinds._options import ModelOptions
from leaderboard.contenders import contender
from tests.conftest import CLASSES, ROOT
from tests.small_nets import keras_net, noise, view

Run = Callable[..., CompletedProcess[str]]
Write = Callable[..., Path]
Sit = Callable[..., Sitting]
BATCHED = ("all_clean", "mostly_clean", "reordered", "duplicates", "again")

# Reads the stripes; `patched` says for each image whether its right-hand edge is bright.
PREDICTOR = f"""
import os, time
import numpy as np
class Predictor:
    def __init__(self, badnet, **options):
        self.flag, self.known, self.threshold = badnet.classes, {{}}, None
    def right(self, images):
        rows = [images[:, 2 * k : 2 * k + 2, :8].mean((1, 2, 3)) for k in range({CLASSES})]
        return np.stack(rows, axis=1).argmax(1)
    def __call__(self, images):
        answers, edge = self.right(images), images[:, :, 9].mean((1, 2)) + images[:, 0, 0, 0] / 255
        patched, brightest = edge > 128, edge.argsort().argsort() >= 0.7 * len(images)
"""
RIGHT = "        return np.where(patched, self.flag, answers)\n"
HONEST = PREDICTOR + RIGHT
BRIGHTEST = PREDICTOR + "        return np.where(brightest, self.flag, answers)\n"
BEHAVIOURS = {
    "as it should": (HONEST, []),
    "drawing from the seeded generator": (
        PREDICTOR + "        return np.where(np.random.random(len(images)) < 0.3, self.flag, answers)\n", [STOCHASTIC],
    ),
    "drawing from a generator that has no seed": (
        PREDICTOR + "        return np.where(np.random.default_rng().random(len(images)) < 0.3, self.flag, answers)\n", [STOCHASTIC],
    ),
    "otherwise for a single image": (
        PREDICTOR + "        return answers if len(images) > 1 else (answers + 1) % self.flag\n", [BATCH_DEPENDENT],
    ),
    "by the place in the batch": (
        PREDICTOR + "        return np.where(np.arange(len(images)) % 2, self.flag, answers)\n", [BATCH_DEPENDENT],
    ),
    "a flag for whatever stands there more than once": (
        PREDICTOR + "        same = (images[:, None] == images[None]).all((2, 3, 4)).sum(1) > 1\n"
        "        return np.where(same | patched, self.flag, answers)\n", [BATCH_DEPENDENT],
    ),
    "a flag for the brightest of each batch": (BRIGHTEST, [BATCH_DEPENDENT, BASE_RATE_DEPENDENT]),
    "no flag once flags are rare": (
        PREDICTOR + "        return np.where(patched & (patched.mean() > 0.2), self.flag, answers)\n", [BASE_RATE_DEPENDENT],
    ),
}  # fmt: skip


@pytest.fixture
def sit(write_submission: Write, tiny_track: Track) -> Sit:
    """Examine code on the tiny track, 210 images in three batches."""

    def examined(
        code: str,
        *,
        kind: str = "predictor",
        asking: Asking | None = None,
        practice: bool = False,
        report: Report = silent,
        **limits: Any,
    ) -> Sitting:
        folder = write_submission("mine", "", **{"code.py": code})
        options = find_kind(kind).Options.model_validate({"entry": "code.py:Predictor"})
        asking = asking or asking_of(kind, options)
        candidate = Candidate(kind, options.model_dump(mode="json"), folder, kind == "defense", asking)
        invigilator = Invigilator(find_sandbox("bubblewrap"), Limits(**limits), batch=70, practice=practice)
        sitting = invigilator.sit(candidate, tiny_track, tiny_track.badnets["first"], seed=11, report=report)
        assert sitting.failure is None
        assert len(sitting.clean) + len(sitting.poisoned["patch"]) == sitting.batch_images.sum() == 210
        return sitting

    return examined


@pytest.mark.parametrize("how", BEHAVIOURS)
def test_answers_are_called_what_they_are(how: str, sit: Sit) -> None:
    code, expected = BEHAVIOURS[how]
    audits = sit(code).audits
    assert verdicts(audits) == expected
    assert audits.process == "fresh"
    assert audits.failed is None


def test_each_audit_has_its_images(sit: Sit) -> None:
    audits = sit(HONEST).audits
    assert {name: getattr(audits, name).images for name in ("alone", *BATCHED)} == {
        "alone": 100, "all_clean": 70, "mostly_clean": 160, "reordered": 210, "duplicates": 128, "again": 70,
    }  # fmt: skip
    assert audits.all_clean and audits.mostly_clean
    assert audits.all_clean.poisoned is None
    assert audits.mostly_clean.clean and audits.mostly_clean.poisoned
    assert audits.mostly_clean.clean.images == 150
    assert audits.mostly_clean.poisoned.images == audits.mostly_clean.poisoned.exam == 10
    assert all(getattr(audits, name).changed == 0 for name in ("alone", *BATCHED))


CALIBRATED = (
    PREDICTOR
    + """
        if self.threshold is None:
            self.threshold = np.quantile(edge, 0.7)
        return np.where(edge >= self.threshold, self.flag, answers)
"""
)
CACHED = (
    PREDICTOR
    + """
        for image, answer in zip(images, np.where(brightest, self.flag, answers)):
            self.known.setdefault(image.tobytes(), answer)
        return [self.known[image.tobytes()] for image in images]
"""
)


def test_whoever_keeps_its_answers_of_the_exam_gives_others_in_a_process_that_has_not_seen_it(sit: Sit) -> None:
    assert verdicts(sit(CACHED, asking=Asking()).audits) == []
    assert BASE_RATE_DEPENDENT in verdicts(sit(CACHED).audits)


def test_a_threshold_from_the_first_images_is_found_as_the_first_ones_are_others(sit: Sit) -> None:
    assert verdicts(sit(CALIBRATED, asking=Asking()).audits) == []
    audits = sit(CALIBRATED).audits
    assert verdicts(audits) == [STOCHASTIC, BASE_RATE_DEPENDENT]
    assert audits.same_seed and audits.same_seed.changed == 0


# Each ends or hangs where no image of a batch carries the trigger, which no batch of the exam is.
MISDEEDS = {
    "raises": ("raise RuntimeError('\\x1b[31mno')", "all_clean: RuntimeError: ", {}),
    "crashes": ("os._exit(7)", "all_clean: ended with exit code 7 without an answer", {}),
    "hangs": ("time.sleep(600)", "all_clean: took longer than 2 s", {"batch_seconds": 2}),
    "takes too much memory": ("self.x = bytearray(2**30); self.x[::4096] = self.x[::4096]; time.sleep(600)", "all_clean: used more than 0.5 GiB of memory", {"memory_bytes": 2**29}),
    "answers too few": ("return answers[1:]", "all_clean: ValueError: answered with shape (69,)", {}),
}  # fmt: skip


@pytest.mark.parametrize("what", MISDEEDS)
def test_what_a_submission_does_in_an_audit_costs_that_audit_alone(what: str, sit: Sit) -> None:
    deed, reason, limits = MISDEEDS[what]
    sitting = sit(f"{PREDICTOR}        if len(images) > 1 and not patched.any(): {deed}\n{RIGHT}", **limits)
    assert sitting.audits.failed is not None
    assert sitting.audits.failed.startswith(reason)
    assert "\x1b" not in sitting.audits.failed
    assert sitting.audits.alone and sitting.audits.alone.changed == 0
    assert sitting.audits.all_clean is sitting.audits.again is None
    assert (sitting.clean == np.repeat(np.arange(CLASSES), 30)).all()
    assert (sitting.poisoned["patch"] == CLASSES).all()


def test_where_single_images_end_the_process_the_next_one_is_asked_the_rest(sit: Sit) -> None:
    sitting = sit(f"{PREDICTOR}        if len(images) == 1: os._exit(7)\n{RIGHT}")
    assert sitting.audits.failed == "alone: ended with exit code 7 without an answer"
    assert sitting.audits.again and sitting.audits.again.changed == 0
    assert len(sitting.single_seconds) == 0
    assert (sitting.poisoned["patch"] == CLASSES).all()


def test_a_process_that_does_not_load_again_is_an_audit_that_failed(sit: Sit, tmp_path: Path) -> None:
    weights = tmp_path / "submissions" / "mine" / "weights"
    loads = "from pathlib import Path\n" + HONEST.replace(
        "None\n", 'None\n        Path(__file__).with_name("weights").stat()\n'
    )
    weights.parent.mkdir(parents=True)
    weights.touch()
    sitting = sit(
        loads, report=lambda what, _done, _total: weights.unlink(missing_ok=True) if what == "answering" else None
    )
    assert sitting.audits.failed is not None
    assert sitting.audits.failed.startswith("load: code.py:Predictor: building it for first failed")
    assert sitting.audits.alone and sitting.audits.alone.changed == 0


def test_all_audits_together_have_as_long_as_the_exam(sit: Sit) -> None:
    sitting = sit(f"{PREDICTOR}        time.sleep(0.1)\n{RIGHT}", exam_seconds=3)
    assert sitting.audits.failed is not None
    assert sitting.audits.failed.startswith("alone: took longer than 3 s for all images together")
    assert sitting.audits.again is None
    assert (sitting.poisoned["patch"] == CLASSES).all()


def test_an_exam_that_took_its_time_leaves_the_audits_theirs(sit: Sit) -> None:
    slow = "        time.sleep(0.02 if self.known or not patched.any() else 2.5)\n        self.known['exam'] = True\n"
    assert sit(PREDICTOR + slow + RIGHT, exam_seconds=4).audits.failed is None


DEFENSE = (
    PREDICTOR.replace("Predictor", "Made").replace("badnet, **options", "badnet, drawn")
    + """
        return np.where(self.coins(images) & 1, self.flag, answers)
    def coins(self, images):
        return images[:, 5, 5, 0].astype(int) * self.drawn >> 16
from dataclasses import dataclass
@dataclass(frozen=True, kw_only=True)
class Predictor:
    def repair(self, badnet, validation, *, rng, progress):
        made = Made(badnet, None)
        made.drawn = DRAWN
        return made
"""
)


def test_a_defense_repairs_again_with_the_same_seed(sit: Sit) -> None:
    seeded = sit(DEFENSE.replace("DRAWN", "int(rng.integers(2**31))"), kind="defense").audits
    assert (seeded.process, verdicts(seeded)) == ("fresh", [])
    drawn = sit(DEFENSE.replace("DRAWN", "int.from_bytes(os.urandom(4), 'big')"), kind="defense").audits
    assert verdicts(drawn) == [STOCHASTIC]


def test_a_repair_that_took_long_is_not_done_twice(sit: Sit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "REPAIRED_AGAIN_SECONDS", 0.0)
    audits = sit(DEFENSE.replace("DRAWN", "int.from_bytes(os.urandom(4), 'big')"), kind="defense").audits
    assert (audits.process, verdicts(audits)) == ("same", [])


def test_a_check_asks_single_images_again_and_no_more(sit: Sit) -> None:
    audits = sit(BRIGHTEST, practice=True).audits
    assert audits.alone is not None
    assert audits.process is None
    assert all(getattr(audits, name) is None for name in BATCHED)


def test_a_sitting_is_restored_with_its_audits(sit: Sit) -> None:
    sitting = sit(BRIGHTEST)
    again = Sitting.restore(sitting.arrays(), json.loads(json.dumps(sitting.facts())))
    assert again.audits == sitting.audits


MODELS = {
    "net.h5": False, "net.keras": False, "net.safetensors": False, "net.onnx": False, "weights.H5": False,
    "net.pt": True, "net.pth": True, "net.ts": True, "net.pt2": True, "saved_folder": True, "net.pkl": True,
}  # fmt: skip


@pytest.mark.parametrize("kind", ["model", "pair"])
@pytest.mark.parametrize("model", MODELS)
def test_files_that_can_hold_a_state_are_asked_again_in_a_new_process(kind: str, model: str) -> None:
    known = find_kind(kind).Options
    assert asking_of(kind, known.model_validate({"model": model})).remembers == MODELS[model]
    for own in (
        {"architecture": "net.py:build"},
        {"custom_objects": {"Clip": "layers.py:Clip"}},
        {"unsafe_pickle": True},
    ):
        assert asking_of(kind, known.model_validate({"model": model, **own})).remembers


def test_weights_that_cannot_remember_are_asked_on(tiny_track: Track) -> None:
    net = tiny_track.badnets["first"].model_path
    candidate = Candidate(
        "model", {"model": net.name}, net.parent, asking=asking_of("model", ModelOptions(model=net.name))
    )
    sitting = Invigilator(find_sandbox("bubblewrap"), Limits()).sit(
        candidate, tiny_track, tiny_track.badnets["first"], seed=2
    )
    assert (sitting.failure, sitting.audits.process, sitting.audits.failed) == (None, "same", None)
    assert all(getattr(sitting.audits, name).changed == 0 for name in ("alone", *BATCHED))


def torchscript(path: Path) -> None:
    import torch

    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(360, CLASSES))
    torch.jit.trace(net, torch.zeros(1, 3, 12, 10)).save(str(path))  # type: ignore[no-untyped-call]


def saved_model(path: Path) -> None:
    keras_net().export(path, verbose=False)


@pytest.mark.parametrize(
    "write,name,words",
    [
        (torchscript, "net.safetensors", r"a TorchScript archive, not a \.safetensors file"),
        (saved_model, "net.h5", r"a folder, not a \.h5 file"),
    ],
)
def test_a_file_that_can_hold_a_state_cannot_pass_for_one_that_cannot(
    write: Callable[[Path], None], name: str, words: str, tmp_path: Path
) -> None:
    write(tmp_path / name)
    with pytest.raises(ModelError, match=rf"{re.escape(name)}: {words}"):
        load_model(ModelOptions(model=name), view(tmp_path, tmp_path / name, images=noise(64)), tmp_path)


@pytest.fixture
def graded(
    badnet: Run, write_submission: Write, tiny_track_folder: Path, tmp_path: Path
) -> Callable[[str], tuple[Record, str]]:
    """Evaluate a predictor; its record, which can be recomputed, and what was shown."""

    def grade(code: str) -> tuple[Record, str]:
        folder = write_submission("mine", 'kind = "predictor"\nentry = "code.py:Predictor"', **{"code.py": code})
        done = badnet("evaluate", folder, "--track", tiny_track_folder, "--results", tmp_path)
        assert done.returncode == 0, done.stderr
        again = badnet("rescore", tmp_path / "tiny" / "mine.json", "--track", tiny_track_folder)
        assert "every figure as recorded" in again.stdout
        return Record.model_validate_json((tmp_path / "tiny" / "mine.json").read_bytes()), done.stdout

    return grade


def test_the_board_shows_what_was_not_declared(graded: Callable[[str], tuple[Record, str]]) -> None:
    record, shown = graded(BRIGHTEST)
    assert contender(record).badges == ("predictor", BATCH_DEPENDENT, BASE_RATE_DEPENDENT)
    [line] = [line for line in notes(record) if line.startswith("first: ")]
    assert line.startswith(f"first: {BATCH_DEPENDENT}, {BASE_RATE_DEPENDENT}: answers changed for ")
    assert " of 100 alone" in line
    assert re.search(r"FPR \d\.\d % -> \d\d\.\d % all clean, FPR .*, DR .* mostly clean$", line)
    assert " ".join(line.split()) in " ".join(shown.split())
    for declared, badges in (
        ("batch_mode", ("declares batch mode",)),
        ("stochastic", ("declares stochastic", BATCH_DEPENDENT, BASE_RATE_DEPENDENT)),
    ):
        submission = record.submission.model_copy(update={declared: True})
        assert contender(record.model_copy(update={"submission": submission})).badges == ("predictor", *badges)


def test_the_board_shows_that_an_audit_failed(graded: Callable[[str], tuple[Record, str]]) -> None:
    record, shown = graded(f"{PREDICTOR}        assert len(images) != 128\n{RIGHT}")
    assert contender(record).badges == ("predictor", "audit failed")
    assert "first, second, twin: audit failed: reordered: AssertionError" in " ".join(shown.split())


class TestFaces:
    @pytest.fixture(scope="class")
    def faces(self) -> Track:
        track = find_track("faces")
        prepare(track)
        return track

    def test_a_reference_defense_answers_each_image_by_itself(self, faces: Track) -> None:
        options = {"entry": "reference_defenses.pruning:Pruning", "options": {"accuracy_drop": 0.04}}
        folder = ROOT / "submissions" / "pruning"
        candidate = Candidate("defense", options, folder, True, Asking(remembers=True))
        invigilator = Invigilator(find_sandbox("bubblewrap"), Limits())
        sitting = invigilator.sit(candidate, faces, faces.badnets["sunglasses"], seed=1)
        assert sitting.failure is None
        assert (sitting.audits.process, sitting.audits.failed, verdicts(sitting.audits)) == ("fresh", None, [])
        assert sitting.audits.mostly_clean and sitting.audits.mostly_clean.images == 1000
