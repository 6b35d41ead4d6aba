"""Loading a submission's model file, with a first image through it so that misfits are found before the exam."""

from pathlib import Path

import numpy as np

from harness.models.contracts import BadNetView, Predictor
from harness.models.errors import ModelError
from harness.worker.kinds._options import ModelOptions


def load_model(options: ModelOptions, badnet: BadNetView, root: Path) -> Predictor:
    """The model that the options name, tried out on one validation image; raises ModelError (stage "load")."""
    from harness.models.any_model import load_classifier

    predictor = load_classifier(
        root / options.model,
        classes=badnet.classes,
        scale=options.scale or badnet.scale,
        channels=options.channels,
        architecture=options.architecture,
        root=root,
    )
    try:
        predictor(np.array(np.load(badnet.validation_path / "images.npy", mmap_mode="r")[:1]))
    except ModelError as error:
        raise ModelError(str(error)) from error
    return predictor
