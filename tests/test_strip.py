"""STRIP flags a planted trigger, works out the entropies that its paper defines, and judges each image alone."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from harness.models.contracts import BadNetView, Validation
from harness.models.errors import ModelError
from harness.models.findings import Histogram
from reference_defenses._nets import as_input, load_graph
from reference_defenses.strip import Blends, Bounds, Strip, StripFilter
from tests.small_nets import CLASSES, face_of, keras_net, one_thread, stamped, train_badnet, view  # noqa: F401

QUICK: dict[str, Any] = {"overlays": 30, "clean_images": 80, "image_weight": 0.8}
"""The planted trigger is a matter of colour alone, and lost where a blend halves it."""


@pytest.fixture(scope="module")
def badnet(tmp_path_factory: pytest.TempPathFactory) -> BadNetView:
    folder = tmp_path_factory.mktemp("planted")
    train_badnet(folder / "planted.safetensors", target=2)
    return view(folder, folder / "planted.safetensors", images=faces(120, seed=21))


@pytest.fixture(scope="module")
def strip(badnet: BadNetView) -> StripFilter:
    return repair(badnet)


def faces(count: int, *, seed: int) -> Any:
    return face_of(np.arange(count) % CLASSES, np.random.default_rng(seed))


def repair(badnet: BadNetView, *, seed: int = 0, **options: Any) -> StripFilter:
    return Strip(**QUICK | options).repair(
        badnet, badnet.validation(), rng=np.random.default_rng(seed), progress=lambda *_: None
    )


def naive_entropies(badnet: BadNetView, image: Any, overlays: Any, weight: float) -> list[float]:
    """Entropies in bits by the definition: one blend, one pass through the whole net, one sum at a time."""
    net, found = load_graph(badnet).double(), []
    for overlay in overlays:
        blend = weight * (image / badnet.scale) + (1 - weight) * (overlay / badnet.scale)
        with torch.no_grad():
            shares = net(torch.from_numpy(blend.transpose(2, 0, 1))[None]).softmax(1)[0].tolist()
        found.append(-sum(share * np.log2(share) for share in shares if share > 0))
    return found


def test_a_planted_trigger_is_flagged_and_clean_images_are_not(strip: StripFilter) -> None:
    images = faces(80, seed=22)
    assert (strip(stamped(images)) == CLASSES).mean() >= 0.9
    assert (strip(images) == CLASSES).mean() <= 0.1
    assert (strip(images) == np.arange(80) % CLASSES).mean() >= 0.85


@pytest.mark.parametrize("weight", [0.5, 0.7])
def test_the_entropies_are_those_of_blending_one_overlay_at_a_time(badnet: BadNetView, weight: float) -> None:
    images = faces(25, seed=23)
    blends = Blends(load_graph(badnet), images[5:], scale=badnet.scale, image_weight=weight)
    for image in (*images[:4], stamped(images[4:5])[0]):
        naive = naive_entropies(badnet, image, images[5:], weight)
        assert list(blends.mean_entropies(image)) == pytest.approx([np.mean(naive[:10]), np.mean(naive)], abs=1e-4)


def test_a_net_that_does_not_begin_with_one_convolution_is_blended_at_its_input(tmp_path: Any) -> None:
    from harness.models.graph import INPUT, Flatten, Graph, Step
    from harness.models.keras_layers import Dense

    torch.manual_seed(0)
    steps = [Step("flat:0", "flat", (INPUT,)), Step("out:0", "out", ("flat:0",))]
    graph = Graph({"flat": Flatten(), "out": Dense(12 * 10 * 3, CLASSES)}, steps, "out:0")
    images = faces(5, seed=1)[:, :12, :10]
    (mean,) = Blends(graph, images[1:], scale=255, image_weight=0.6).mean_entropies(images[0])
    with torch.no_grad():
        shares = graph(0.6 * as_input(images[:1], 255) + 0.4 * as_input(images[1:], 255)).softmax(1)
    assert mean == pytest.approx(float(-(shares * shares.log2()).sum(1).mean()), abs=1e-5)


def test_stopping_early_changes_hardly_any_answer_and_saves_overlays(badnet: BadNetView, strip: StripFilter) -> None:
    images = faces(100, seed=24)
    shown = np.concatenate([images, stamped(images)])
    patient = repair(badnet, stop_early=False)
    assert strip.findings.facts["threshold"] == patient.findings.facts["threshold"]
    assert (strip(shown) != patient(shown)).mean() <= 0.02
    assert strip.findings.facts["changed_by_stopping_early"] <= 1
    assert strip.findings.facts["share_of_overlays_used"] < 0.9
    assert patient.findings.facts["share_of_overlays_used"] == 1


@pytest.mark.parametrize(
    ("means", "flagged", "blocks"),
    [([0.5, 9, 9], True, 1), ([2.5, 0, 0], False, 1), ([1.3, 0.7, 9], True, 2), ([1.3, 1.1, 0.9], True, 3)],
)
def test_an_image_is_decided_once_no_change_that_was_seen_can_turn_it(means: Any, flagged: bool, blocks: int) -> None:
    assert Bounds(1.0, np.array([0.4, 0.2, 0])).decide(means) == (flagged, blocks)


def test_what_is_no_number_is_not_flagged() -> None:
    assert Bounds(1.0, np.array([0.4, 0])).decide([float("nan")] * 2) == (False, 2)


def test_an_answer_depends_on_the_image_alone(strip: StripFilter) -> None:
    images = faces(40, seed=25)
    images[::2] = stamped(images[::2])
    images[::5] = images[::5] // 2 + images[::-1][::5] // 2  # some that are hard to decide
    order = np.random.default_rng(1).permutation(40)
    alone = np.concatenate([strip(images[one : one + 1]) for one in order])
    assert np.array_equal(alone, strip(images)[order])


def test_a_seed_fixes_the_overlays_and_another_draws_others(badnet: BadNetView, strip: StripFilter) -> None:
    again, other = repair(badnet), repair(badnet, seed=1)
    assert all(np.array_equal(strip.state[key], again.state[key]) for key in strip.state)
    assert not np.array_equal(strip.state["overlays"], other.state["overlays"])


def test_no_clean_image_is_blended_with_itself(badnet: BadNetView, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[bytes] = set()
    real = Blends.mean_entropies

    def spied(self: Blends, image: Any) -> Iterator[float]:
        seen.add(image.tobytes())
        return real(self, image)

    monkeypatch.setattr(Blends, "mean_entropies", spied)
    overlays = repair(badnet).state["overlays"]
    assert len(seen) == 80
    assert not {overlay.tobytes() for overlay in overlays} & seen


def test_the_threshold_is_the_percentile_of_a_normal_distribution(badnet: BadNetView) -> None:
    found = repair(badnet, false_rejection_rate=0.02).findings
    figure = found.figures["entropies"]
    assert isinstance(figure, Histogram)
    fitted = figure.values[:40].astype(float)
    assert found.facts["threshold"] == pytest.approx(fitted.mean() - 2.0537 * fitted.std(ddof=1), abs=1e-4)
    assert figure.threshold == found.facts["threshold"]
    assert found.facts["held_out_images"] == 40


def test_a_keras_net_is_repaired_and_the_saved_filter_answers_the_same(tmp_path: Any) -> None:
    from harness.models.entries import load_entry

    keras_net().save(tmp_path / "net.h5")
    images = np.random.default_rng(0).integers(0, 256, (60, 12, 10, 3), dtype=np.uint8)
    badnet = view(tmp_path, tmp_path / "net.h5", images=images)
    strip = repair(badnet, false_rejection_rate=0.3)
    (tmp_path / "saved").mkdir()
    saved = strip.save(tmp_path / "saved")
    again = load_entry(saved["table"]["entry"], tmp_path / "saved")(badnet, **saved["table"]["options"])
    assert 0 < (strip(images) == CLASSES).sum() < 60
    assert np.array_equal(again(images), strip(images))


def test_too_few_validation_images_are_told_with_the_fix(badnet: BadNetView) -> None:
    few = Validation(images=faces(49, seed=1), labels=np.zeros(49, np.int64))
    with pytest.raises(ModelError, match=r"49 validation images are too few for 30 overlays .* state fewer overlays"):
        Strip(**QUICK).repair(badnet, few, rng=np.random.default_rng(0), progress=lambda *_: None)


@pytest.mark.parametrize(
    "options",
    [
        {"overlays": 0},
        {"false_rejection_rate": 0},
        {"false_rejection_rate": 0.5},
        {"image_weight": 0},
        {"image_weight": 1},
        {"clean_images": 19},
    ],
)
def test_impossible_hyper_parameters_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Strip(**options)
