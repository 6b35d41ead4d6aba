"""Reversing the trigger of one label, written plainly: what the reversal of many labels at once must agree with, and beat."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_defenses._reversal import Reversing


class Reversed(NamedTuple):
    """The sum of the smallest mask that succeeded, infinite where none did, and that mask (H, W, 1)."""

    norm: float
    mask: Tensor | None


def reverse(
    net: nn.Module, label: int, images: Tensor, draws: Sequence[Tensor], settings: Reversing, *, seed: int
) -> Reversed:
    """One label by autograd through sigmoids, torch's own Adam and scalars: a step for each draw of the images.

    net: takes float (n, C, H, W) in 0..1. images: float (n, H, W, C) in 0..1. draws: numbers of images, (b,) each.
    """
    noise = 0.1 * torch.randn(*images.shape[1:3], 1 + images.shape[3], generator=torch.Generator().manual_seed(seed))
    mask = (noise[..., :1] + settings.opacity).requires_grad_(True)
    pattern = noise[..., 1:].clone().requires_grad_(True)
    optimizer = torch.optim.Adam([mask, pattern], lr=settings.learning_rate, betas=settings.betas)
    cost, hits, misses, best = settings.cost, 0, 0, Reversed(float("inf"), None)
    for drawn in draws:
        x, m, p = images[drawn], torch.sigmoid(mask), torch.sigmoid(pattern)
        outputs = net(((1 - m) * x + m * p).permute(0, 3, 1, 2))
        wanted = F.one_hot(torch.full((len(x),), label), outputs.shape[1]).bool()
        others = outputs.masked_fill(wanted, -1e9)
        loss = F.cross_entropy(outputs, torch.full((len(x),), label)) + cost * m.sum()
        optimizer.zero_grad()
        loss.backward(inputs=[mask, pattern])  # type: ignore[no-untyped-call]
        reached = (outputs[:, label] > others.max(1).values).float().mean().item()
        hits, misses = (hits + 1, 0) if reached >= settings.success else (0, misses + 1)
        if hits >= settings.steady and m.sum().item() < best.norm:
            best = Reversed(m.sum().item(), m.detach().clone())
        optimizer.step()
        if hits and hits % settings.patience == 0:
            cost *= settings.growth
        if misses and misses % settings.patience == 0:
            cost /= settings.growth**1.5
    return best
