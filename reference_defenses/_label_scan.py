"""Which labels are targets: triggers reversed for all of them, the work halved again and again, and a test for outliers."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.models.contracts import Images, Progress
from harness.models.errors import ModelError
from reference_defenses._leads import relative_leads
from reference_defenses._nets import batches
from reference_defenses._reversal import Reversing, Rows, Scaled, stamp

FITTED = slice(1 / 8, 1 / 2)
"""The finalists that tell how clean labels' norms are spread: smaller ones may be targets, larger ones unfinished."""
FEWEST_FITTED = 4
SIMULATED = 1000
SPREAD = 0.45
"""Clean nets in the simulation, and the standard deviation of their labels' logarithms of norm over lead."""
HELD_OUT = 0.25
"""The share of images that no trigger is reversed on: they confirm it."""
FEWEST = 32
"""Labels that go through to the end: fewer say nothing of how norms are spread."""


class Rung(NamedTuple):
    """A part of the scan: steps, images a step, and the share of labels that goes on to the next."""

    steps: int
    images: int
    keep: float


RUNGS = (Rung(30, 4, 0.1), Rung(40, 8, 0.5), Rung(120, 24, 1.0))
"""One label of twenty goes through to the end: with half as many the bar is too unsteady (`docs/design/decisions.md`)."""


class Scan(NamedTuple):
    """What came of all labels.

    norms: (N,), the sum of each label's smallest mask when it was left, infinite where none succeeded. leads: (N,), how
    far it leads on coarse images, over the median label. finalists: the labels that went to the end, the smallest norm
    over lead first. masks (k, H, W, 1), patterns (k, H, W, C) in 0..1 and successes (k,), the share of held-out clean
    images that reach the label, are the finalists'. targets: those of them that stand out and are confirmed. threshold:
    the norm over lead below which one stands out.
    """

    norms: NDArray[np.float32]
    leads: NDArray[np.float32]
    finalists: NDArray[np.int64]
    masks: Tensor
    patterns: Tensor
    successes: NDArray[np.float32]
    targets: tuple[int, ...]
    threshold: float

    def stamp(self, images: Images, labels: NDArray[np.int64]) -> Images:
        """Images (n, H, W, C), each with the reversed trigger of its label, one of the finalists: labels (n,)."""
        places = np.array([np.flatnonzero(self.finalists == label)[0] for label in labels], np.int64)
        masks, patterns = self.masks.numpy()[places], self.patterns.numpy()[places]
        stamped: Images = np.rint(images * (1 - masks) + 255 * masks * patterns).astype(np.uint8)
        return stamped


def scan(
    net: Scaled,
    images: Images,
    *,
    classes: int,
    rng: np.random.Generator,
    progress: Progress,
    false_alarms: float,
    least_success: float,
    rungs: Sequence[Rung] = RUNGS,
) -> Scan:
    """Reverse a trigger for every label on clean images (n, H, W, C), and say which labels are targets.

    false_alarms: the chance that a net without a backdoor gets a target at all, by `outliers`. least_success: the share
    of held-out clean images that a target's trigger must carry. Raises ModelError for too few images.
    """
    shown = rng.permutation(len(images))
    held_out, rest = np.split(shown, [round(HELD_OUT * len(images))])
    if len(rest) < max(rung.images for rung in rungs) or not len(held_out):
        raise ModelError(f"{len(images)} clean validation images are too few to reverse triggers on", stage="repair")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net, pool = net.to(device), torch.from_numpy(images[np.sort(rest)])
    start = torch.Generator().manual_seed(int(rng.integers(2**63)))
    clean = torch.from_numpy(images[np.sort(held_out)]).float().to(device) / 255
    leads = relative_leads(net, classes, images.shape[1:], start, progress)
    weights = torch.from_numpy(leads).to(device)
    rows = Rows(torch.arange(classes, device=device), images.shape[1:], Reversing(), start)
    norms = torch.full((classes,), torch.inf)
    for rung in rungs:
        what = f"reversing triggers, {len(rows.labels)} labels"
        rows.wake()
        for step in range(rung.steps):
            progress(what, step, rung.steps)
            drawn = torch.from_numpy(rng.choice(len(pool), rung.images, replace=False))
            rows.step(net, pool[drawn].to(device).float() / 255)
        norms[rows.labels.cpu()] = rows.best_norms.cpu()
        progress(what, rung.steps, rung.steps)
        count = max(math.ceil(rung.keep * len(rows.labels)), min(FEWEST, len(rows.labels)))
        rows.keep(rows.ranked(weights[rows.labels])[:count])
    successes = np.array(
        [success(net, clean, *it) for it in zip(rows.labels, rows.best_masks, rows.best_patterns, strict=True)],
        np.float32,
    )
    finalists = rows.labels.cpu().numpy()
    weighted = rows.best_norms.cpu().numpy() / leads[finalists]
    threshold = outliers(weighted, classes, false_alarms)
    stands_out = (weighted < threshold) & (successes >= least_success)
    return Scan(
        norms.numpy(), leads, finalists, rows.best_masks.cpu(), rows.best_patterns.cpu(), successes,
        tuple(int(label) for label in finalists[stands_out]), threshold,
    )  # fmt: skip


@torch.inference_mode()
def success(net: Scaled, images: Tensor, label: Tensor, mask: Tensor, pattern: Tensor) -> float:
    """The share of images (n, H, W, C) in 0..1 that a trigger sends to its label, 0..1."""
    reached = 0
    for part in batches(len(images)):
        outputs = net(stamp(images[part], mask, pattern).permute(0, 3, 1, 2))
        reached += int((outputs.argmax(1) == label).sum())
    return reached / len(images)


def outliers(norms: NDArray[np.float32], classes: int, false_alarms: float) -> float:
    """The norm below which one of the smallest norms (k,) of all classes stands out; 0 where that cannot be said.

    A line is laid through the strengths 1 / norm of those in `FITTED` against the normal quantiles of their ranks among
    `classes` (a normal Q-Q plot); a label that no mask reached has strength 0. How far beyond the line the strongest
    label of a clean net lies is simulated, with log-normal norms: further out than in all but `false_alarms` of the
    nets is the bar.
    """
    if len(norms) < FEWEST_FITTED:
        return 0.0
    line = _line(np.sort(1 / norms.astype(float))[None, ::-1], classes)
    clean = np.random.default_rng(0).normal(size=(SIMULATED, classes))
    clean = np.exp(SPREAD * np.sort(clean)[:, : -len(norms) - 1 : -1])
    simulated = _line(clean, classes)
    with np.errstate(divide="ignore"):
        beyond = (clean[:, 0] - simulated.start) / simulated.slope
    bar = float(line.start[0] + line.slope[0] * np.quantile(beyond, 1 - false_alarms))
    return 1 / bar if bar > 0 and line.slope[0] > 0 else 0.0


class _Line(NamedTuple):
    """start + slope * quantile, for each of several nets: (s,) each."""

    start: NDArray[np.float64]
    slope: NDArray[np.float64]


def _line(strengths: NDArray[np.float64], classes: int) -> _Line:
    """Through strengths (s, k), the largest first; the slope is the median of those of all pairs.

    Source: Theil 1950; Sen 1968, doi:10.1080/01621459.1968.10480934.
    """
    count = strengths.shape[1]
    fitted = slice(max(1, round(FITTED.start * count)), math.ceil(FITTED.stop * count) + 1)
    normal = NormalDist()
    x = np.array([-normal.inv_cdf((rank + 0.5) / (classes + 1)) for rank in range(count)])[fitted]
    y = strengths[:, fitted]
    first, second = np.triu_indices(len(x), 1)
    slope = np.median((y[:, second] - y[:, first]) / (x[second] - x[first]), axis=1)
    return _Line(np.median(y - slope[:, None] * x, axis=1), slope)
