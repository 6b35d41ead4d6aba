"""What a defense hands over: a predictor that says what was found, and that can be saved as a submission's files."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from harness.models.any_model import load_badnet
from harness.models.contracts import BadNetView, Images
from harness.models.findings import Findings
from harness.models.graph import Graph
from harness.models.pair import PairPredictor
from harness.models.settings import ModelSettings
from harness.models.torch_classifier import TorchClassifier


class Saved(dict[str, Any]):
    """What submission.toml says of saved files: its `kind`, and the keys of the BadNet's own table under `table`."""


@runtime_checkable
class Saveable(Protocol):
    """A predictor that writes itself as a competitor would hand it in."""

    def save(self, folder: Path) -> Saved:
        """Write files into an empty folder; raises ModelError where the saved net answers otherwise."""
        ...


class RepairedNet:
    """One net that answers: N outputs, or N+1 where the last is the flag."""

    def __init__(self, net: Graph, badnet: BadNetView, findings: Findings | None = None) -> None:
        self.net, self.badnet, self.findings = net, badnet, findings or Findings()
        self._answer = TorchClassifier(net, ModelSettings(classes=badnet.classes, scale=badnet.scale), name=badnet.name)

    def __call__(self, images: Images) -> NDArray[np.int64]:
        """Answer uint8 images (n, H, W, C): int64 (n,)."""
        return self._answer(images)

    def save(self, folder: Path) -> Saved:
        """Write the net as the BadNet's own format has it."""
        from harness.models.saving import save_net

        return Saved(kind="model", table=save_net(self.net, self.badnet, folder))


class RepairedPair:
    """The BadNet beside a repaired net: where they disagree, the input is flagged."""

    def __init__(self, repaired: RepairedNet) -> None:
        self.repaired, self.findings = repaired, repaired.findings
        self._answer = PairPredictor(load_badnet(repaired.badnet), repaired, flag=repaired.badnet.flag)

    def __call__(self, images: Images) -> NDArray[np.int64]:
        """Answer uint8 images (n, H, W, C): int64 (n,)."""
        return self._answer(images)

    def save(self, folder: Path) -> Saved:
        """Write the repaired net; the BadNet is the track's own file."""
        return Saved(kind="pair", table=self.repaired.save(folder)["table"])
