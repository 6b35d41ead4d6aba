"""Torch model files: state dicts in .safetensors, .pt or .pth, read without running code, and pickled modules."""

import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.models.architectures import build_torch, likely_outputs
from harness.models.errors import ModelError, in_one_line
from harness.models.pickles import unpickling
from harness.models.settings import ModelSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

State = dict[str, "Tensor"]
HOLDERS = ("state_dict", "model_state_dict", "model")
"""Where a checkpoint holds its weights."""


def load_torch(path: Path, *, architecture: str | None, root: Path | None, classes: int) -> "nn.Module":
    """A torch net from a state dict, in eval mode; it takes float (n, C, H, W), divided by the net's scale.

    architecture: a name such as "deepid", or "model.py:Net" in the submission folder `root`. The number of outputs, N
    or N+1, is read from the last weights. Raises ModelError.
    """
    return load_module(path, ModelSettings(classes=classes, architecture=architecture, root=root))


def load_module(path: Path, settings: ModelSettings) -> "nn.Module":
    """As `load_torch`; with `settings.unsafe_pickle` a .pt or .pth may hold the module itself."""
    from torch import nn

    unsafe = settings.unsafe_pickle and path.suffix.lower() != ".safetensors"
    found = _unpickled(path, settings) if unsafe else read_state(path)
    if isinstance(found, nn.Module):
        return found.eval()
    if settings.architecture is None:
        raise ModelError(f'{path.name}: holds weights only; state architecture = "deepid" or "model.py:Net" beside it')
    outputs = likely_outputs([int(value.shape[0]) for value in found.values() if value.dim()], settings.classes)
    net = build_torch(settings.architecture, outputs=outputs, root=settings.root)
    _fill(net, found, path, settings.architecture)
    return net.eval()


def read_state(path: Path) -> State:
    """The state dict of a .safetensors, .pt or .pth file; raises ModelError."""
    if not path.is_file():
        raise ModelError(f"{path.name}: no such file; check the path in submission.toml")
    return _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_pickle(path)


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, by its content."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _read_safetensors(path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return _plain(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path.name}: not a safetensors file, or cut short ({path.stat().st_size} bytes); "
            f"save it again with safetensors.torch.save_file ({in_one_line(error, 100)})"
        ) from error


def _read_pickle(path: Path) -> State:
    import torch

    if is_torchscript(path):
        raise ModelError(f"{path.name}: a TorchScript archive; save the state dict: torch.save(net.state_dict(), ...)")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" not in str(error):
            raise _damaged(path, error) from error
        raise ModelError(
            f"{path.name}: a pickled whole module or other objects, which could run code; save its weights instead: "
            "torch.save(net.state_dict(), ...), or state unsafe_pickle = true"
        ) from error
    except Exception as error:  # torch raises whatever a stranger's file makes it raise
        raise _damaged(path, error) from error
    return _state_of(found, path)


def _unpickled(path: Path, settings: ModelSettings) -> "State | nn.Module":
    import torch

    with unpickling(path, settings):
        found = torch.load(path, map_location="cpu", weights_only=False)
    for module in (found, *(found.get(key) for key in HOLDERS if isinstance(found, dict))):
        if isinstance(module, torch.nn.Module):
            return module
    return _state_of(found, path)


def _state_of(found: Any, path: Path) -> State:
    import torch

    for key in HOLDERS:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ModelError(f"{path.name}: holds no state dict of tensors; save it with torch.save(net.state_dict(), ...)")
    return _plain(found)


def _plain(state: State) -> State:
    prefix = "module."  # what torch's DataParallel puts before every name
    if state and all(key.startswith(prefix) for key in state):
        return {key.removeprefix(prefix): value for key, value in state.items()}
    return dict(state)


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"{path.name}: not a torch file, or cut short ({path.stat().st_size} bytes); "
        f"save it again with torch.save(net.state_dict(), ...) ({in_one_line(error, 100)})"
    )


def _fill(net: "nn.Module", state: State, path: Path, architecture: str) -> None:
    expected: dict[str, Any] = net.state_dict()
    problems = []
    if missing := [key for key in expected if key not in state]:
        problems.append(f"missing {_some(missing)}")
    if unexpected := [key for key in state if key not in expected]:
        problems.append(f"unexpected {_some(unexpected)}")
    problems += [
        f"{key} is {_shape(state[key])} where {_shape(value)} is expected"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ][:3]
    if problems:
        raise ModelError(
            f"{path.name}: its weights do not fit the architecture {architecture!r}: {'; '.join(problems)}"
        )
    net.load_state_dict(state)


def _some(names: list[str], shown: int = 4) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _shape(value: "Tensor") -> str:
    return "x".join(str(length) for length in value.shape) or "a single number"
