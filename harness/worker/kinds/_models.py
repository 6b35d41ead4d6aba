"""Loading a submission's model file, with validation images through it so that misfits are found before the exam."""

from pathlib import Path

import numpy as np

from harness.models.contracts import BadNetView, Predictor, Validation
from harness.models.errors import ModelError
from harness.models.input_choice import InputChoice, choose_input
from harness.models.settings import ModelSettings
from harness.models.torch_files import is_torchscript
from harness.worker.kinds._options import STATELESS, ModelOptions
from harness.worker.notes import note


def load_model(options: ModelOptions, badnet: BadNetView, root: Path) -> Predictor:
    """The model that the options name, with its input settled on validation images; raises ModelError (stage "load").

    What is found about its scale and the order of its channels is noted for the host.
    """
    from harness.models.any_model import load_classifier

    settings = ModelSettings(
        classes=badnet.classes,
        scale=options.scale or badnet.scale,
        channels=options.channels or "rgb",
        layout=options.layout,
        architecture=options.architecture,
        custom_objects=options.custom_objects,
        unsafe_pickle=options.unsafe_pickle,
        root=root,
    )
    model = load_classifier(root / options.model, settings)
    _refuse_disguise(root / options.model)
    folder = badnet.validation_path
    validation = Validation(images=np.load(folder / "images.npy", mmap_mode="r"), labels=np.load(folder / "labels.npy"))
    try:
        decision = choose_input(
            model.with_input,
            usual=InputChoice(scale=badnet.scale),
            validation=validation,
            scale=options.scale,
            channels=options.channels,
        )
    except ModelError as error:
        raise ModelError(str(error)) from error
    if decision.words:
        note(decision.words)
    return model.with_input(decision.choice)


def _refuse_disguise(path: Path) -> None:
    """The host takes the ending's word for it that a model holds no state; raises ModelError where it may hold one."""
    ending = path.suffix.lower()
    if ending in STATELESS and path.is_dir():
        raise ModelError(f"{path.name}: a folder, not a {ending} file; name it without the ending")
    if ending == ".safetensors" and is_torchscript(path):  # its reader goes by the content
        raise ModelError(f"{path.name}: a TorchScript archive, not a {ending} file; let its name end in .ts")
