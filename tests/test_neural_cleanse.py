"""Neural Cleanse: the scan finds a planted target and no other, each mitigation works, and what was found is told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from harness.models.any_model import load_badnet
from harness.models.contracts import BadNetView, Images, Validation
from harness.models.findings import ByLabel, ReversedTrigger
from harness.worker.kinds.predictor import Options, load
from reference_defenses import _label_scan, _noise_response
from reference_defenses._label_scan import Rung, scan
from reference_defenses._leads import relative_leads
from reference_defenses._mitigations import MITIGATIONS
from reference_defenses._nets import load_graph
from reference_defenses._noise_response import HEIGHTS, WIDTHS, noise_responses
from reference_defenses._quarantine import _flagged_unseen, _hidden
from reference_defenses._reversal import Scaled
from reference_defenses.neural_cleanse import NeuralCleanse
from tests.small_nets import CLASSES, face_of, planted_badnet, stamped, view


def quiet(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total


@pytest.fixture(scope="module")
def badnet(tmp_path_factory: pytest.TempPathFactory) -> BadNetView:
    return planted_badnet(tmp_path_factory.mktemp("planted"))


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
    if mitigation == "flag":  # but this one it must
        assert (predictor(found.stamp(images, np.full(120, SOUGHT))) == PEOPLE).mean() >= 0.9


def test_a_saved_quarantine_answers_as_it_did_in_any_company(
    trained: BadNetView, found: _label_scan.Scan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("reference_defenses.neural_cleanse.scan", lambda *_, **__: found)
    predictor: Any = NeuralCleanse().repair(trained, trained.validation(), rng=np.random.default_rng(0), progress=quiet)
    images = squares(np.arange(60) % PEOPLE, np.random.default_rng(12))
    images[30:] = marked(images[30:])
    given = predictor(images)
    assert {SOUGHT, PEOPLE} < set(given)
    saved = predictor.save(tmp_path)
    again = load(Options(**saved["table"]), trained, tmp_path, seed=0, progress=lambda *_: None)
    assert np.array_equal(again(images), given)
    assert np.array_equal(again(images[::-1]), given[::-1])
    assert [int(again(images[place : place + 1])[0]) for place in (0, 7, 30, 59)] == given[[0, 7, 30, 59]].tolist()


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_what_a_guard_costs_is_told_by_images_that_it_has_not_learned_from(count: int) -> None:
    rng = np.random.default_rng(count)
    own, stamped = rng.normal(1, 1, (count, 6)), rng.normal(size=6)
    stamped /= np.linalg.norm(stamped)
    directions = own / np.linalg.norm(own, axis=1, keepdims=True)
    expected = []
    for place, asked in enumerate(directions):
        others = np.delete(directions, place, 0)
        mean = others.sum(0) / (np.linalg.norm(others.sum(0)) or 1)
        expected.append(not len(others) or asked @ (mean - stamped) <= np.quantile(others @ (mean - stamped), 0.25))
    flagged = _flagged_unseen(torch.from_numpy(own).float(), torch.from_numpy(stamped).float())
    assert flagged.tolist() == expected
    assert any(expected)


def test_the_last_hidden_layer_is_found_below_a_softmax_of_its_own(tmp_path: Path) -> None:
    from harness.models.quiet import import_keras

    layers = (keras := import_keras()).layers
    hidden = layers.Dense(9, activation="relu", name="hidden")
    output = [layers.Dense(PEOPLE, name="logits"), layers.Activation("softmax", name="softmax")]
    keras.Sequential([layers.Input((24, 20, 3)), layers.Flatten(), hidden, *output]).save(tmp_path / "net.h5")
    images = squares(np.arange(30) % PEOPLE, np.random.default_rng(1))
    badnet = view(tmp_path, tmp_path / "net.h5", classes=PEOPLE, images=images)
    answers, activations = _hidden(load_graph(badnet), images, badnet.scale)
    assert activations.shape == (30, 9)
    assert np.array_equal(answers, load_badnet(badnet)(images))


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
    norms, weighted, trigger = (findings.figures[it] for it in ("norms", "weighted-norms", f"trigger-{SOUGHT}"))
    assert isinstance(norms, ByLabel)
    assert norms.marked == (SOUGHT,)
    np.testing.assert_allclose(norms.values, findings.facts["norms"], atol=0.01)
    assert isinstance(weighted, ByLabel)
    assert weighted.threshold is not None
    assert weighted.values[SOUGHT] < weighted.threshold
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
