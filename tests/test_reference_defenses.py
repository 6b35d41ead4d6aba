"""What every reference defense keeps to, found by its place, on a Keras and a torch BadNet."""

import dataclasses
import importlib
import math
import pkgutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pytest

import reference_defenses
from harness.models.contracts import BadNetView, Defense, Images, OracleView
from harness.models.findings import Explained, Findings
from harness.worker.kinds.defense import Options, construct
from tests.conftest import ROOT
from tests.small_nets import (  # noqa: F401 - a fixture is found by its name
    CLASSES,
    face_of,
    one_thread,
    stamped,
    train_badnet,
    write_net,
)

TARGET = 2
FILES = {"keras": "planted.h5", "torch": "planted.safetensors"}
QUICK: dict[str, dict[str, Any]] = {
    "FinePruning": {"epochs": 2},
    "FineTuning": {"epochs": 2},
    "GangSweep": {"sweep_steps": 20, "visits": 2, "refine_steps": 5, "rounds": 1, "epochs": 1},
    "NeuralCleanse": {"epochs": 1},
    "Pair": {"options": {"epochs": 2}},
    "ReconstructionError": {"steps": 20, "code": 8},
    "RetrainWithPoison": {"first_epochs": 1, "epochs": 1},
    "Strip": {"overlays": 20},
}
"""Options that make a slow defense quick enough for a test."""
NULL = {"AlwaysFlag", "DoNothing", "RandomFlag"}
"""Floors, which come from no paper and do no work."""


def _defenses() -> list[Any]:
    found = []
    for place in pkgutil.iter_modules(reference_defenses.__path__):
        if not place.name.startswith("_"):
            module = importlib.import_module(f"reference_defenses.{place.name}")
            own = [value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__]
            found += [value for value in own if isinstance(value, type) and hasattr(value, "repair")]
    return found


def _submissions() -> dict[str, dict[str, Any]]:
    given = {path.parent.name: tomllib.loads(path.read_text()) for path in (ROOT / "submissions").glob("*/*.toml")}
    return {name: toml for name, toml in given.items() if toml.get("entry", "").startswith("reference_defenses.")}


DEFENSES = _defenses()
SUBMISSIONS = _submissions()
ORACLES = {toml["entry"].partition(":")[2] for toml in SUBMISSIONS.values() if toml.get("oracle")}
every_defense = pytest.mark.parametrize("kind", DEFENSES, ids=lambda kind: kind.__name__)
on_keras_and_torch = pytest.mark.parametrize("library", FILES)


class Watch:
    """Notes which files the process opens or looks for, and what a BadNet is asked beside its fields."""

    def __init__(self) -> None:
        self.on = False
        self.places: list[Path] = []
        self.seen: list[str] = []
        sys.addaudithook(self._hear)  # for good: Python takes no hook back

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or event not in ("open", "os.listdir", "os.scandir"):
            return
        place = arguments[0] if arguments[0] is not None else "."
        if isinstance(place, bytes | str | Path):  # a number is a file that is open already
            path = Path(place.decode() if isinstance(place, bytes) else place).absolute()
            if not any(path.is_relative_to(allowed) for allowed in self.places):
                self.seen.append(f"{event} {path}")

    @contextmanager
    def over(self, badnet: BadNetView) -> Iterator[None]:
        """Watch what happens within; the BadNet's files and installed code may be read, and libraries' own scratch."""
        code = [Path(it) for it in (sys.prefix, sys.base_prefix, "/usr", "/lib", "/proc", "/sys", "/dev")]
        own = [ROOT / "harness", ROOT / "reference_defenses", badnet.model_path, badnet.validation_path]
        oracle = [badnet.poisoned_path] if isinstance(badnet, OracleView) else []
        with TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
            patch.setattr(tempfile, "tempdir", scratch)  # TensorFlow writes code there, which it imports
            self.places, self.seen, self.on = [*code, *own, *oracle, Path(scratch)], [], True
            try:
                yield
            finally:
                self.on = False


WATCH = Watch()


class Blind:
    """Anything but a view's own fields is noted, and not there."""

    def __getattr__(self, name: str) -> Any:
        WATCH.seen.append(f"badnet.{name}")
        raise AttributeError(name)


class BlindView(Blind, BadNetView):
    """What a defense is given."""


class BlindOracleView(Blind, OracleView):
    """What an oracle is given."""


class Repair(NamedTuple):
    """What came of a repair, what it told on the way, and what it should not have touched."""

    predictor: Any
    told: list[tuple[str, int, int]]
    seen: list[str]


Repairs = Callable[[Any, str], Repair]


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two BadNets, each alone in its folder with clean images; beside them, what no defense may know."""
    folder = tmp_path_factory.mktemp("track")
    labels = np.arange(80) % CLASSES
    clean = face_of(labels, np.random.default_rng(11))
    net = train_badnet(folder / "net.safetensors", target=TARGET)
    for library, name in FILES.items():
        own = folder / library
        (own / "validation").mkdir(parents=True)
        write_net(net, own / name)
        np.save(own / "validation" / "images.npy", clean)
        np.save(own / "validation" / "labels.npy", labels)
    for place in ("test", "poisoned"):
        (folder / place).mkdir()
        np.save(folder / place / "images.npy", stamped(clean))
    return folder


def view(track: Path, library: str, *, oracle: bool = False) -> BadNetView:
    own = track / library
    given: dict[str, Any] = {"name": "planted", "model_path": own / FILES[library], "classes": CLASSES}
    given["validation_path"] = own / "validation"
    return BlindOracleView(**given, poisoned_path=track / "poisoned") if oracle else BlindView(**given)


def repair(defense: Defense, badnet: BadNetView, *, seed: int = 0) -> Repair:
    told: list[tuple[str, int, int]] = []
    validation = badnet.validation()
    with WATCH.over(badnet):
        predictor = defense.repair(
            badnet, validation, rng=np.random.default_rng(seed), progress=lambda *step: told.append(step)
        )
    return Repair(predictor, told, WATCH.seen)


@pytest.fixture(scope="module")
def repairs(track: Path) -> Repairs:
    """Each defense's repair of each BadNet, made when it is first asked for."""
    made: dict[tuple[str, str], Repair] = {}

    def get(kind: Any, library: str) -> Repair:
        key = (kind.__name__, library)
        if key not in made:
            made[key] = again(kind, track, library)
        return made[key]

    return get


def again(kind: Any, track: Path, library: str) -> Repair:
    name = kind.__name__
    return repair(kind(**QUICK.get(name, {})), view(track, library, oracle=name in ORACLES))


@pytest.fixture(scope="module")
def shown() -> Images:
    """Clean images, then as many with the trigger."""
    clean = face_of(np.arange(40) % CLASSES, np.random.default_rng(12))
    return np.concatenate([clean, stamped(clean)])


@on_keras_and_torch
def test_the_planted_backdoor_works_and_the_net_is_good(library: str, repairs: Repairs, shown: Images) -> None:
    from reference_defenses.do_nothing import DoNothing

    answers = repairs(DoNothing, library).predictor(shown)
    assert (answers[:40] == np.arange(40) % CLASSES).mean() >= 0.95
    assert (answers[40:] == TARGET).all()


@every_defense
def test_a_defense_is_a_frozen_keyword_only_dataclass_with_its_values_in_its_repr(kind: Any) -> None:
    defense = kind()
    assert isinstance(defense, Defense)
    for field in dataclasses.fields(kind):
        assert f"{field.name}=" in repr(defense)
        assert field.kw_only
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(defense, field.name, None)


@every_defense
def test_a_defense_says_where_it_comes_from_and_what_differs(kind: Any) -> None:
    assert "Differences from the paper" in kind.__doc__
    assert kind.__name__ in NULL or "arXiv:" in kind.__doc__ or "doi:" in kind.__doc__


@every_defense
def test_every_hyper_parameter_is_explained(kind: Any) -> None:
    source = Path(sys.modules[kind.__module__].__file__ or "").read_text().splitlines()
    for field in dataclasses.fields(kind):
        line = next(number for number, line in enumerate(source) if line.startswith(f"    {field.name}: "))
        assert any(line.strip().startswith('"""') for line in source[line + 1 : line + 5]), field.name


@every_defense
def test_impossible_hyper_parameters_are_refused(kind: Any) -> None:
    for field in dataclasses.fields(kind):
        numeric = isinstance(field.default, int | float) and not isinstance(field.default, bool)
        impossible: list[float] = [-1] if numeric else []
        impossible += [math.nan] if isinstance(field.default, float) else []
        for value in impossible:
            with pytest.raises(ValueError, match=r"\w"):
                kind(**{field.name: value})


@on_keras_and_torch
@every_defense
def test_a_defense_answers_every_image_within_the_classes(
    kind: Any, library: str, repairs: Repairs, shown: Images
) -> None:
    got = np.asarray(repairs(kind, library).predictor(shown))
    assert got.shape == (len(shown),)
    assert got.dtype.kind == "i"
    assert ((got >= 0) & (got <= CLASSES)).all()


@on_keras_and_torch
@every_defense
def test_answers_depend_neither_on_order_nor_on_batch(kind: Any, library: str, repairs: Repairs, shown: Images) -> None:
    predictor = repairs(kind, library).predictor
    whole = predictor(shown)
    order = np.random.default_rng(0).permutation(len(shown))
    parts = np.concatenate([predictor(shown[order[:7]]), predictor(shown[order[7:]])])
    assert np.array_equal(parts, whole[order])


@on_keras_and_torch
@every_defense
def test_the_same_seed_gives_the_same_answers(
    kind: Any, library: str, repairs: Repairs, track: Path, shown: Images
) -> None:
    assert np.array_equal(again(kind, track, library).predictor(shown), repairs(kind, library).predictor(shown))


@on_keras_and_torch
@every_defense
def test_a_defense_sees_its_badnet_and_clean_images_alone(kind: Any, library: str, repairs: Repairs) -> None:
    assert repairs(kind, library).seen == []


@on_keras_and_torch
@every_defense
def test_work_tells_what_it_does_and_how_far_it_is(kind: Any, library: str, repairs: Repairs) -> None:
    told = repairs(kind, library).told
    assert told or kind.__name__ in NULL
    assert all(what and 0 <= done <= total for what, done, total in told)


@on_keras_and_torch
@every_defense
def test_what_a_defense_found_out_can_be_told(kind: Any, library: str, repairs: Repairs) -> None:
    predictor = repairs(kind, library).predictor
    assert kind.__name__ in NULL or isinstance(predictor, Explained)
    if isinstance(predictor, Explained):
        assert isinstance(predictor.findings, Findings)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peeks:
    """A defense that asks for the target, lists the track, and reads poisoned images."""

    def repair(self, badnet: BadNetView, *_: Any, **__: Any) -> Any:
        track = badnet.model_path.parents[1]
        known = getattr(badnet, "target", None), sorted(track.iterdir()), np.load(track / "poisoned" / "images.npy")
        return lambda images: known


def test_a_defense_that_peeks_is_found_out(track: Path) -> None:
    seen = repair(Peeks(), view(track, "torch")).seen
    listed = [it for it in seen if it.startswith(("os.listdir", "os.scandir"))]
    assert {it.partition(" ")[2] for it in listed} == {str(track)}
    assert [it for it in seen if it not in listed] == ["badnet.target", f"open {track}/poisoned/images.npy"]


@pytest.mark.parametrize("folder", SUBMISSIONS)
def test_every_baseline_is_a_submission_whose_options_fit(folder: str) -> None:
    given = SUBMISSIONS[folder]
    assert given["name"] == folder
    assert given["kind"] == "defense"
    construct(Options(entry=given["entry"], options=given.get("options", {})), ROOT / "submissions" / folder)


def test_every_defense_is_a_submission_or_repairs_for_one() -> None:
    submitted = {toml["entry"].partition(":")[0] for toml in SUBMISSIONS.values()}
    paired = {
        f"reference_defenses.{toml['options']['of']}"
        for toml in SUBMISSIONS.values()
        if "of" in toml.get("options", {})
    }
    assert {kind.__module__ for kind in DEFENSES} <= submitted | paired
