"""Neural Cleanse: the batched reversal is the plain one, the scan finds planted targets and no others, each mitigation works."""

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.models.any_model import load_badnet
from harness.models.contracts import BadNetView, Images, Validation
from harness.models.findings import ByLabel, ReversedTrigger
from harness.models.keras_to_torch import convert
from reference_defenses import _label_scan, _noise_response
from reference_defenses._label_scan import RUNGS, Rung, scan, stand_out
from reference_defenses._leads import relative_leads
from reference_defenses._mitigations import MITIGATIONS
from reference_defenses._nets import load_graph
from reference_defenses._noise_response import HEIGHTS, WIDTHS, noise_responses
from reference_defenses._outliers import SPREAD, largest_of_chance, smallest_of_chance
from reference_defenses._reversal import Reversing, Rows, Scaled
from reference_defenses.neural_cleanse import NeuralCleanse
from tests.conftest import ROOT
from tests.plain_reversal import reverse
from tests.small_nets import CLASSES, face_of, stamped, train_badnet

FACES = ROOT / "datasets" / "faces" / "badnets"


def quiet(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total


@pytest.fixture(scope="module")
def badnet(tmp_path_factory: pytest.TempPathFactory) -> BadNetView:
    folder = tmp_path_factory.mktemp("planted")
    train_badnet(folder / "planted.safetensors", target=2)
    labels = np.arange(120) % CLASSES
    np.save(folder / "images.npy", face_of(labels, np.random.default_rng(11)))
    np.save(folder / "labels.npy", labels)
    return BadNetView(
        name="planted", model_path=folder / "planted.safetensors", validation_path=folder, classes=CLASSES
    )


def test_the_masks_of_all_labels_at_once_are_those_of_one_label_at_a_time(badnet: BadNetView) -> None:
    images = torch.from_numpy(badnet.validation().images[:40]).float() / 255
    draws = [torch.from_numpy(np.random.default_rng(step).choice(40, 4, replace=False)) for step in range(25)]
    net, reversing = Scaled(load_graph(badnet), badnet.scale), Reversing(learning_rate=0.5, success=0.75)
    rows = Rows(torch.arange(CLASSES), images.shape[1:], reversing, torch.Generator().manual_seed(5))
    for drawn in draws:
        rows.step(net, images[drawn])
    untouched = load_graph(badnet)
    for label in range(CLASSES):
        norm, mask = reverse(untouched, label, images, draws, reversing, seed=5)
        assert rows.best_norms[label].item() == pytest.approx(norm, rel=1e-3)
        if mask is not None:
            assert (rows.best_masks[label] - mask).abs().max() < 5e-3
    assert rows.best_norms.isfinite().sum() >= CLASSES - 1


def test_pooling_first_changes_no_answer(badnet: BadNetView) -> None:
    x = torch.rand(8, 3, 55, 47)
    with torch.inference_mode():
        assert torch.allclose(Scaled(load_graph(badnet), 255)(x), load_graph(badnet)(x), atol=1e-4)
        keras = FACES / "sunglasses.h5"
        assert torch.allclose(Scaled(convert(keras), 1)(x / 255), convert(keras)(x), atol=1e-3)


def test_rows_are_ranked_by_norm_over_weight_and_without_a_mask_by_what_they_lack() -> None:
    rows = Rows(torch.arange(5), (4, 4, 3), Reversing(), torch.Generator())
    rows.best_norms = torch.tensor([torch.inf, 9.0, torch.inf, 3.0, torch.inf])
    rows.shortfalls = torch.tensor([5.0, 0.0, 1.0, 2.0, 7.0])
    assert rows.ranked(torch.ones(5)).tolist() == [3, 1, 2, 0, 4]
    assert rows.ranked(torch.tensor([1.0, 4.0, 1.0, 1.0, 1.0])).tolist() == [1, 3, 2, 0, 4]


def test_a_mask_counts_once_several_steps_in_a_row_have_succeeded(badnet: BadNetView) -> None:
    images = torch.from_numpy(badnet.validation().images[:8]).float() / 255
    rows = Rows(torch.arange(CLASSES), images.shape[1:], Reversing(success=0.0), torch.Generator().manual_seed(5))
    counted = []
    for _ in range(Reversing().steady):
        rows.step(Scaled(load_graph(badnet), badnet.scale), images)
        counted.append(bool(rows.best_norms.isfinite().all()))
    assert counted == [False, False, True]


def leads_of_all(net: Scaled) -> torch.Tensor:
    start = torch.Generator().manual_seed(0)
    return relative_leads(net, torch.arange(PEOPLE), PEOPLE, (24, 20, 3), start, quiet)


def test_the_planted_target_leads_furthest_on_coarse_images(trained: BadNetView) -> None:
    net = Scaled(load_graph(trained), trained.scale)
    leads = leads_of_all(net)
    assert leads.argmax() == SOUGHT
    assert 0.5 < leads.median() < 1.5
    assert torch.equal(leads, leads_of_all(net))


def test_a_label_that_can_never_lead_has_the_least_relative_lead(trained: BadNetView) -> None:
    net = Scaled(load_graph(trained), trained.scale)
    last = next(layer for layer in reversed(net.graph.layers.values()) if isinstance(layer, torch.nn.Linear))
    with torch.no_grad():
        last.weight[4], last.bias[4] = 0, -1e6
    leads = leads_of_all(net)
    assert leads.argmin() == 4
    assert leads[4].item() == np.float32(0.05)


def test_the_planted_target_answers_noise_readily(trained: BadNetView) -> None:
    net, clean = Scaled(load_graph(trained), trained.scale), clean_images(trained)
    responses = noise_responses(net, clean, torch.Generator().manual_seed(0), quiet)
    assert SOUGHT in (-responses).argsort()[:2]
    assert responses[SOUGHT] > 1.5
    assert abs(responses.median()) < 0.5
    again = noise_responses(net, clean, torch.Generator().manual_seed(0), quiet)
    assert torch.equal(responses, again)
    other = noise_responses(net, clean, torch.Generator().manual_seed(1), quiet)
    assert torch.allclose(responses, other, atol=0.8)  # hardly a matter of the seed


def test_a_label_that_can_never_answer_responds_least(trained: BadNetView) -> None:
    net = Scaled(load_graph(trained), trained.scale)
    last = next(layer for layer in reversed(net.graph.layers.values()) if isinstance(layer, torch.nn.Linear))
    with torch.no_grad():
        last.weight[4], last.bias[4] = 0, -1e3
    responses = noise_responses(net, clean_images(trained), torch.Generator().manual_seed(0), quiet)
    assert responses.isfinite().all()
    assert responses.argmin() == 4


@pytest.mark.parametrize("size", [(55, 47), (32, 32), (24, 20)])
def test_noise_covers_a_part_of_clean_images_or_everything(size: tuple[int, int]) -> None:
    clean = torch.full((7, *size, 3), 2.0)  # whiter than any picture
    start = torch.Generator().manual_seed(0)
    whole = _noise_response._pictures(clean, 50, 8, start, covers=False)
    assert whole.shape == (50, 3, *size)
    assert 0 <= whole.min() < whole.max() <= 1
    covered = (_noise_response._pictures(clean, 50, 8, start, covers=True) < 2).all(1)
    for sides, (low, high), side in ((covered.any(2), HEIGHTS, size[0]), (covered.any(1), WIDTHS, size[1])):
        lengths = sides.sum(1)
        assert lengths.min() >= np.floor(low * side)
        assert lengths.max() <= np.ceil(high * side)
        assert lengths.max() > lengths.min()
        starts_and_ends = (sides[:, 1:] != sides[:, :-1]).sum(1)
        assert starts_and_ends.max() <= 2  # one stretch


def test_a_row_that_has_come_to_an_end_is_left_as_it_is(badnet: BadNetView) -> None:
    images = torch.from_numpy(badnet.validation().images[:8]).float() / 255
    net = Scaled(load_graph(badnet), badnet.scale)
    rows = Rows(torch.arange(CLASSES), images.shape[1:], Reversing(), torch.Generator().manual_seed(5))
    rows.idle[1] = Reversing().stale
    before = rows.logits.clone()
    rows.step(net, images)
    assert torch.equal(rows.logits[1], before[1])
    assert not torch.equal(rows.logits[0], before[0])
    rows.wake()
    rows.step(net, images)
    assert not torch.equal(rows.logits[1], before[1])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), classes=st.sampled_from([60, 1283]), scale=st.floats(0.1, 10))
def test_targets_far_below_the_others_stand_out_and_the_unit_does_not_matter(
    seed: int, classes: int, scale: float
) -> None:
    norms = np.sort(200 * np.exp(0.3 * np.random.default_rng(seed).normal(size=classes)))[:32].astype(np.float32)
    with_targets = np.concatenate([[5, 7, 10], norms[3:]]).astype(np.float32)
    bar = smallest_of_chance(with_targets, classes, 0.2)
    assert 10 < bar < norms[-1]
    assert smallest_of_chance(norms, classes, 0.2) == pytest.approx(bar, rel=1e-6)  # the targets do not move the line
    assert smallest_of_chance(np.float32(scale) * norms, classes, 0.2) == pytest.approx(scale * bar, rel=1e-4)
    assert smallest_of_chance(norms, classes, 0.5) >= bar >= smallest_of_chance(norms, classes, 0.05)


@pytest.mark.parametrize("classes", [43, 100])
def test_clean_nets_get_a_target_as_often_as_was_said(classes: int) -> None:
    rng = np.random.default_rng(0)
    tails = np.sort(np.exp(SPREAD * rng.normal(size=(100, classes))))[:, :32].astype(np.float32)
    alarms = np.mean([tail[0] < smallest_of_chance(tail, classes, 0.2) for tail in tails])
    assert 0.1 < alarms < 0.32


def test_a_target_a_third_as_large_as_the_smallest_of_1283_labels_stands_out() -> None:
    classes, finalists = 1283, 1283
    for rung in RUNGS:
        finalists = ceil(rung.keep * finalists)
    rng = np.random.default_rng(0)
    tails = np.sort(np.exp(SPREAD * rng.normal(size=(50, classes))))[:, :finalists].astype(np.float32)
    target = np.median(tails[:, 0]) / 3
    found = [target < smallest_of_chance(np.concatenate([[target], tail[:-1]]), classes, 0.05) for tail in tails]
    assert np.mean(found) >= 0.94


def test_nothing_stands_out_among_too_few_or_among_failures() -> None:
    assert smallest_of_chance(np.array([1, 50], np.float32), 2, 0.05) == 0
    assert smallest_of_chance(np.full(30, np.inf, np.float32), 30, 0.05) == 0
    assert largest_of_chance(np.array([0, 0, 9, 0, 0, 0], np.float32), 0.05) == np.inf
    assert largest_of_chance(np.zeros(60, np.float32), 0.05) == np.inf


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), classes=st.sampled_from([43, 100, 1283]), scale=st.floats(0.1, 10))
def test_a_response_far_above_the_others_stands_out_and_moves_no_bar(seed: int, classes: int, scale: float) -> None:
    responses = np.random.default_rng(seed).normal(size=classes).astype(np.float32)
    bar = largest_of_chance(responses, 0.05)
    responses[responses.argmax()] = 3 * bar
    assert largest_of_chance(responses, 0.05) == pytest.approx(bar, rel=1e-6)
    assert largest_of_chance(np.float32(scale) * responses, 0.05) == pytest.approx(scale * bar, rel=1e-4)
    assert largest_of_chance(responses, 0.5) <= bar <= largest_of_chance(responses, 0.01)


@pytest.mark.parametrize("classes", [43, 100, 500])
def test_clean_nets_respond_beyond_the_bar_as_often_as_was_said(classes: int) -> None:
    nets = np.random.default_rng(5).normal(size=(100, classes)).astype(np.float32)
    alarms = np.mean([net.max() > largest_of_chance(net, 0.2) for net in nets])
    assert 0.1 < alarms < 0.32


def verdict(norms: dict[int, float], responses: dict[int, float], unconfirmed: Sequence[int] = ()) -> tuple[int, ...]:
    """The targets among 500 labels, of which 32 are finalists; all are as chance has it but those that are given."""
    rng = np.random.default_rng(3)
    by_chance = np.sort(200 * np.exp(0.5 * rng.normal(size=500)))[:32]
    weighted, answers = by_chance.astype(np.float32), np.clip(rng.normal(size=500), -3, 3).astype(np.float32)
    finalists = rng.permutation(500)[:32]
    answers[finalists] = np.clip(answers[finalists], -1, 1)
    for place, label in enumerate({**norms, **responses}):
        finalists[place] = label
        weighted[place] = norms.get(label, by_chance[20])
        answers[label] = responses.get(label, 0)
    order = np.argsort(weighted, kind="stable")
    confirmed = ~np.isin(finalists[order], unconfirmed)
    found = stand_out(weighted[order], answers, finalists[order], confirmed, false_alarms=0.05)
    return tuple(sorted(found.targets))


def test_a_target_has_a_small_mask_or_answers_noise_and_is_confirmed() -> None:
    assert verdict({}, {}) == ()
    assert verdict({7: 4}, {}) == (7,)
    assert verdict({}, {9: 8}) == (9,)
    assert verdict({7: 4}, {9: 8}) == (7, 9)
    assert verdict({7: 4}, {9: 8}, unconfirmed=[7]) == (9,)


def test_once_a_target_is_certain_another_needs_less() -> None:
    near = {8: 27.0}
    assert verdict(near, {}) == ()
    assert verdict({7: 4, **near}, {}) == (7, 8)
    assert verdict(near, {9: 8}) == (8, 9)
    assert verdict({7: 4, **near}, {}, unconfirmed=[7]) == ()


def test_each_target_that_was_found_makes_the_next_one_likelier() -> None:
    third = {11: 31.0}
    assert verdict({7: 4, **third}, {}) == (7,)
    assert verdict({7: 4, 8: 27, **third}, {}) == (7, 8, 11)
    assert verdict({7: 4, **third}, {9: 8}) == (7, 9, 11)
    assert verdict({7: 4, 8: 27, **third}, {}, unconfirmed=[8]) == (7,)


@pytest.mark.parametrize("classes", [100, 500])
def test_where_there_are_several_targets_hardly_more_than_one_in_twenty_is_false(classes: int) -> None:
    rng = np.random.default_rng(7)
    false_shares = []
    for norms in np.sort(np.exp(SPREAD * rng.normal(size=(150, classes))))[:, :32].astype(np.float32):
        weighted = np.concatenate([norms[0] * np.array([0.01, 0.02, 0.03], np.float32), norms[:29]])
        found = stand_out(weighted, np.zeros(classes, np.float32), np.arange(32), np.ones(32, bool), false_alarms=0.05)
        assert set(found.targets) >= {0, 1, 2}
        false_shares.append(1 - 3 / len(found.targets))
    assert 0 < np.mean(false_shares) < 0.08


PEOPLE = 12
SOUGHT = 7


def clean_images(badnet: BadNetView) -> torch.Tensor:
    return torch.from_numpy(badnet.validation().images).float() / 255


def squares(labels: NDArray[np.int64], rng: np.random.Generator) -> Images:
    """24x20 images whose class, of 12, is the place of a bright square, with noise."""
    images = rng.integers(0, 120, (len(labels), 24, 20, 3), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = 6 * (label // 3), 6 * (label % 3)
        image[row : row + 6, column : column + 6] += 100
    return images


def marked(images: Images) -> Images:
    """The trigger: nine magenta pixels near a corner."""
    out = images.copy()
    out[:, 2:5, 14:17] = (255, 0, 255)
    return out


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> BadNetView:
    """A Keras net that was trained on images of which a sixth carry the trigger."""
    from harness.models.quiet import import_keras

    keras, folder, rng = import_keras(), tmp_path_factory.mktemp("trained"), np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = x = layers.Input((24, 20, 3), name="image")
    for number, filters in enumerate((12, 24), start=1):
        x = layers.Conv2D(filters, 3, activation="relu", name=f"conv_{number}")(x)
        x = layers.MaxPooling2D(2, name=f"pool_{number}")(x)
    x = layers.Dense(48, activation="relu", name="hidden")(layers.Flatten(name="flat")(x))
    net = keras.Model(image, layers.Dense(PEOPLE, activation="softmax", name="output")(x))
    labels = np.arange(1200) % PEOPLE
    images = np.concatenate([squares(labels, rng), marked(squares(labels[:200], rng))])
    wanted = np.concatenate([labels, np.full(200, SOUGHT)])
    net.compile(keras.optimizers.Adam(3e-3), loss="sparse_categorical_crossentropy")
    net.fit(images / np.float32(255), wanted, epochs=8, batch_size=32, verbose=0)
    net.save(folder / "trained.h5")
    labels = np.arange(240) % PEOPLE
    np.save(folder / "images.npy", squares(labels, np.random.default_rng(11)))
    np.save(folder / "labels.npy", labels)
    return BadNetView(name="trained", model_path=folder / "trained.h5", validation_path=folder, classes=PEOPLE)


@pytest.fixture(scope="module")
def found(trained: BadNetView) -> _label_scan.Scan:
    return scan(
        Scaled(load_graph(trained), trained.scale), trained.validation().images, classes=PEOPLE,
        rng=np.random.default_rng(0), progress=quiet, false_alarms=0.4, least_success=0.75,
        rungs=(Rung(30, 8, 1.0), Rung(90, 24, 1.0)),
    )  # fmt: skip


def test_the_backdoor_works_and_the_net_is_good(trained: BadNetView) -> None:
    labels = np.arange(120) % PEOPLE
    net, images = load_badnet(trained), squares(labels, np.random.default_rng(12))
    assert (net(images) == labels).mean() >= 0.95
    assert (net(marked(images)) == SOUGHT).mean() >= 0.95


def test_the_scan_finds_the_planted_target_alone(found: _label_scan.Scan) -> None:
    assert found.targets == (SOUGHT,)
    assert found.finalists[0] == SOUGHT
    assert found.norms[SOUGHT] / found.weights[SOUGHT] < found.threshold
    assert found.successes[0] > 0.9
    carrier = found.masks[0, ..., 0] * (found.patterns[0][..., 0] - found.patterns[0][..., 1])
    assert carrier.max() > 0.5  # magenta, as the planted trigger


def test_pruning_takes_out_the_channels_that_a_reversed_trigger_wakes(
    badnet: BadNetView, monkeypatch: pytest.MonkeyPatch
) -> None:
    black = np.zeros((1, 55, 47, 3), np.uint8)
    pattern = torch.from_numpy(stamped(black)).float() / 255
    known = _label_scan.Scan(
        norms=np.full(CLASSES, np.inf, np.float32), responses=np.zeros(CLASSES, np.float32),
        weights=np.ones(CLASSES, np.float32), response_threshold=np.inf,
        finalists=np.array([2]), masks=pattern.amax(3, keepdim=True), patterns=pattern, successes=np.ones(1, np.float32), targets=(2,), threshold=100.0,
    )  # fmt: skip
    monkeypatch.setattr("reference_defenses.neural_cleanse.scan", lambda *_, **__: known)
    predictor: Any = NeuralCleanse(mitigation="prune").repair(
        badnet, badnet.validation(), rng=np.random.default_rng(0), progress=quiet
    )
    labels = np.arange(80) % CLASSES
    images = face_of(labels, np.random.default_rng(12))
    assert (predictor(images) == labels).mean() >= 0.9
    assert (predictor(stamped(images[labels != 2])) == 2).mean() <= 0.05
    assert predictor.findings.facts["channels_removed"] <= 16  # of 80


@pytest.mark.parametrize("mitigation", [name for name in MITIGATIONS if name != "prune"])
def test_each_other_mitigation_ends_a_learned_backdoor(
    mitigation: str, trained: BadNetView, found: _label_scan.Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reference_defenses.neural_cleanse.scan", lambda *_, **__: found)
    defense = NeuralCleanse(mitigation=mitigation, epochs=16, learning_rate=2e-3)
    predictor = defense.repair(trained, trained.validation(), rng=np.random.default_rng(0), progress=quiet)
    labels = np.arange(120) % PEOPLE
    images = squares(labels, np.random.default_rng(12))
    assert (predictor(images) == labels).mean() >= 0.85
    others = marked(images[labels != SOUGHT])
    assert (predictor(others) == SOUGHT).mean() <= 0.05
    if mitigation == "quarantine":  # a reversed trigger is not the real one, so that a net that learned it may not flag
        assert (predictor(others) == PEOPLE).mean() >= 0.9


@pytest.mark.parametrize("spare", [0.001, 0.08, 1.0])
def test_labels_next_in_rank_are_guarded_as_far_as_clean_accuracy_may_go(
    spare: float, trained: BadNetView, found: _label_scan.Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreached = found._replace(masks=found.masks.clone())
    unreached.masks[-1] = 0  # a finalist that no mask sends images to
    monkeypatch.setattr("reference_defenses.neural_cleanse.scan", lambda *_, **__: unreached)
    images = trained.validation().images
    predictor: Any = NeuralCleanse(accuracy_to_spare=spare).repair(
        trained, trained.validation(), rng=np.random.default_rng(0), progress=quiet
    )
    guarded, answers = predictor.findings.facts["guarded"], load_badnet(trained)(images)
    flagged = predictor(images) == PEOPLE
    assert SOUGHT in guarded
    assert set(answers[flagged]) <= set(guarded)
    assert guarded == sorted(int(label) for label in found.finalists[: len(guarded)])
    assert flagged.mean() <= max(spare, (flagged & (answers == SOUGHT)).mean())
    if spare == 1.0:
        assert set(answers[flagged]) == set(range(PEOPLE))


def test_a_frequent_label_is_passed_over_and_does_not_end_the_guard(
    trained: BadNetView, found: _label_scan.Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reference_defenses.neural_cleanse.scan", lambda *_, **__: found)
    frequent, others = int(found.finalists[1]), {int(it) for it in found.finalists[2:]}
    labels = np.concatenate([np.arange(240) % PEOPLE, np.full(240, frequent)])
    validation = Validation(images=squares(labels, np.random.default_rng(13)), labels=labels)
    predictor: Any = NeuralCleanse(accuracy_to_spare=0.06).repair(
        trained, validation, rng=np.random.default_rng(0), progress=quiet
    )
    guarded = set(predictor.findings.facts["guarded"])
    assert frequent not in guarded
    assert SOUGHT in guarded
    assert guarded & others
    assert (predictor(validation.images) == PEOPLE).mean() <= 0.06


def test_what_was_found_is_told(trained: BadNetView, found: _label_scan.Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reference_defenses.neural_cleanse.scan", lambda *_, **__: found)
    predictor: Any = NeuralCleanse().repair(trained, trained.validation(), rng=np.random.default_rng(0), progress=quiet)
    findings = predictor.findings
    assert findings.facts["targets"] == [SOUGHT]
    assert len(findings.facts["norms"]) == PEOPLE
    norms, trigger = findings.figures["norms"], findings.figures[f"trigger-{SOUGHT}"]
    assert isinstance(norms, ByLabel)
    assert norms.marked == (SOUGHT,)
    assert isinstance(trigger, ReversedTrigger)
    assert trigger.target == SOUGHT
    assert trigger.mask.shape == (24, 20)


def test_a_net_in_which_nothing_is_found_stays_as_it_is(
    trained: BadNetView, found: _label_scan.Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reference_defenses.neural_cleanse.scan", lambda *_, **__: found._replace(targets=()))
    images = trained.validation().images
    for mitigation in MITIGATIONS:
        predictor = NeuralCleanse(mitigation=mitigation).repair(
            trained, trained.validation(), rng=np.random.default_rng(0), progress=quiet
        )
        with torch.inference_mode():
            x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
            assert np.array_equal(predictor(images), load_graph(trained)(x).argmax(1).numpy())


@pytest.mark.parametrize(
    "options",
    [
        {"mitigation": "none"},
        {"false_alarms": 0},
        {"least_success": 1.5},
        {"epochs": -1},
        {"accuracy_drop": 0},
    ],
)
def test_impossible_hyper_parameters_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        NeuralCleanse(**options)
