"""An autoencoder in front of the BadNet: what it cannot draw again is not what clean images are made of."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from harness.models.contracts import BadNetView, Images, Progress, Validation
from harness.models.errors import ModelError
from harness.models.findings import Findings, Histogram
from reference_defenses._autoencoder import Autoencoder, train
from reference_defenses._filters import Filter, State
from reference_defenses._nets import as_input, batches

FEWEST = 50
"""Clean images: a fifth of them sets the threshold, another measures it."""


@dataclass(frozen=True, kw_only=True)
class ReconstructionError:
    """Flags images that an autoencoder, trained on clean validation images, draws badly at some place.

    Source: Meng, Chen, "MagNet: a Two-Pronged Defense against Adversarial Examples", CCS 2017, arXiv:1705.09064,
    section 4.2, the detector based on reconstruction error; its threshold too lets a chosen share of the clean images
    pass that were held out of training.

    Differences from the paper: MagNet takes the p-norm of the whole image's error, as adversarial noise is everywhere;
    a trigger is at one place. So the error is averaged over small windows, measured in standard deviations of clean
    images' errors at that place (hair is always drawn worse than a wall), and the worst window counts. MagNet's
    autoencoder has no narrow middle and would copy a trigger; this one has `code` numbers for an image, and needs no
    noise in training. Its reformer and its detectors by divergence are left out.
    """

    false_rejection_rate: float = 0.05
    """Clean images that may be flagged, above 0 and below 1."""
    code: int = 64
    """Numbers that the autoencoder has for an image."""
    window: int = 5
    """Pixels that an error is averaged over, each way."""
    steps: int = 1500
    """Of training."""
    batch_size: int = 32
    """Images a step."""
    learning_rate: float = 2e-3
    """Adam's first step; it falls to nothing along a cosine."""

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 < self.false_rejection_rate < 1:
            raise ValueError(f"false_rejection_rate {self.false_rejection_rate} is not between 0 and 1")
        for name in ("code", "window", "steps", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:  # NaN is not
                raise ValueError(f"{name} {getattr(self, name)} must be positive")

    def repair(
        self, badnet: BadNetView, validation: Validation, *, rng: np.random.Generator, progress: Progress
    ) -> "ReconstructionFilter":
        """Train on three fifths of the clean images, set the threshold on one, measure it on one; `rng` draws all."""
        shape = validation.images.shape[1:]
        if len(validation.images) < FEWEST or self.window > min(shape[:2]):
            raise ModelError(
                f"{len(validation.images)} validation images of {shape[0]}x{shape[1]}: at least {FEWEST} are needed, "
                f"and window {self.window} must fit into one",
                stage="repair",
            )
        training, fitting, measuring = np.split(
            validation.images[rng.permutation(len(validation.images))],
            [len(validation.images) * 3 // 5, len(validation.images) * 4 // 5],
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63)))
            net = Autoencoder((shape[0], shape[1], shape[2]), self.code)
        train(
            net, training, steps=self.steps, batch_size=self.batch_size, learning_rate=self.learning_rate, rng=rng,
            progress=progress,
        )  # fmt: skip
        errors = window_errors(net, fitting, self.window)
        mean, spread = errors.mean(0), errors.std(0)
        spread = spread.clamp(min=float(spread.median()))  # where nothing varies, next to nothing would count as much
        clean = worst_windows(errors, mean, spread)
        threshold = np.quantile(clean, 1 - self.false_rejection_rate, method="higher")
        state: State = {
            **net.arrays(),
            "window": np.array(self.window), "code": np.array(self.code), "shape": np.array(shape),
            "mean": mean.numpy(), "spread": spread.numpy(), "threshold": np.array(threshold),
        }  # fmt: skip
        held_out = worst_windows(window_errors(net, measuring, self.window), mean, spread)
        return ReconstructionFilter(badnet, state, _findings(clean, held_out, float(threshold)))


class ReconstructionFilter(Filter):
    """Reconstruction error: flags images that an autoencoder of clean images draws badly at some place."""

    def __init__(self, badnet: BadNetView, state: State, findings: Findings | None = None) -> None:
        super().__init__(badnet, state, findings)
        height, width, colours = (int(length) for length in state["shape"])
        self._net = Autoencoder((height, width, colours), int(state["code"]))
        self._net.load_arrays(state)
        self._net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean, self._spread = torch.from_numpy(state["mean"]), torch.from_numpy(state["spread"])
        self._window, self._threshold = int(state["window"]), float(state["threshold"])

    def suspicious(self, images: Images) -> NDArray[np.bool_]:
        """Which images have a window that is drawn worse than the threshold: (n,)."""
        worst = worst_windows(window_errors(self._net, images, self._window), self._mean, self._spread)
        return worst > self._threshold


@torch.inference_mode()
def window_errors(net: Autoencoder, images: Images, window: int) -> Tensor:
    """The root mean square error, 0..1, of each window of each image (n, H, W, C): (n, H - window + 1, W - window + 1)."""
    parts = [torch.zeros(0, images.shape[1] - window + 1, images.shape[2] - window + 1)]
    for part in batches(len(images)):
        x = as_input(images[part], 255)
        squares = (net(x) - x).square().mean(1, keepdim=True)
        parts.append(F.avg_pool2d(squares, window, stride=1).sqrt()[:, 0])
    return torch.cat(parts)


def worst_windows(errors: Tensor, mean: Tensor, spread: Tensor) -> NDArray[np.float32]:
    """For each image the largest error of a window, in standard deviations of its place: (n,)."""
    worst: NDArray[np.float32] = ((errors - mean) / spread).flatten(1).amax(1).numpy()
    return worst


def _findings(clean: NDArray[np.float32], held_out: NDArray[np.float32], threshold: float) -> Findings:
    facts = {
        "threshold": threshold,
        "false_rejection_rate": float((held_out > threshold).mean()),
        "held_out_images": len(held_out),
    }
    figure = Histogram(
        title="Worst window of clean images",
        values=np.concatenate([clean, held_out]),
        x_label="reconstruction error, standard deviations",
        threshold=threshold,
    )
    return Findings(facts=facts, figures={"errors": figure})
