"""The floors do what their names say."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.models.contracts import BadNetView, Defense, Validation
from reference_defenses.always_flag import AlwaysFlag
from reference_defenses.random_flag import RandomFlag
from tests.small_nets import CLASSES, noise, train_badnet


@pytest.fixture(scope="module")
def badnet(tmp_path_factory: pytest.TempPathFactory) -> BadNetView:
    folder = tmp_path_factory.mktemp("net")
    train_badnet(folder / "net.safetensors")
    return BadNetView(
        name="net", model_path=folder / "net.safetensors", validation_path=Path("nowhere"), classes=CLASSES
    )


def flags(defense: Defense, badnet: BadNetView, *, seed: int = 0) -> NDArray[np.bool_]:
    images = noise(600, (55, 47, 3))
    clean = Validation(images=images[:0], labels=np.zeros(0, np.int64))
    predictor = defense.repair(badnet, clean, rng=np.random.default_rng(seed), progress=lambda *_: None)
    flagged: NDArray[np.bool_] = np.asarray(predictor(images)) == CLASSES
    return flagged


def test_random_flag_flags_its_share_of_images_and_another_seed_flags_others(badnet: BadNetView) -> None:
    first, other = (flags(RandomFlag(probability=0.3), badnet, seed=seed) for seed in (1, 2))
    assert 0.22 < first.mean() < 0.38
    assert 0.3 < (first == other).mean() < 0.8


@pytest.mark.parametrize("defense", [AlwaysFlag(), RandomFlag(probability=1.0)])
def test_always_is_always(defense: Defense, badnet: BadNetView) -> None:
    assert flags(defense, badnet).all()


def test_a_probability_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match="is not within"):
        RandomFlag(probability=1.1)
