"""A Python class of the submission's own: built once a BadNet, called with batches of images."""

from pathlib import Path

from harness.models.contracts import BadNetView, Predictor, Progress
from harness.models.entries import load_entry
from harness.models.errors import ModelError, in_one_line
from harness.worker.kinds._options import CodeOptions as Options
from harness.worker.kinds._options import code_asking as asking
from harness.worker.kinds._options import code_files as files
from harness.worker.kinds._seeds import seed_everything

DESCRIPTION = 'a Python class, "predict.py:Predictor", that answers batches of images'
NEEDS_TABLES = False


__all__ = ["DESCRIPTION", "NEEDS_TABLES", "Options", "asking", "files", "load"]


def load(options: Options, badnet: BadNetView, root: Path, *, seed: int, progress: Progress) -> Predictor:
    """Build the class; raises ModelError (stage "import" or "construct")."""
    progress(f"loading {options.entry}", 0, 1)
    made = load_entry(options.entry, root)
    if not callable(made):
        raise ModelError(f"{options.entry}: is a {type(made).__name__}, not a class to build", stage="construct")
    seed_everything(seed)
    try:
        predictor = made(badnet, **options.options)
    except Exception as error:  # strangers' code may raise anything
        raise ModelError(
            f"{options.entry}: building it for {badnet.name} failed ({in_one_line(error)})", stage="construct"
        ) from error
    if not callable(predictor):
        raise ModelError(
            f"{options.entry}: its objects cannot be called; give the class a __call__(self, images)", stage="construct"
        )
    called: Predictor = predictor
    return called
