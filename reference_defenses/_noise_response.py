"""How readily each label answers images that show nothing it knows: a backdoor's target is where the unknown goes."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.models.contracts import Progress
from reference_defenses._nets import batches
from reference_defenses._reversal import Scaled

IMAGES = 2000
"""Of each kind."""
AT_ONCE = 100
POINTS = (5, 8, 12)
"""Random colours along a picture's longer side; between them it is bilinear."""
HEIGHTS = (0.15, 0.6)
WIDTHS = (0.15, 1.0)
"""Of the covered part of a clean image, as shares of its sides."""
QUANTILE = 0.98
"""Few random pictures come near a trigger."""


@torch.no_grad()
def noise_responses(net: Scaled, clean: Tensor, start: torch.Generator, progress: Progress) -> Tensor:
    """How readily each label answers noise, in robust standard deviations from the median label: (N,).

    clean: images (n, H, W, C) in 0..1. The net is shown pictures of a few random colours, whole and over a part of
    clean images; a label's response is a high quantile of its standardised logit, the mean of both kinds of pictures.

    Source: Erichson, Taylor, Wu, Mahoney, "Noise-Response Analysis of Deep Neural Networks Quantifies Robustness and
    Fingerprints Structural Malware", SDM 2021, arXiv:2008.00123, where images become white noise by degrees and the
    share of confident answers is plotted. White noise is far from any trigger and shows little of the targets of
    1,283; coarse pictures, and clean images that are covered in part, show all.
    """
    deviations = []
    for turn, covers in enumerate((False, True)):
        standardised = []
        for part in batches(IMAGES, AT_ONCE):
            progress("answers to noise", turn * IMAGES + part.start, 2 * IMAGES)
            points = POINTS[part.start // AT_ONCE % len(POINTS)]
            outputs = net(_pictures(clean, part.stop - part.start, points, start, covers=covers))
            spread = outputs.std(1, keepdim=True).clamp(min=1e-6)
            standardised.append((outputs - outputs.mean(1, keepdim=True)) / spread)
        response = torch.cat(standardised).kthvalue(round(QUANTILE * IMAGES), dim=0).values
        distance = response - response.median()
        deviations.append(distance / (1.4826 * distance.abs().median()).clamp(min=1e-6))
    responses: Tensor = torch.stack(deviations).mean(0)
    return responses


def _pictures(clean: Tensor, count: int, points: int, start: torch.Generator, *, covers: bool) -> Tensor:
    """Random colours on a grid, bilinear, over everything or over a rectangle of clean images: (count, C, H, W)."""
    _, height, width, channels = clean.shape
    grid = [max(2, math.ceil(points * side / max(height, width))) for side in (height, width)]
    noise = torch.rand(count, channels, *grid, generator=start).to(clean.device)
    pictures = F.interpolate(noise, size=(height, width), mode="bilinear", align_corners=True)
    if not covers:
        return pictures
    drawn = torch.randint(len(clean), (count,), generator=start).to(clean.device)
    rows, columns = (_span(count, *it, start).to(clean.device) for it in ((height, HEIGHTS), (width, WIDTHS)))
    covered = rows[:, None, :, None] & columns[:, None, None, :]
    return torch.where(covered, pictures, clean[drawn].permute(0, 3, 1, 2))


def _span(count: int, side: int, shares: tuple[float, float], start: torch.Generator) -> Tensor:
    """Which pixels along a side lie within a random stretch of it: bool (count, side)."""
    drawn, place = torch.rand(2, count, 1, generator=start)
    length = side * (shares[0] + (shares[1] - shares[0]) * drawn)
    first, pixels = (side - length) * place, torch.arange(side) + 0.5
    within: Tensor = (pixels >= first) & (pixels < first + length)
    return within
