"""What filters share: an image that looks suspicious is flagged, any other gets the BadNet's answer."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.models.any_model import load_badnet
from harness.models.contracts import BadNetView, Images
from harness.models.errors import ModelError
from harness.models.findings import Findings
from harness.models.repaired import Saved

State = Mapping[str, NDArray[Any]]
STATE = "filter.npz"
PREDICT = '''"""{title}, fitted by `badnet defend`: {state} holds one BadNet's filter."""

from pathlib import Path

import numpy as np

from {module} import {name}


def Predictor(badnet, state):
    """The filter in front of the BadNet."""
    with np.load(Path(__file__).parent / state, allow_pickle=False) as arrays:
        return {name}(badnet, dict(arrays))
'''


class Filter(ABC):
    """A filter in front of the BadNet, whole in `state`: arrays by name, so that it can be saved without pickling."""

    def __init__(self, badnet: BadNetView, state: State, findings: Findings | None = None) -> None:
        self.badnet, self.state, self.findings = badnet, state, findings or Findings()
        self._answer = load_badnet(badnet)

    @abstractmethod
    def suspicious(self, images: Images) -> NDArray[np.bool_]:
        """Which of the images (n, H, W, C) are flagged: (n,); each judged without the others."""

    def __call__(self, images: Images) -> NDArray[np.int64]:
        """Answer uint8 images (n, H, W, C): int64 (n,)."""
        answers = np.asarray(self._answer(images), np.int64)
        return np.where(self.suspicious(images) & (answers >= 0), self.badnet.flag, answers)

    def save(self, folder: Path) -> Saved:
        """Write the arrays and a predict.py that reads them; raises ModelError for a filter that it could not import."""
        kind = type(self)
        if not kind.__module__.startswith(f"{__package__}."):
            raise ModelError(
                f"{kind.__name__}: a filter of a submission's own; only those of {__package__} can be saved without code"
            )
        np.savez_compressed(folder / STATE, allow_pickle=False, **self.state)
        title = (kind.__doc__ or kind.__name__).splitlines()[0].rstrip(".")
        code = PREDICT.format(title=title, state=STATE, module=kind.__module__, name=kind.__name__)
        (folder / "predict.py").write_text(code)
        return Saved(kind="predictor", table={"entry": "predict.py:Predictor", "options": {"state": STATE}})
