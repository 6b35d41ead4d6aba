"""How far labels can be made to lead on images that hold no detail: a backdoor's target leads without a face."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.models.contracts import Progress
from reference_defenses._reversal import Scaled, chunk_of

POINTS = (8, 6, 5)
"""Points of a coarse image along its longer side, one image of each kind for a label; between them it is bilinear."""
STEPS = 35
LEARNING_RATE = 0.3
BETAS = (0.5, 0.9)
SPREAD = 0.3
"""The standard deviation of a coarse image's logits at first."""
COMPARED = 96
"""Labels drawn by chance, whose median a label's lead is compared with."""


def relative_leads(
    net: Scaled, labels: Tensor, classes: int, shape: Sequence[int], start: torch.Generator, progress: Progress
) -> Tensor:
    """The largest lead of labels' logits over all others on coarse images (H, W, C), over that of the median label: (k,).

    labels: (k,) of all classes. At least 0.05, as a label that cannot lead at all has nothing to be compared with.

    Source of the statistic: Wang, Xiang, Miller, Kesidis, "MM-BD: Post-Training Detection of Backdoor Attacks with
    Arbitrary Backdoor Pattern Types Using a Maximum Margin Statistic", IEEE S&P 2024, arXiv:2205.06900. Unlike there the
    images are coarse, which the features of clean labels need detail for; a mean is taken over several coarsenesses.
    """
    compared = torch.randperm(classes, generator=start)[:COMPARED].to(labels.device)
    parts = torch.split(torch.cat([labels, compared]), chunk_of(labels.device))
    found = []
    for turn, points in enumerate(POINTS):
        grid = [max(2, math.ceil(points * side / max(shape[:2]))) for side in shape[:2]]
        noise = SPREAD * torch.randn(1, shape[2], *grid, generator=start)
        leads = []
        for number, part in enumerate(parts):
            progress(f"coarse images of {len(labels)} labels", turn * len(parts) + number, len(POINTS) * len(parts))
            leads.append(_leads(net, part, noise.to(labels.device), (shape[0], shape[1])))
        values = torch.cat(leads)
        found.append(values / values[len(labels) :].median().clamp(min=1e-6))
    return torch.stack(found).mean(0)[: len(labels)].clamp(min=0.05)


def _leads(net: Scaled, labels: Tensor, noise: Tensor, size: tuple[int, int]) -> Tensor:
    """The largest lead that Adam comes across: (r,)."""
    logits = noise.repeat(len(labels), 1, 1, 1).requires_grad_(True)
    optimizer = torch.optim.Adam([logits], lr=LEARNING_RATE, betas=BETAS)
    best = torch.full((len(labels),), -torch.inf, device=labels.device)
    for _ in range(STEPS):
        images = torch.sigmoid(F.interpolate(logits, size=size, mode="bilinear", align_corners=True))
        outputs = net(images)
        own = outputs.gather(1, labels[:, None])[:, 0]
        others = outputs.scatter(1, labels[:, None], -torch.inf)
        best = torch.maximum(best, (own - others.amax(1)).detach())
        (logits.grad,) = torch.autograd.grad((others.logsumexp(1) - own).sum(), logits)
        optimizer.step()
    return best
