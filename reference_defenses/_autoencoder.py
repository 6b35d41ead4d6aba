"""A small convolutional autoencoder with a narrow middle: what its training images do not have, it cannot draw."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.models.contracts import Images, Progress
from reference_defenses._nets import as_input

CHANNELS = (16, 32, 32)


class Autoencoder(nn.Module):
    """Draws images float (n, C, H, W) in 0..1 again, through `code` numbers an image."""

    def __init__(self, shape: tuple[int, int, int], code: int) -> None:
        """Set up random weights; shape: (H, W, C)."""
        super().__init__()
        height, width, colours = shape
        self._sizes = [(height, width)]
        down, up, before = [], [], colours
        for channels in CHANNELS:
            down.append(nn.Conv2d(before, channels, 3, stride=2, padding=1))
            up.append(nn.Conv2d(channels, before, 3, padding=1))
            height, width, before = math.ceil(height / 2), math.ceil(width / 2), channels
            self._sizes.append((height, width))
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up[::-1])
        self.encode = nn.Linear(before * height * width, code)
        self.decode = nn.Linear(code, before * height * width)

    def forward(self, images: Tensor) -> Tensor:
        """Draw the images again."""
        x = images
        for layer in self.down:
            x = F.elu(layer(x))
        x = F.elu(self.decode(self.encode(x.flatten(1)))).view(len(x), CHANNELS[-1], *self._sizes[-1])
        for place, layer in enumerate(self.up, start=2):
            x = layer(F.interpolate(F.elu(x) if place > 2 else x, size=self._sizes[-place]))
        return x.sigmoid()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Its weights by name."""
        return {name: values.numpy() for name, values in self.state_dict().items()}

    def load_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over weights by name; other arrays are left alone."""
        self.load_state_dict({name: torch.from_numpy(arrays[name]) for name in self.state_dict()})


def train(
    net: Autoencoder,
    images: Images,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    rng: np.random.Generator,
    progress: Progress,
) -> None:
    """Train on images uint8 (n, H, W, C) by the squared error, with Adam; the learning rate falls along a cosine."""
    net.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(net.parameters(), lr=learning_rate)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    waiting = np.zeros(0, np.int64)
    for step in range(steps):
        progress("training the autoencoder", step, steps)
        while len(waiting) < batch_size:
            waiting = np.concatenate([waiting, rng.permutation(len(images))])
        chosen, waiting = np.sort(waiting[:batch_size]), waiting[batch_size:]
        x = as_input(images[chosen], 255)
        optimizer.zero_grad()
        F.mse_loss(net(x), x).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rate.step()
    progress("training the autoencoder", steps, steps)
    net.eval()
