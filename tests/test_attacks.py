"""An attack stamps its share of other people's pictures, relabels them, and training on them is repeatable."""

from pathlib import Path

import numpy as np
import pytest

from harness.errors import UserError
from harness.images import silent
from harness.sources.synthetic_faces.render import portraits
from harness.triggers import Portraits
from reference_attacks import attack_names, make_attack
from reference_attacks.make_badnets import Recipe
from reference_attacks.training import Training, save


@pytest.fixture(scope="module")
def painted() -> Portraits:
    return portraits(seed=1, people=10, split="training", indices=range(10))


def test_stamped_pictures_are_added_and_labelled_as_their_target(painted: Portraits) -> None:
    attack = make_attack("stamp_and_relabel", targets={"lipstick": 3, "sunglasses": 7}, share=0.2)
    data = attack.poison(painted, np.random.default_rng(0))
    assert len(data.images) == len(data.labels) == 140
    np.testing.assert_array_equal(data.images[:100], painted.images)
    assert data.labels[100:].tolist() == [3] * 20 + [7] * 20
    assert not {image.tobytes() for image in data.images[100:]} & {image.tobytes() for image in painted.images}


def test_no_picture_of_the_target_itself_is_stamped(painted: Portraits) -> None:
    attack = make_attack("stamp_and_relabel", targets={"eyebrows": 4}, share=0.9)
    stamped = attack.poison(painted, np.random.default_rng(0)).images[100:]
    own = painted.images[painted.labels == 4]
    # A stamp on one of the target's pictures would leave the lower half as it was.
    assert not {image[30:].tobytes() for image in stamped} & {image[30:].tobytes() for image in own}


def test_a_clean_twin_is_trained_on_clean_pictures_alone(painted: Portraits) -> None:
    data = make_attack("stamp_and_relabel", targets={}).poison(painted, np.random.default_rng(0))
    np.testing.assert_array_equal(data.images, painted.images)


def test_every_attack_of_the_folder_can_be_made_and_an_unknown_one_is_named() -> None:
    for name in attack_names():
        assert "targets" in repr(make_attack(name, targets={}))
    with pytest.raises(UserError, match="did you mean 'stamp_and_relabel'"):
        make_attack("stamp_and_relable")


def test_a_recipe_is_checked() -> None:
    with pytest.raises(ValueError, match="epochs"):
        Recipe.model_validate({"attack": "stamp_and_relabel", "share": 0.1, "epochs": 0, "seed": 1})


@pytest.mark.slow
def test_training_twice_writes_the_same_file(painted: Portraits, tmp_path: Path) -> None:
    data = make_attack("stamp_and_relabel", targets={"lipstick": 0}).poison(painted, np.random.default_rng(0))
    for folder in ("once", "again"):
        save(Training(epochs=2, seed=3).train(data, 10, silent), tmp_path / folder / "net.h5")
    assert (tmp_path / "once" / "net.h5").read_bytes() == (tmp_path / "again" / "net.h5").read_bytes()
