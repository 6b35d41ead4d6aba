"""Model files of any format as predictors."""

from pathlib import Path

from harness.models.classifier import Classifier
from harness.models.contracts import BadNetView, Predictor
from harness.models.errors import ModelError, in_one_line
from harness.models.formats import find_format
from harness.models.formats.torch_weights import ENDINGS as TORCH_ENDINGS
from harness.models.settings import ModelSettings
from harness.models.zip_safety import check_zip


def load_classifier(path: Path, settings: ModelSettings) -> Classifier:
    """A model as a predictor: uint8 (n, H, W, C) in, int64 (n,) in 0..N out, -1 where the model gives NaN.

    path: a file of one of the formats in `harness.models.formats`, or a folder. Raises ModelError.
    """
    found = find_format(path)
    try:
        if path.is_file():
            check_zip(path)
        return found.load(path, settings)
    except ModelError as error:  # an architecture's code does not know which file it is built for
        if str(error).startswith(path.name):
            raise
        raise ModelError(f"{path.name}: {error}", stage=error.stage) from error
    except Exception as error:  # a stranger's file may make a library raise anything, MemoryError too
        raise ModelError(f"{path.name}: cannot be loaded ({in_one_line(error)}); save it again") from error


def is_torch(path: Path) -> bool:
    """Whether a file's ending is one of torch's weights."""
    return path.suffix.lower() in TORCH_ENDINGS


def load_badnet(badnet: BadNetView) -> Predictor:
    """The BadNet as it is, by its own library; torch weights are read as DeepID. Raises ModelError."""
    architecture = "deepid" if is_torch(badnet.model_path) else None
    settings = ModelSettings(classes=badnet.classes, scale=badnet.scale, architecture=architecture)
    return load_classifier(badnet.model_path, settings)
