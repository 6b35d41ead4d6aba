"""A pair (B, B'): the answer where both agree, the flag where they do not. B is the track's own file."""

from pathlib import Path

from harness.models.contracts import BadNetView, Predictor, Progress
from harness.worker.kinds._models import load_model
from harness.worker.kinds._options import ModelOptions as Options
from harness.worker.kinds._options import model_asking as asking
from harness.worker.kinds._options import model_files as files

DESCRIPTION = "a repaired model B' beside the BadNet B: where they disagree, the input is flagged"
NEEDS_TABLES = True

__all__ = ["DESCRIPTION", "NEEDS_TABLES", "Options", "asking", "files", "load"]


def load(options: Options, badnet: BadNetView, root: Path, *, seed: int, progress: Progress) -> Predictor:
    """Load B and B'; where B' has N+1 outputs, its own flags are flags too, as B never gives one. Raises ModelError."""
    from harness.models.any_model import load_badnet
    from harness.models.pair import PairPredictor

    progress(f"loading {badnet.name}", 0, 2)
    original = load_badnet(badnet)
    progress(f"loading {options.model}", 1, 2)
    return PairPredictor(original, load_model(options, badnet, root), flag=badnet.flag)
