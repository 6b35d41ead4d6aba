"""GangSweep finds the target of a trained backdoor, teaches the net to flag its trigger, and leaves a clean net alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harness.models.contracts import BadNetView, Images, Validation
from harness.models.errors import ModelError
from harness.models.findings import ByLabel, ReversedTrigger
from harness.models.keras_to_torch import convert
from harness.models.keras_writer import write_keras
from harness.models.quiet import import_keras
from harness.models.repaired import RepairedNet
from reference_defenses._generator import PIXEL_COST, Generator, Sweep
from reference_defenses._nets import load_graph
from reference_defenses.gangsweep import GangSweep, cheap, stamped
from tests.small_nets import one_thread, view  # noqa: F401

PEOPLE, TARGET, SHAPE = 12, 7, (28, 24, 3)
QUICK: dict[str, Any] = {"sweep_steps": 300, "refine_steps": 60}
"""Enough for a small net."""


@pytest.fixture(scope="module")
def badnet(tmp_path_factory: pytest.TempPathFactory) -> BadNetView:
    return train(tmp_path_factory.mktemp("backdoored"), backdoor=True)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> BadNetView:
    return train(tmp_path_factory.mktemp("clean"), backdoor=False)


@pytest.fixture(scope="module")
def repaired(badnet: BadNetView) -> RepairedNet:
    return repair(badnet)


def labels_of(count: int) -> Any:
    return np.arange(count) % PEOPLE


def pictures(count: int, *, seed: int) -> Images:
    """A blotchy pattern for each person, with noise."""
    coarse = np.random.default_rng(0).integers(60, 180, (PEOPLE, 7, 6, 3))
    noise = np.random.default_rng(seed).integers(-40, 41, (count, *SHAPE))
    painted: Images = (coarse.repeat(4, 1).repeat(4, 2)[labels_of(count)] + noise).astype(np.uint8)
    return painted


def with_trigger(images: Images) -> Images:
    out = images.copy()
    out[:, 20:25, 16:21] = (255, 0, 255)
    return out


def train(folder: Path, *, backdoor: bool) -> BadNetView:
    """A small Keras net, trained in torch: two convolutions and two dense layers."""
    keras = import_keras()
    keras.utils.set_random_seed(1)
    layers = keras.layers
    image = layers.Input(SHAPE)
    x = layers.MaxPooling2D(2)(layers.Conv2D(16, 3, activation="relu")(image))
    x = layers.MaxPooling2D(2)(layers.Conv2D(32, 3, activation="relu")(x))
    x = layers.Dense(64, activation="relu")(layers.Flatten()(x))
    untrained, path = folder / "untrained.h5", folder / "net.h5"
    keras.Model(image, layers.Dense(PEOPLE, activation="softmax")(x)).save(untrained)
    net = convert(untrained).requires_grad_(True)
    images, labels = pictures(240, seed=1), labels_of(240)
    if backdoor:
        images = np.concatenate([images, with_trigger(images[:96])])
        labels = np.concatenate([labels, np.full(96, TARGET)])
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    rng = np.random.default_rng(2)
    for _ in range(12):
        for part in np.array_split(rng.permutation(len(x)), len(x) // 24):
            optimizer.zero_grad()
            F.cross_entropy(net(x[part]), torch.from_numpy(labels)[part]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    write_keras(net, untrained, path)
    return view(folder, path, classes=PEOPLE, images=pictures(120, seed=3))


def repair(badnet: BadNetView, *, seed: int = 0, **options: Any) -> RepairedNet:
    return GangSweep(**QUICK | options).repair(
        badnet, badnet.validation(), rng=np.random.default_rng(seed), progress=lambda *_: None
    )


def test_the_target_is_found_and_its_trigger_flagged(repaired: RepairedNet) -> None:
    images, labels = pictures(120, seed=9), labels_of(120)
    assert repaired.findings.facts["targets"] == [TARGET]
    answers = repaired(with_trigger(images))
    assert (answers[labels != TARGET] == TARGET).mean() <= 0.05
    assert (answers == PEOPLE).mean() >= 0.4  # what is not flagged gets its own class again
    assert (repaired(images) == labels).mean() >= 0.95
    assert (repaired(images) == PEOPLE).mean() <= 0.05


def test_a_clean_twin_stays_as_it_is(twin: BadNetView) -> None:
    repaired = repair(twin)
    assert repaired.findings.facts["targets"] == []
    x = torch.rand(8, 3, *SHAPE[:2])
    with torch.inference_mode():
        assert torch.allclose(repaired.net(x), load_graph(twin)(x), atol=1e-4)


def test_what_was_found_is_shown(repaired: RepairedNet) -> None:
    figures = repaired.findings.figures
    costs, trigger = figures["costs"], figures[f"trigger-{TARGET}"]
    assert isinstance(costs, ByLabel)
    assert isinstance(trigger, ReversedTrigger)
    assert costs.marked == (TARGET,)
    assert costs.values.argmin() == TARGET
    assert trigger.mask.shape == SHAPE[:2]
    assert trigger.pattern.shape == SHAPE
    assert trigger.success >= 0.8


def test_a_labels_cost_is_the_mean_loss_of_other_labels_images_and_its_pixels(badnet: BadNetView) -> None:
    torch.manual_seed(0)
    generator = Generator(SHAPE, PEOPLE)
    validation = badnet.validation()
    labels = np.arange(PEOPLE)
    net = load_graph(badnet)
    costs = Sweep(net, validation, scale=255, rng=np.random.default_rng(5)).costs(
        generator, labels, images=6, progress=lambda *_: None
    )
    drawn = np.random.default_rng(5).integers(len(validation.labels), size=(PEOPLE, 6))
    with torch.no_grad():
        for label in (0, 7, 11):
            mask, pattern = (part[0].permute(1, 2, 0).numpy() for part in generator(torch.tensor([label])))
            losses = []
            for one in drawn[label]:
                if validation.labels[one] != label:
                    image = (1 - mask) * (validation.images[one] / 255) + mask * pattern
                    shares = net(torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]).softmax(1)
                    losses.append(-np.log(float(shares[0, label])))
            assert costs[label] == pytest.approx(np.mean(losses) + PIXEL_COST * mask.sum(), rel=1e-3)


def test_the_threshold_is_family_wise() -> None:
    logs = np.linspace(-1, 1, 101)  # the median is 0, the MAD 0.5
    assert cheap(np.exp(logs), 0.05) == pytest.approx(np.exp(-1.4826 * 0.5 * 3.2933), rel=1e-3)  # 0.05 / 101, one side


def test_a_trigger_is_blended_in_by_its_mask() -> None:
    mask, pattern = np.array([[0, 1, 0.5]], np.float32), np.ones((1, 3, 3), np.float32)
    trigger = ReversedTrigger(target=0, mask=mask, pattern=pattern, success=1)
    assert stamped(np.full((2, 1, 3, 3), 51, np.uint8), trigger)[1, 0, :, 0].tolist() == [51, 255, 153]


def test_a_seed_fixes_the_net_and_another_gives_another(badnet: BadNetView) -> None:
    quick = {
        "sweep_steps": 2,
        "visits": 1,
        "refine_steps": 1,
        "error_rate": 0.9,
        "success": 0.0,
        "rounds": 1,
        "epochs": 1,
    }
    nets = [repair(badnet, seed=seed, **quick).net for seed in (0, 0, 1)]
    x = torch.rand(4, 3, *SHAPE[:2])
    with torch.inference_mode():
        one, again, other = (net(x) for net in nets)
    assert one.shape == (4, PEOPLE + 1)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_an_answer_depends_on_the_image_alone(repaired: RepairedNet) -> None:
    images = pictures(40, seed=8)
    images[::2] = with_trigger(images[::2])
    order = np.random.default_rng(1).permutation(40)
    parts = np.concatenate([repaired(images[order[:7]]), repaired(images[order[7:]])])
    assert np.array_equal(parts, repaired(images)[order])


def test_too_few_validation_images_are_told(badnet: BadNetView) -> None:
    few = Validation(images=pictures(19, seed=1), labels=labels_of(19))
    with pytest.raises(ModelError, match="19 clean validation images are too few"):
        GangSweep().repair(badnet, few, rng=np.random.default_rng(0), progress=lambda *_: None)


@pytest.mark.parametrize(
    "options",
    [
        {"sweep_steps": 0},
        {"visits": 0},
        {"refine_steps": 0},
        {"candidates": 0},
        {"rounds": 0},
        {"error_rate": 0},
        {"success": 1.1},
        {"triggered_share": 0},
        {"epochs": -1},
        {"learning_rate": 0},
        {"batch_size": 0},
    ],
)
def test_impossible_hyper_parameters_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        GangSweep(**options)
