"""The autoencoder flags a planted trigger by the place that it cannot draw, and keeps to its false rejection rate."""

from typing import Any

import numpy as np
import pytest
import torch

from harness.models.contracts import BadNetView, Validation
from harness.models.entries import load_entry
from harness.models.errors import ModelError
from harness.models.findings import Histogram
from reference_defenses._autoencoder import Autoencoder
from reference_defenses.autoencoder import ReconstructionError, ReconstructionFilter, window_errors, worst_windows
from tests.small_nets import CLASSES, face_of, keras_net, one_thread, stamped, train_badnet, view  # noqa: F401

QUICK: dict[str, Any] = {"steps": 60, "code": 8}


@pytest.fixture(scope="module")
def badnet(tmp_path_factory: pytest.TempPathFactory) -> BadNetView:
    folder = tmp_path_factory.mktemp("planted")
    train_badnet(folder / "planted.safetensors", target=2)
    return view(folder, folder / "planted.safetensors", images=faces(300, seed=31))


@pytest.fixture(scope="module")
def fitted(badnet: BadNetView) -> ReconstructionFilter:
    return repair(badnet)


def faces(count: int, *, seed: int) -> Any:
    return face_of(np.arange(count) % CLASSES, np.random.default_rng(seed))


def repair(badnet: BadNetView, *, seed: int = 0, **options: Any) -> ReconstructionFilter:
    return ReconstructionError(**QUICK | options).repair(
        badnet, badnet.validation(), rng=np.random.default_rng(seed), progress=lambda *_: None
    )


def test_a_planted_trigger_is_flagged_and_clean_images_are_not(fitted: ReconstructionFilter) -> None:
    images = faces(200, seed=32)
    assert (fitted(stamped(images)) == CLASSES).mean() >= 0.99
    assert (fitted(images) == CLASSES).mean() <= 0.12
    assert (fitted(images) == np.arange(200) % CLASSES).mean() >= 0.85


def test_a_trigger_of_a_few_pixels_is_flagged(fitted: ReconstructionFilter) -> None:
    images = faces(100, seed=33)
    images[:, 25:30, 30:35] = (255, 0, 255)
    assert (fitted(images) == CLASSES).mean() >= 0.95


def test_window_errors_are_the_root_mean_squares_of_their_windows(fitted: ReconstructionFilter) -> None:
    torch.manual_seed(0)
    net = Autoencoder((9, 7, 3), 4).eval()
    images = np.random.default_rng(0).integers(0, 256, (70, 9, 7, 3), dtype=np.uint8)
    got = window_errors(net, images, 3).numpy()
    assert got.shape == (70, 7, 5)
    with torch.no_grad():
        drawn = net(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).permute(0, 2, 3, 1).numpy()
    for one, row, column in ((0, 0, 0), (3, 6, 4), (69, 2, 1)):
        place = (one, slice(row, row + 3), slice(column, column + 3))
        assert got[one, row, column] == pytest.approx(
            np.sqrt(((images[place] / 255 - drawn[place]) ** 2).mean()), rel=1e-4
        )


def test_the_worst_window_is_measured_in_standard_deviations_of_its_place() -> None:
    errors = torch.tensor([[[1.0, 5.0]], [[3.0, 4.0]]])
    assert worst_windows(errors, torch.tensor([[1.0, 3.0]]), torch.tensor([[0.5, 2.0]])).tolist() == [1, 4]


def test_the_threshold_lets_the_chosen_share_of_clean_images_pass(badnet: BadNetView) -> None:
    found = repair(badnet, false_rejection_rate=0.2).findings
    figure = found.figures["errors"]
    assert isinstance(figure, Histogram)
    threshold = found.facts["threshold"]
    assert figure.threshold == threshold
    assert (figure.values[:60] > threshold).sum() == 11  # a fifth of 60, less the one that is the threshold
    assert found.facts["false_rejection_rate"] == (figure.values[60:] > threshold).mean()
    assert found.facts["held_out_images"] == 60


def test_an_answer_depends_on_the_image_alone(fitted: ReconstructionFilter) -> None:
    images = faces(40, seed=35)
    images[::2] = stamped(images[::2])
    order = np.random.default_rng(1).permutation(40)
    alone = np.concatenate([fitted(images[one : one + 1]) for one in order])
    assert np.array_equal(alone, fitted(images)[order])
    assert fitted(images[:0]).shape == (0,)


def test_a_seed_fixes_the_weights_and_another_gives_others(badnet: BadNetView) -> None:
    one, again, other = (repair(badnet, seed=seed, steps=5).state for seed in (0, 0, 1))
    assert all(np.array_equal(one[key], again[key]) for key in one)
    assert not np.array_equal(one["encode.weight"], other["encode.weight"])


def test_a_keras_net_is_repaired_and_the_saved_filter_answers_the_same(tmp_path: Any) -> None:
    keras_net().save(tmp_path / "net.h5")
    images = np.random.default_rng(0).integers(0, 256, (60, 12, 10, 3), dtype=np.uint8)
    badnet = view(tmp_path, tmp_path / "net.h5", images=images)
    fitted = repair(badnet, steps=5, false_rejection_rate=0.5)
    (tmp_path / "saved").mkdir()
    saved = fitted.save(tmp_path / "saved")
    again = load_entry(saved["table"]["entry"], tmp_path / "saved")(badnet, **saved["table"]["options"])
    assert 0 < (fitted(images) == CLASSES).sum() < 60
    assert np.array_equal(again(images), fitted(images))


@pytest.mark.parametrize(("count", "window"), [(49, 5), (60, 48)])
def test_images_that_cannot_do_are_told(badnet: BadNetView, count: int, window: int) -> None:
    few = Validation(images=faces(count, seed=1), labels=np.zeros(count, np.int64))
    with pytest.raises(ModelError, match=f"{count} validation images of 55x47.* window {window} must fit"):
        ReconstructionError(window=window).repair(badnet, few, rng=np.random.default_rng(0), progress=lambda *_: None)


@pytest.mark.parametrize(
    "options",
    [
        {"false_rejection_rate": 0},
        {"false_rejection_rate": 1},
        {"code": 0},
        {"window": 0},
        {"steps": 0},
        {"batch_size": 0},
        {"learning_rate": 0},
    ],
)
def test_impossible_hyper_parameters_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ReconstructionError(**options)
