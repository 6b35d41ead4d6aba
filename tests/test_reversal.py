"""Triggers of all labels at once: the batched reversal is the plain one, and rows come and go as they should."""

import numpy as np
import pytest
import torch

from harness.models.contracts import BadNetView
from harness.models.keras_to_torch import convert
from reference_defenses._nets import load_graph
from reference_defenses._reversal import Reversing, Rows, Scaled
from tests.conftest import ROOT
from tests.plain_reversal import reverse
from tests.small_nets import CLASSES, planted_badnet

FACES = ROOT / "datasets" / "faces" / "badnets"


def quiet(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total


@pytest.fixture(scope="module")
def badnet(tmp_path_factory: pytest.TempPathFactory) -> BadNetView:
    return planted_badnet(tmp_path_factory.mktemp("planted"))


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
