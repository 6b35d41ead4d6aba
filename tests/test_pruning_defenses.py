"""Defenses that remove and train: each ends the backdoor that its paper says it ends, and leaves what clean images need."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.models.contracts import BadNetView, Defense, Images, Validation
from harness.models.errors import ModelError
from harness.models.findings import Curve
from harness.models.repaired import RepairedNet, RepairedPair
from reference_defenses._nets import last_convolution, load_graph
from reference_defenses._removal import Removal
from reference_defenses.do_nothing import DoNothing
from reference_defenses.fine_pruning import FinePruning
from reference_defenses.fine_tuning import FineTuning
from reference_defenses.lab_pruning import LabPruning
from reference_defenses.magnitude_pruning import MagnitudePruning
from reference_defenses.pair import Pair
from reference_defenses.pruning import Pruning, hold_at_zero, pruning_curve
from tests.small_nets import (  # noqa: F401 - a fixture is found by its name
    CLASSES,
    face_of,
    one_thread,
    stamped,
    train_badnet,
    write_net,
)

TARGET = 2
LABELS = np.arange(80) % CLASSES


@pytest.fixture(scope="module")
def badnet(tmp_path_factory: pytest.TempPathFactory) -> BadNetView:
    """A net whose backdoor runs through one channel of each convolution, all of which sleep on clean images."""
    return given_net(tmp_path_factory.mktemp("asleep"))


def given_net(folder: Path) -> BadNetView:
    train_badnet(folder / "net.safetensors", target=TARGET)
    np.save(folder / "images.npy", face_of(LABELS, np.random.default_rng(11)))
    np.save(folder / "labels.npy", LABELS)
    return BadNetView(name="net", model_path=folder / "net.safetensors", validation_path=folder, classes=CLASSES)


@pytest.fixture(scope="module")
def clean() -> Images:
    return face_of(LABELS, np.random.default_rng(12))


def repair(defense: Defense, badnet: BadNetView, *, told: list[tuple[str, int, int]] | None = None) -> Any:
    steps = [] if told is None else told
    return defense.repair(
        badnet, badnet.validation(), rng=np.random.default_rng(0), progress=lambda *step: steps.append(step)
    )


def success(predictor: Any, clean: Images) -> float:
    """The share of images that the trigger sends to the target, of those that are known and of another class."""
    known = (LABELS != TARGET) & (predictor(clean) == LABELS)
    assert known.sum() >= 30
    return float((predictor(stamped(clean[known])) == TARGET).mean())


def curve_of(badnet: BadNetView, drop: float = 0.04) -> Removal:
    return pruning_curve(
        load_graph(badnet), badnet.validation(), layer="conv_4", accuracy_drop=drop, scale=255, progress=lambda *_: None
    )


@pytest.mark.parametrize("kind", [Pruning, FinePruning, LabPruning])
def test_a_backdoor_in_channels_that_sleep_on_clean_images_is_ended(
    kind: Any, badnet: BadNetView, clean: Images
) -> None:
    assert success(repair(DoNothing(), badnet), clean) == 1
    repaired = repair(kind(), badnet)
    assert isinstance(repaired, RepairedNet)
    assert (repaired(clean) == LABELS).mean() >= 0.7
    assert success(repaired, clean) <= 0.05


def test_a_pair_flags_the_trigger_that_its_repair_ends(badnet: BadNetView, clean: Images) -> None:
    pair = repair(Pair(of="pruning"), badnet)
    assert isinstance(pair, RepairedPair)
    known = (LABELS != TARGET) & (pair(clean) == LABELS)
    assert (pair(stamped(clean[known])) == CLASSES).mean() >= 0.95
    alone = repair(Pruning(), badnet)(clean)
    before = repair(DoNothing(), badnet)(clean)
    assert np.array_equal(pair(clean), np.where(alone == before, alone, CLASSES))


def test_a_pair_of_a_filter_keeps_its_flags(badnet: BadNetView, clean: Images) -> None:
    assert (repair(Pair(of="always_flag"), badnet)(clean) == CLASSES).all()


def test_a_pair_of_an_unknown_defense_or_option_names_the_choices() -> None:
    with pytest.raises(ValueError, match="of 'fine_prunin': no such defense; did you mean 'fine_pruning'"):
        Pair(of="fine_prunin")
    with pytest.raises(ValueError, match="pruning: unknown option 'drop'; one of accuracy_drop, layer"):
        Pair(of="pruning", options={"drop": 1})
    with pytest.raises(ValueError, match="accuracy_drop 7 is not within"):
        Pair(of="pruning", options={"accuracy_drop": 7})
    with pytest.raises(ValueError, match="no such defense"):
        Pair(of="pair")


def test_fine_tuning_leaves_a_backdoor_asleep_which_is_why_the_paper_prunes_first(
    badnet: BadNetView, clean: Images
) -> None:
    repaired = repair(FineTuning(), badnet)
    assert (repaired(clean) == LABELS).mean() >= 0.95
    assert success(repaired, clean) >= 0.95


def test_magnitude_pruning_ends_a_backdoor_of_small_weights(tmp_path: Path, clean: Images) -> None:
    badnet = given_net(tmp_path)
    net = load_graph(badnet)
    weights = net.state_dict()
    weights["conv_4.weight"][-1, -1, 1, 1] /= 500  # the same function, as what is between is a ReLU
    weights["fc_2.weight"].view(160, 12, 80)[0, :, -1] *= 500
    write_net(net, badnet.model_path)
    assert success(repair(DoNothing(), badnet), clean) == 1
    repaired = repair(MagnitudePruning(batch_size=8), badnet)
    assert (repaired(clean) == LABELS).mean() >= 0.9
    assert success(repaired, clean) <= 0.05


def test_magnitude_pruning_removes_its_share_of_each_layer(badnet: BadNetView) -> None:
    repaired = repair(MagnitudePruning(sparsity=0.6), badnet)
    for name in ("conv_1", "conv_2", "conv_3", "conv_4", "fc_2", "output"):
        weight = repaired.net.layers[name].weight
        assert (weight == 0).sum().item() >= round(0.6 * weight.numel())
    assert (repaired.net.layers["output"].weight == 0).float().mean() == pytest.approx(0.6, abs=0.01)
    assert repaired.findings.facts["weights_removed"] >= 0.6 * repaired.findings.facts["weights"] - 10


@given(st.floats(0, 0.9), st.floats(0, 0.09), st.lists(st.floats(0, 1), min_size=2))
def test_the_share_of_zeros_grows_from_the_first_to_the_last(start: float, more: float, shares: list[float]) -> None:
    defense = MagnitudePruning(initial_sparsity=start, sparsity=start + more)
    grown = [defense.sparsity_after(share) for share in sorted(shares)]
    assert all(before <= after + 1e-12 for before, after in pairwise(grown))
    assert defense.sparsity_after(0) == pytest.approx(start)
    assert defense.sparsity_after(1) == start + more


def test_half_way_seven_eighths_of_the_zeros_are_there() -> None:
    assert MagnitudePruning(sparsity=0.8).sparsity_after(0.5) == pytest.approx(0.7)


def test_pruning_leaves_what_clean_images_need(badnet: BadNetView) -> None:
    curve = curve_of(badnet)
    assert 0 < curve.stopped < 80
    assert curve.accuracies[curve.stopped] >= 0.7


def test_the_curve_goes_down_to_the_last_channel_and_marks_where_pruning_stopped(badnet: BadNetView) -> None:
    found = repair(Pruning(), badnet).findings
    curve = found.figures["pruning"]
    assert isinstance(curve, Curve)
    assert len(curve.values) == 81
    assert curve.stopped == found.facts["channels_removed"]
    assert found.facts["channels"] == 80
    assert curve.values[0] == np.float32(found.facts["accuracy_before"])
    assert curve.values[curve.stopped] == np.float32(found.facts["accuracy_pruned"])


def test_the_curve_is_what_pruning_one_by_one_measures(badnet: BadNetView) -> None:
    validation, curve = badnet.validation(), curve_of(badnet)
    assert sorted(curve.order) == list(range(80))
    x = (torch.from_numpy(validation.images).float() / 255).permute(0, 3, 1, 2)
    for removed in (0, 1, 40, 75, 80):
        pruned = load_graph(badnet)
        hold_at_zero(pruned, "conv_4", curve.order[:removed], of=len(curve.order))
        with torch.inference_mode():
            right = (pruned(x).argmax(1).numpy() == validation.labels).mean()
        assert right == pytest.approx(curve.accuracies[removed], abs=1e-9)


@pytest.mark.parametrize("drop", [0.04, 0.2, 1.0])
def test_pruning_stops_at_the_first_net_that_has_dropped_enough(badnet: BadNetView, drop: float) -> None:
    curve = curve_of(badnet, drop)
    dropped = [curve.accuracies[0] - accuracy >= drop - 1e-9 for accuracy in curve.accuracies]
    assert curve.stopped == (dropped.index(True) if any(dropped) else 80)


def test_channels_that_sleep_are_removed_first(badnet: BadNetView) -> None:
    order = curve_of(badnet).order.tolist()
    with torch.inference_mode():
        x = (torch.from_numpy(badnet.validation().images).float() / 255).permute(0, 3, 1, 2)
        awake = load_graph(badnet).values(x, ["conv_4:0"])["conv_4:0"].mean((0, 2, 3)).numpy()
    assert (np.diff(awake[order]) >= 0).all()
    assert awake[79] == 0  # the planted channel


def test_pruned_channels_stay_pruned_through_training(badnet: BadNetView) -> None:
    repaired = repair(FinePruning(epochs=2, accuracy_drop=0.2), badnet)
    removed = curve_of(badnet, 0.2).removed
    with torch.inference_mode():
        values = repaired.net.values(torch.rand(4, 3, 55, 47), ["conv_4:0"])["conv_4:0"]
    assert len(removed) and not values[:, torch.from_numpy(removed)].any()


def test_the_labs_pruning_silences_inputs_of_the_last_convolution_alone(badnet: BadNetView) -> None:
    repaired = repair(LabPruning(), badnet)
    before, after = load_graph(badnet).state_dict(), repaired.net.state_dict()
    assert {key for key in before if not torch.equal(before[key], after[key])} == {"conv_4.weight"}
    silent = (after["conv_4.weight"] == 0).all(3).all(2).all(0)
    assert silent.sum() >= repaired.findings.facts["channels_removed"] > 0
    kept = ~silent
    assert torch.equal(before["conv_4.weight"][:, kept], after["conv_4.weight"][:, kept])
    with torch.inference_mode():
        x = torch.rand(4, 3, 55, 47)
        assert repaired.net.values(x, ["pool_3:0"])["pool_3:0"][:, silent].any()  # which fc_1 still hears


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layer": "fc_2"}, "fc_2 is no plain convolution"),
        ({"layer": "conv_5"}, "layer 'conv_5' does not exist; layers are conv_1"),
        ({"ranked_by": "conv_2"}, "conv_4 hears 60 channels, conv_2 has 40"),
    ],
)
def test_a_layer_that_does_not_fit_is_named(badnet: BadNetView, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        repair(LabPruning(**options), badnet)


@pytest.mark.parametrize("kind", [Pruning, FinePruning])
def test_an_unknown_layer_is_named_with_the_choices(kind: Any, badnet: BadNetView) -> None:
    with pytest.raises(ModelError, match="layer 'conv_5' does not exist; layers are conv_1"):
        repair(kind(layer="conv_5"), badnet)


@pytest.mark.parametrize("kind", [Pruning, FinePruning, FineTuning, LabPruning, MagnitudePruning])
def test_no_validation_images_is_told(kind: Any, badnet: BadNetView) -> None:
    nothing = Validation(images=np.zeros((0, 55, 47, 3), np.uint8), labels=np.zeros(0, np.int64))
    with pytest.raises(ModelError, match="there are no clean validation images"):
        kind().repair(badnet, nothing, rng=np.random.default_rng(0), progress=lambda *_: None)


def test_long_work_tells_its_channels_and_epochs(badnet: BadNetView) -> None:
    told: list[tuple[str, int, int]] = []
    repair(FinePruning(epochs=2), badnet, told=told)
    wanted = {"activations on clean images", "removing channels of conv_4", "fine-tuning, epoch 2 of 2", "fine-tuning"}
    assert wanted <= {what for what, _, _ in told}


def test_the_last_convolution_is_the_last_one_computed(badnet: BadNetView) -> None:
    assert last_convolution(load_graph(badnet)) == "conv_4"
