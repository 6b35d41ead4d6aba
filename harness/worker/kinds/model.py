"""One model a BadNet, with N outputs (never flags) or N+1."""

from pathlib import Path

from harness.models.contracts import BadNetView, Predictor, Progress
from harness.worker.kinds._models import load_model
from harness.worker.kinds._options import ModelOptions as Options
from harness.worker.kinds._options import model_asking as asking
from harness.worker.kinds._options import model_files as files

DESCRIPTION = "one repaired model file a BadNet, with N outputs or N+1"
NEEDS_TABLES = True

__all__ = ["DESCRIPTION", "NEEDS_TABLES", "Options", "asking", "files", "load"]


def load(options: Options, badnet: BadNetView, root: Path, *, seed: int, progress: Progress) -> Predictor:
    """Load the model; raises ModelError."""
    progress(f"loading {options.model}", 0, 1)
    return load_model(options, badnet, root)
