"""Which labels are targets: triggers reversed for all of them, the work halved again and again, and a test for outliers."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.models.contracts import Images, Progress
from harness.models.errors import ModelError
from reference_defenses._leads import relative_leads
from reference_defenses._nets import batches
from reference_defenses._noise_response import noise_responses
from reference_defenses._outliers import largest_of_chance, smallest_of_chance
from reference_defenses._reversal import Reversing, Rows, Scaled, stamp

HELD_OUT = 0.25
"""The share of images that no trigger is reversed on: they confirm it."""
FEWEST = 32
"""Labels that go through to the end: fewer say nothing of how norms are spread."""
RESPONSE_WEIGHT = 0.4
"""The power of e that a deviation in noise responses counts: then they are spread about as wide as norms and leads."""

MOST_LIKELY = 0.5
"""A label that one clean net in two has is no target, however many others were found."""


class Rung(NamedTuple):
    """A part of the scan: steps, images a step, and the share of labels that goes on to the next."""

    steps: int
    images: int
    keep: float


RUNGS = (Rung(30, 4, 0.1), Rung(40, 8, 0.5), Rung(120, 24, 1.0))
"""One label of twenty goes through to the end: with half as many the bar is too unsteady (`docs/design/decisions.md`)."""


class Scan(NamedTuple):
    """What came of all labels.

    norms: (N,), the sum of each label's smallest mask when it was left, infinite where none succeeded. responses: (N,),
    how readily it answers noise, in deviations. weights: (N,), what speaks for it beside its mask, about 1 for the
    median label: e to RESPONSE_WEIGHT times its response, times how far it leads on coarse images, which is asked of
    labels alone that are left after the first rung. finalists: the labels that went to the end, the smallest norm over
    weight first. masks (k, H, W, 1), patterns (k, H, W, C) in 0..1 and successes (k,), the share of held-out clean
    images that reach the label, are the finalists'. targets: those of them that stand out and are confirmed. threshold
    and response_threshold: the norm over weight below which, and the response above which, a label stands out.
    """

    norms: NDArray[np.float32]
    responses: NDArray[np.float32]
    weights: NDArray[np.float32]
    finalists: NDArray[np.int64]
    masks: Tensor
    patterns: Tensor
    successes: NDArray[np.float32]
    targets: tuple[int, ...]
    threshold: float
    response_threshold: float

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

    A label is a target whose norm over weight, or noise response, a net without a backdoor has with a chance of
    false_alarms at most, half of it each. A net that has some may have more: the next, the k-th, needs a norm over
    weight whose chance is k times that. least_success: the share of held-out clean images that a target's trigger must
    carry. Raises ModelError for too few images.
    """
    shown = rng.permutation(len(images))
    held_out, rest = np.split(shown, [round(HELD_OUT * len(images))])
    if len(rest) < max(rung.images for rung in rungs) or not len(held_out):
        raise ModelError(f"{len(images)} clean validation images are too few to reverse triggers on", stage="repair")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net, pool = net.to(device), torch.from_numpy(images[np.sort(rest)])
    start = torch.Generator().manual_seed(int(rng.integers(2**63)))
    clean = torch.from_numpy(images[np.sort(held_out)]).float().to(device) / 255
    responses = noise_responses(net, clean, start, progress)
    weights = torch.exp(RESPONSE_WEIGHT * responses)
    rows = Rows(torch.arange(classes, device=device), images.shape[1:], Reversing(), start)
    norms = torch.full((classes,), torch.inf)
    for place, rung in enumerate(rungs):
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
        if not place:
            weights[rows.labels] *= relative_leads(net, rows.labels, classes, images.shape[1:], start, progress)
    successes = np.zeros(len(rows.labels), np.float32)
    for place, own in enumerate(zip(rows.labels, rows.best_masks, rows.best_patterns, strict=True)):
        progress("trying triggers on images held out", place, len(successes))
        successes[place] = success(net, clean, *own)
    progress("trying triggers on images held out", len(successes), len(successes))
    finalists = rows.labels.cpu().numpy()
    weighted = (rows.best_norms / weights[rows.labels]).cpu().numpy()
    answers_noise = responses.cpu().numpy()
    verdict = stand_out(weighted, answers_noise, finalists, successes >= least_success, false_alarms)
    return Scan(
        norms.numpy(), answers_noise, weights.cpu().numpy(), finalists, rows.best_masks.cpu(), rows.best_patterns.cpu(),
        successes, *verdict,
    )  # fmt: skip


class Verdict(NamedTuple):
    """The targets, and the two bars that they passed one of: `Scan` says of what."""

    targets: tuple[int, ...]
    threshold: float
    response_threshold: float


def stand_out(
    weighted: NDArray[np.float32],
    responses: NDArray[np.float32],
    finalists: NDArray[np.int64],
    confirmed: NDArray[np.bool_],
    false_alarms: float,
) -> Verdict:
    """Which finalists (k,) of all labels (N,) are targets, by their norms over weight, rising, (k,) and all responses (N,).

    `scan` says how; the threshold is that of the first label that is none. A chance that grows with each target that
    was found keeps the expected share of false ones among them at false_alarms, about, where the chance of any would
    have to be given up or the second target be as hard to find as the first.

    Source: Benjamini, Hochberg, "Controlling the False Discovery Rate", Journal of the Royal Statistical Society B 57,
    1995, doi:10.1111/j.2517-6161.1995.tb02031.x; from the strongest label on, which is stricter than their way back.
    """
    bar = smallest_of_chance(weighted, len(responses), false_alarms / 2)
    response_bar = largest_of_chance(responses, false_alarms / 2)
    found = confirmed & ((weighted < bar) | (responses[finalists] > response_bar))
    while found.any():
        chance = min((1 + int(found.sum())) * false_alarms, MOST_LIKELY)
        bar = max(bar, smallest_of_chance(weighted, len(responses), chance))
        further = np.flatnonzero(confirmed & ~found & (weighted < bar))
        if not len(further):
            break
        found[further[0]] = True
    return Verdict(tuple(int(label) for label in finalists[found]), bar, response_bar)


@torch.inference_mode()
def success(net: Scaled, images: Tensor, label: Tensor, mask: Tensor, pattern: Tensor) -> float:
    """The share of images (n, H, W, C) in 0..1 that a trigger sends to its label, 0..1."""
    reached = 0
    for part in batches(len(images)):
        outputs = net(stamp(images[part], mask, pattern).permute(0, 3, 1, 2))
        reached += int((outputs.argmax(1) == label).sum())
    return reached / len(images)
