"""Every submission kind keeps the contract, and tells what is wrong with a submission's code."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from harness.models.contracts import BadNetView
from harness.models.errors import ModelError
from harness.models.pair import PairPredictor
from harness.worker.kinds import find_kind, kind_names
from tests.small_nets import CLASSES, keras_net, noise, view

OWN = ("defense", "model", "pair", "predictor")
PREDICT_PY = """
import numpy as np
import helper
class Predictor:
    def __init__(self, badnet, answer=1):
        self.answer = answer + helper.NOTHING
    def __call__(self, images):
        return np.full(len(images), self.answer)
class Uncallable:
    def __init__(self, badnet):
        pass
class Failing:
    def __init__(self, badnet):
        raise RuntimeError("no such\\nweights")
nothing = 3
"""
DEFENSE_PY = """
from dataclasses import dataclass
import numpy as np
@dataclass(frozen=True, kw_only=True)
class Constant:
    answer: int = 2
    strength: float = 0.5
    def __post_init__(self):
        if self.strength > 1:
            raise ValueError("strength is above 1")
    def repair(self, badnet, validation, *, rng, progress):
        progress("thinking", 1, 2)
        drawn = rng.integers(1000)
        assert validation.images.dtype == np.uint8
        return lambda images: np.full(len(images), self.answer * 0 + drawn if self.answer == 7 else self.answer)
@dataclass(frozen=True, kw_only=True)
class Failing:
    def repair(self, badnet, validation, *, rng, progress):
        raise IndexError("out\\nof\\nrange")
@dataclass(frozen=True, kw_only=True)
class Nothing:
    def repair(self, badnet, validation, *, rng, progress):
        return None
@dataclass
class NoRepair:
    pass
class Plain:
    pass
"""


@pytest.fixture
def badnet(tmp_path: Path) -> BadNetView:
    path = tmp_path / "badnet.h5"
    keras_net(seed=1).save(path)
    return view(tmp_path, path)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A submission folder; what its code puts on sys.path and into sys.modules is taken back."""
    folder = tmp_path / "submission"
    folder.mkdir()
    (folder / "predict.py").write_text(PREDICT_PY)
    (folder / "helper.py").write_text("NOTHING = 0")
    (folder / "own_defense.py").write_text(DEFENSE_PY)
    (folder / "broken.py").write_text("import nonesuch")
    keras_net(seed=2).save(folder / "other.h5")
    keras_net(CLASSES + 1, seed=2).save(folder / "flags.h5")
    keras_net(CLASSES + 2, seed=2).save(folder / "many.h5")
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("predict", "helper", "own_defense", "broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return folder


def load(kind: str, given: dict[str, Any], badnet: BadNetView, root: Path, *, seed: int = 0) -> Any:
    module = find_kind(kind)
    return module.load(module.Options(**given), badnet, root, seed=seed, progress=lambda what, done, total: None)


GIVEN: dict[str, dict[str, Any]] = {
    "model": {"model": "other.h5"},
    "pair": {"model": "other.h5"},
    "predictor": {"entry": "predict.py:Predictor"},
    "defense": {"entry": "own_defense.py:Constant"},
}


def test_the_kinds_are_the_files_of_the_folder() -> None:
    assert set(OWN) <= set(kind_names())
    assert not [name for name in kind_names() if name.startswith("_")]
    with pytest.raises(KeyError, match=r"did you mean 'predictor'"):
        find_kind("predicter")


@pytest.mark.parametrize("kind", kind_names())
def test_a_kind_says_what_it_is_and_which_keys_it_knows(kind: str) -> None:
    module = find_kind(kind)
    assert module.DESCRIPTION
    assert "\n" not in module.DESCRIPTION
    assert isinstance(module.NEEDS_TABLES, bool)
    config = module.Options.model_config
    assert config.get("frozen")
    assert config.get("extra") == "forbid"


@pytest.mark.parametrize("kind", OWN)
def test_a_kind_answers_a_batch_and_names_its_files(kind: str, badnet: BadNetView, root: Path) -> None:
    module = find_kind(kind)
    for name in module.files(module.Options(**GIVEN[kind])).values():
        assert (root / name).is_file()
    got = np.asarray(load(kind, GIVEN[kind], badnet, root)(noise(9)))
    assert got.shape == (9,)
    assert got.dtype.kind == "i"
    assert ((got >= 0) & (got <= CLASSES)).all()


def test_reading_the_kinds_imports_neither_tensorflow_nor_torch() -> None:
    code = (
        "import sys; from harness.worker.kinds import find_kind, kind_names; "
        "[find_kind(name) for name in kind_names()]; "
        "assert not {'tensorflow', 'keras', 'torch', 'h5py'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("model", {"model": "../other.h5"}),
        ("model", {"model": "/etc/passwd"}),
        ("model", {"model": "other.h5", "scale": 0}),
        ("model", {"model": "other.h5", "channels": "gbr"}),
        ("model", {"model": "other.h5", "sclae": 1}),
        ("pair", {}),
        ("predictor", {"entry": "predict.py"}),
        ("predictor", {"entry": "../predict.py:Predictor"}),
        ("defense", {"entry": ":X"}),
    ],
)
def test_wrong_options_are_refused_before_anything_is_loaded(kind: str, given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        find_kind(kind).Options(**given)


def test_an_architecture_in_the_submission_is_one_of_its_files() -> None:
    module = find_kind("model")
    named = module.Options(**{"model": "a.pt", "architecture": "deepid"})
    coded = module.Options(**{"model": "a.pt", "architecture": "net.py:Net"})
    assert module.files(named) == {"model": "a.pt"}
    assert module.files(coded) == {"model": "a.pt", "architecture": "net.py"}


def test_a_model_has_the_scale_of_the_badnet_unless_it_states_its_own(badnet: BadNetView, root: Path) -> None:
    images = noise(60)
    (root / "net.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.ones = torch.nn.Parameter(torch.ones(4))\n"
        "    def forward(self, x):\n"
        "        top = x.amax((1, 2, 3))[:, None]\n"
        "        return self.ones * torch.cat([top * 0 + 1.5, top, top * 0, top * 0], 1)\n"
    )
    torch.save({"ones": torch.ones(4)}, root / "net.pt")
    given = {"model": "net.pt", "architecture": "net.py:Net"}
    assert load("model", given, badnet, root)(images).tolist() == [0] * 60
    assert load("model", given | {"scale": 1.0}, badnet, root)(images).tolist() == [1] * 60


def test_a_model_with_too_many_outputs_is_refused_while_loading(badnet: BadNetView, root: Path) -> None:
    with pytest.raises(
        ModelError, match=r"many.h5 has 6 outputs; classes are 4, so 4 .* or 5 .* are expected"
    ) as raised:
        load("model", {"model": "many.h5"}, badnet, root)
    assert raised.value.stage == "load"


def test_a_torch_net_that_cannot_take_the_images_is_refused_while_loading(badnet: BadNetView, root: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(77, CLASSES))
    torch.save(net.state_dict(), root / "net.pt")
    (root / "net.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(77, 4))"
    )
    with pytest.raises(ModelError, match=r"net.pt: cannot be run") as raised:
        load("model", {"model": "net.pt", "architecture": "net.py:build"}, badnet, root)
    assert raised.value.stage == "load"


@pytest.mark.parametrize("name", ["other.h5", "flags.h5"])
def test_a_pair_answers_where_both_agree_and_flags_the_rest(name: str, badnet: BadNetView, root: Path) -> None:
    images = noise(200)
    before = load("model", {"model": "../badnet.h5"[3:]}, badnet, badnet.model_path.parent)(images)
    after = load("model", {"model": name}, badnet, root)(images)
    got = load("pair", {"model": name}, badnet, root)(images)
    assert 0 < (before == after).sum() < len(images)
    assert np.array_equal(got, np.where(before == after, before, CLASSES))


def test_in_a_pair_a_flag_stays_a_flag_and_an_invalid_answer_stays_invalid() -> None:
    before, after = np.array([1, 1, -1, 2, -1]), np.array([1, 4, 2, -1, -1])
    pair = PairPredictor(lambda images: before, lambda images: after, flag=4)
    assert pair(noise(5)).tolist() == [1, 4, -1, -1, -1]


def test_a_predictor_is_built_with_its_options_beside_its_own_modules(badnet: BadNetView, root: Path) -> None:
    got = load("predictor", {"entry": "predict.py:Predictor", "options": {"answer": 3}}, badnet, root)
    assert got(noise(2)).tolist() == [3, 3]


def test_an_entry_may_be_an_importable_module(badnet: BadNetView, root: Path) -> None:
    got = load("defense", {"entry": "own_defense:Constant", "options": {"answer": 1}}, badnet, root)
    assert got(noise(2)).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("kind", "given", "stage", "expected"),
    [
        ("predictor", {"entry": "predit.py:Predictor"}, "import", "did you mean 'predict.py'?"),
        ("predictor", {"entry": "predict.py:Predicter"}, "import", "defines no 'Predicter'; did you mean 'Predictor'?"),
        ("predictor", {"entry": "broken.py:X"}, "import", "ModuleNotFoundError: No module named 'nonesuch'"),
        ("predictor", {"entry": "nonesuch.place:X"}, "import", "No module named 'nonesuch'"),
        ("predictor", {"entry": "predict.py:Failing"}, "construct", "RuntimeError: no such weights"),
        ("predictor", {"entry": "predict.py:Uncallable"}, "construct", "give the class a __call__(self, images)"),
        ("predictor", {"entry": "predict.py:nothing"}, "construct", "is a int, not a class"),
        (
            "predictor",
            {"entry": "predict.py:Predictor", "options": {"anwser": 1}},
            "construct",
            "unexpected keyword argument 'anwser'",
        ),
        (
            "defense",
            {"entry": "own_defense.py:Constant", "options": {"anwser": 1}},
            "construct",
            "unknown option 'anwser'; did you mean 'answer'? (one of answer, strength)",
        ),
        (
            "defense",
            {"entry": "own_defense.py:Constant", "options": {"strength": 2}},
            "construct",
            "ValueError: strength is above 1",
        ),
        ("defense", {"entry": "own_defense.py:NoRepair"}, "construct", "has no repair method"),
        ("defense", {"entry": "own_defense.py:Plain"}, "construct", "is no dataclass"),
        ("defense", {"entry": "own_defense.py:Failing"}, "repair", "IndexError: out of range"),
        ("defense", {"entry": "own_defense.py:Nothing"}, "repair", "gave a NoneType, no predictor"),
    ],
)
def test_code_that_fails_is_told_in_one_line_with_its_stage(
    *, kind: str, given: dict[str, Any], stage: str, expected: str, badnet: BadNetView, root: Path
) -> None:
    with pytest.raises(ModelError) as raised:
        load(kind, given, badnet, root)
    assert expected in str(raised.value)
    assert given["entry"].partition(":")[0] in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.stage == stage


def test_a_defense_draws_from_the_seed(badnet: BadNetView, root: Path) -> None:
    given = {"entry": "own_defense.py:Constant", "options": {"answer": 7}}
    first, again, other = (load("defense", given, badnet, root, seed=seed)(noise(1))[0] for seed in (1, 1, 2))
    assert first == again != other


def test_global_generators_are_seeded_too(badnet: BadNetView, root: Path) -> None:
    (root / "predict.py").write_text(
        "import random, numpy as np, torch\n"
        "class Predictor:\n"
        "    def __init__(self, badnet):\n"
        "        self.drawn = [random.random(), np.random.random(), torch.rand(1).item()]\n"
        "    def __call__(self, images):\n"
        "        return np.zeros(len(images), int)\n"
    )

    def make(seed: int) -> Any:
        return load("predictor", {"entry": "predict.py:Predictor"}, badnet, root, seed=seed)

    assert make(4).drawn == make(4).drawn
    assert make(4).drawn != make(5).drawn
