"""Neural Cleanse's reversal of triggers: many labels at once beside one at a time, and the scan of all labels."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.at_work import Cost, cost_since
from harness.images import silent
from harness.models.contracts import BadNetView
from reference_defenses._label_scan import RUNGS, Rung, scan
from reference_defenses._nets import load_graph
from reference_defenses._reversal import Reversing, Rows, Scaled
from reference_defenses.neural_cleanse import NeuralCleanse
from tests.plain_reversal import reverse

FIRST = RUNGS[0]
"""The part of the scan that all labels go through; no label comes to its end in it."""
SEED = 5
SAME = 0.02
"""How far a norm may lie from the plain one's: sums are rounded otherwise, and each step carries that on."""


class Rates(NamedTuple):
    """Labels per second, once a round. agree: the share of labels with the same norm both ways, 0..1."""

    at_once: list[float]
    one_at_a_time: list[float]
    agree: float


class Scanned(NamedTuple):
    """A scan of all labels: what it took, the targets that it found, and labels per second of the plain way."""

    cost: Cost
    targets: tuple[int, ...]
    one_at_a_time: float


def rates(badnet: BadNetView, *, labels: int, alone: int, rounds: int) -> Rates:
    """Reverse the first labels at once and the first `alone` of them one at a time, in turn: same steps, same images."""
    case = _Case(badnet)
    draws = case.draws([FIRST])
    case.at_once(draws[:2], labels)
    case.one_at_a_time(draws[:2], alone)
    found = Rates([], [], 1.0)
    for _ in range(rounds):
        begun = time.perf_counter()
        together = case.at_once(draws, labels)
        middle = time.perf_counter()
        plain = case.one_at_a_time(draws, alone)
        found.one_at_a_time.append(alone / (time.perf_counter() - middle))
        found.at_once.append(labels / (middle - begun))
    return found._replace(agree=float(np.isclose(together[:alone], plain, rtol=SAME).mean()))


def scan_all(badnet: BadNetView, *, alone: int) -> Scanned:
    """Scan all labels as Neural Cleanse does, then have a few labels go through all of its steps one at a time."""
    usual = NeuralCleanse()
    net, images = Scaled(load_graph(badnet), badnet.scale), badnet.validation().images
    begun = time.perf_counter()
    found = scan(
        net, images, classes=badnet.classes, rng=np.random.default_rng(0), progress=silent,
        false_alarms=usual.false_alarms, least_success=usual.least_success,
    )  # fmt: skip
    cost = cost_since(begun)
    case = _Case(badnet)
    draws = case.draws(RUNGS)
    begun = time.perf_counter()
    case.one_at_a_time(draws, alone)
    return Scanned(cost, found.targets, alone / (time.perf_counter() - begun))


class _Case:
    """One BadNet, which takes images / 255, and its clean validation images."""

    def __init__(self, badnet: BadNetView) -> None:
        self._rng = np.random.default_rng(0)
        self._plain, self._net = load_graph(badnet), Scaled(load_graph(badnet), badnet.scale)
        self._settings = Reversing()
        self._pool = torch.from_numpy(badnet.validation().images).float() / 255

    def draws(self, rungs: Sequence[Rung]) -> list[Tensor]:
        """The images of each step."""
        sizes = [rung.images for rung in rungs for _ in range(rung.steps)]
        return [torch.from_numpy(self._rng.choice(len(self._pool), size, replace=False)) for size in sizes]

    def at_once(self, draws: Sequence[Tensor], labels: int) -> list[float]:
        """The norms of the first labels."""
        start = torch.Generator().manual_seed(SEED)
        rows = Rows(torch.arange(labels), self._pool.shape[1:], self._settings, start)
        for drawn in draws:
            rows.step(self._net, self._pool[drawn])
        return rows.best_norms.tolist()

    def one_at_a_time(self, draws: Sequence[Tensor], labels: int) -> list[float]:
        """The same norms, label by label."""
        return [
            reverse(self._plain, label, self._pool, draws, self._settings, seed=SEED).norm for label in range(labels)
        ]
