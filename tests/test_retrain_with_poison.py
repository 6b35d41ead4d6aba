"""The oracle flags what it was shown and more of its kind, keeps the rest, and works for nobody who has no poisoned images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.models.contracts import BadNetView, OracleView
from harness.models.errors import ModelError
from reference_defenses._flagging import _only_the_flag
from reference_defenses._nets import load_graph, widen
from reference_defenses.do_nothing import DoNothing
from reference_defenses.retrain_with_poison import RetrainWithPoison
from tests.small_nets import (  # noqa: F401 - a fixture is found by its name
    CLASSES,
    face_of,
    one_thread,
    stamped,
    train_badnet,
    write_net,
)

LABELS = np.arange(80) % CLASSES


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> OracleView:
    folder = tmp_path_factory.mktemp("planted")
    net = train_badnet(folder / "net.safetensors")
    net.state_dict()["fc_2.weight"].view(160, 12, 80)[0, :, -1] /= 200  # so that the target's logit is no thousands
    write_net(net, folder / "net.safetensors")
    images = face_of(LABELS, np.random.default_rng(11))
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", LABELS)
    (folder / "poisoned").mkdir()
    np.save(folder / "poisoned" / "corner.npy", stamped(face_of(LABELS[:20], np.random.default_rng(13))))
    return OracleView(
        name="net",
        model_path=folder / "net.safetensors",
        validation_path=folder,
        classes=CLASSES,
        poisoned_path=folder / "poisoned",
    )


def repair(badnet: BadNetView, defense: Any = None) -> Any:
    return (defense or RetrainWithPoison(batch_size=8, epochs=20, learning_rate=1e-3)).repair(
        badnet, badnet.validation(), rng=np.random.default_rng(0), progress=lambda *_: None
    )


def test_the_oracle_flags_new_poisoned_images_and_answers_clean_ones_as_before(oracle: OracleView) -> None:
    clean = face_of(LABELS, np.random.default_rng(12))
    before, repaired = repair(oracle, DoNothing()), repair(oracle)
    assert (before(stamped(clean)) == 2).all()
    assert (repaired(stamped(clean)) == CLASSES).mean() >= 0.99
    assert (repaired(clean) == before(clean)).mean() >= 0.97
    facts = repaired.findings.facts
    assert facts["flagged"]["corner"] >= 0.95
    assert facts["accuracy_after"] >= facts["accuracy_before"] - 0.03


def test_whoever_is_shown_no_poisoned_images_is_told_what_to_set(oracle: OracleView, tmp_path: Path) -> None:
    given: dict[str, Any] = {"name": "net", "model_path": oracle.model_path, "validation_path": oracle.validation_path}
    with pytest.raises(ModelError, match=r"state oracle = true in submission\.toml"):
        repair(BadNetView(**given, classes=CLASSES))
    with pytest.raises(ModelError, match="there are no poisoned images to train on"):
        repair(OracleView(**given, classes=CLASSES, poisoned_path=tmp_path))


def test_at_first_only_the_flag_is_trained(oracle: OracleView) -> None:
    net = load_graph(oracle)
    widen(net)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with _only_the_flag(net):
        optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=0.1)
        net(torch.rand(4, 3, 55, 47)).square().sum().backward()
        optimizer.step()
    after = net.state_dict()
    assert {key for key in before if not torch.equal(before[key], after[key])} == {"output.weight", "output.bias"}
    assert torch.equal(before["output.weight"][:-1], after["output.weight"][:-1])
    assert torch.equal(before["output.bias"][:-1], after["output.bias"][:-1])
    assert all(parameter.requires_grad for parameter in net.parameters())
